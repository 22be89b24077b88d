"""The heap in huge pages, asked of the kernel itself, by processes that have a heap of their own."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service import huge_pages

MEGABYTE = 2**20

COUNT = """
import re
from pathlib import Path
from service.huge_pages import AT_ONCE, HUGE_BYTES, HugePages

def count_huge():
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"AnonHugePages:\\s+(\\d+) kB", text)[1]) * 1024 // HUGE_BYTES
"""

needs_huge_pages = pytest.mark.skipif(
    not huge_pages.are_allowed() and "CI" not in os.environ, reason="this machine gives no huge pages"
)


def run(program: str) -> list[str]:
    """Give the words that a program prints, which begins with ``COUNT``."""
    command = [sys.executable, "-c", COUNT + program]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()


@needs_huge_pages
def test_a_large_heap_moves_into_huge_pages_and_stays_what_it_was() -> None:
    """Nothing is done twice."""
    made, more, counted, is_same = run("""
heap = [str(number) for number in range(1_000_000)]
before = count_huge()
pages = HugePages(min_heap_bytes=32 * 2**20)
made = pages.look(pause_s=0)
is_same = heap == [str(number) for number in range(1_000_000)]
print(made, pages.look(pause_s=0), count_huge() - before, is_same)
""")
    assert 16 <= int(made) <= huge_pages.AT_ONCE
    assert int(more) <= 2
    assert int(made) <= int(counted) <= int(made) + 2
    assert is_same == "True"


@needs_huge_pages
def test_one_look_takes_no_more_than_its_bound() -> None:
    """The rest waits for the next one."""
    made, counted = run("""
heap = [bytes(400) for _ in range(500_000)]
print(HugePages(min_heap_bytes=0).look(pause_s=0), count_huge())
""")
    assert int(made) == huge_pages.AT_ONCE
    assert int(counted) >= huge_pages.AT_ONCE


@needs_huge_pages
def test_a_small_heap_is_left_alone() -> None:
    """Below the bound nothing is done."""
    assert run("""
heap = [str(number) for number in range(1_000_000)]
before = count_huge()
print(HugePages().look(pause_s=0), count_huge() - before)
""") == ["0", "0"]


@needs_huge_pages
def test_memory_that_is_hardly_used_does_not_grow() -> None:
    """One small page in use of each megabyte stays one small page."""
    grown, made = run("""
import mmap
from service.huge_pages import _own_bytes
sparse = mmap.mmap(-1, 256 * 2**20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for place in range(0, len(sparse), 2**20):
    sparse[place] = 1
before = _own_bytes()
made = HugePages(min_heap_bytes=0).look(pause_s=0)
print(_own_bytes() - before, made)
""")
    assert int(grown) < 16 * MEGABYTE
    assert int(made) < 16


@needs_huge_pages
def test_the_thread_ends_when_it_is_told_to() -> None:
    """Within its pause, and twice is no error."""
    before = threading.active_count()
    pages = huge_pages.HugePages()
    pages.start()
    assert threading.active_count() == before + 1
    pages.close()
    pages.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [("always madvise [never]\n", False), ("always [madvise] never\n", True), (None, False)],
)
def test_the_machine_s_setting_is_kept_to(tmp_path: Path, setting: str | None, *, allowed: bool) -> None:
    """A machine without the setting has no huge pages."""
    path = tmp_path / "enabled"
    if setting is not None:
        path.write_text(setting)
    assert huge_pages.are_allowed(path) is allowed
