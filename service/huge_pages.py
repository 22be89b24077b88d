"""Huge pages for a large heap: fewer misses of the processor's table of addresses.

A million sessions lie in a gigabyte of small pages, whose addresses no processor keeps at hand: an event
costs 15 to 20 % more there. Python's heap grows by a megabyte at a time, too little for the kernel to give it
huge pages by itself. So a thread looks for whole stretches of memory that are in use, and has the kernel put
each into one page (``MADV_COLLAPSE``, Linux 6.1). That takes 2 to 6 ms of a core for 2 MB, once.

Linux only; elsewhere, or where the machine's setting is ``never``, or on an older kernel, nothing happens.
"""

import ctypes
import logging
import threading
from collections.abc import Iterator
from mmap import PAGESIZE
from pathlib import Path
from typing import BinaryIO, Final

HUGE_BYTES: Final = 2**21
"""Of a huge page, on every processor whose small ones have 4 KB."""
PAGE_BYTES: Final = 2**12
IN_USE: Final = 480
"""Of the 512 small pages of a stretch: one that is mostly unused would take memory for nothing."""
MIN_HEAP_BYTES: Final = 256 * 2**20
"""A smaller heap gains too little: 500 visitors cost the same with huge pages and without."""
EVERY_S: Final = 5.0
"""Seconds between two looks at the memory."""
AT_ONCE: Final = 64
"""Stretches a look; more wait for the next one."""
PAUSE_S: Final = 0.05
"""After each: while the kernel works on it, whoever needs new memory waits."""

SETTING: Final = Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""The machine's, as the kernel shows it."""

_MAPPINGS: Final = Path("/proc/self/maps")
_PAGES: Final = Path("/proc/self/pagemap")
_SIZES: Final = Path("/proc/self/statm")
_ENTRY_BYTES: Final = 8
_ABSENT: Final = bytes(range(0x80))
"""What the last byte of a page's entry may be when the page is not in memory."""
_COLLAPSE: Final = 25  # MADV_COLLAPSE, which Python's mmap does not name

_libc = ctypes.CDLL(None)

log = logging.getLogger(__name__)


class HugePages:
    """The thread; ``close`` ends it."""

    def __init__(self, *, min_heap_bytes: int = MIN_HEAP_BYTES) -> None:
        self._min_heap_bytes = min_heap_bytes
        self._done: set[int] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="huge pages", daemon=True)

    def start(self) -> None:
        """Begin, if the machine has huge pages to give."""
        if PAGESIZE == PAGE_BYTES and are_allowed():
            self._thread.start()

    def close(self) -> None:
        """Stop after the stretch at hand."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self, pause_s: float = PAUSE_S) -> int:
        """Put stretches that are in use into huge pages; gives how many. Raises OSError."""
        if _own_bytes() < self._min_heap_bytes:
            return 0
        stretches = set(_stretches())
        self._done &= stretches
        made = 0
        with _PAGES.open("rb", buffering=0) as pages:
            for stretch in sorted(stretches - self._done):
                if not _is_in_use(stretch, pages) or not _collapse(stretch):
                    continue  # what the kernel cannot do just now is tried again with the next look
                self._done.add(stretch)
                made += 1
                if made >= AT_ONCE or self._stopped.wait(pause_s):
                    break
        return made

    def _run(self) -> None:
        try:
            while not self._stopped.wait(EVERY_S):
                self.look()
        except OSError as error:
            log.info("The heap stays in small pages, which are slower when it is large: %s", error)


def are_allowed(setting: Path = SETTING) -> bool:
    """Tell whether the machine gives huge pages, by its setting."""
    try:
        return "[never]" not in setting.read_text()
    except OSError:
        return False


def _own_bytes() -> int:
    """Give the memory that is in use and no file's."""
    _, resident, shared, *_ = map(int, _SIZES.read_text().split())
    return (resident - shared) * PAGE_BYTES


def _stretches() -> Iterator[int]:
    """Give where each stretch of memory begins that one huge page could hold, and that is no file's."""
    for line in _MAPPINGS.read_text().splitlines():
        addresses, access, _, _, inode, *name = line.split()
        if access == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
            begin, end = (int(address, 16) for address in addresses.split("-"))
            yield from range(-(-begin // HUGE_BYTES) * HUGE_BYTES, end - HUGE_BYTES + 1, HUGE_BYTES)


def _is_in_use(stretch: int, pages: BinaryIO) -> bool:
    pages.seek(stretch // PAGE_BYTES * _ENTRY_BYTES)
    entries = pages.read(HUGE_BYTES // PAGE_BYTES * _ENTRY_BYTES)
    return len(entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES].translate(None, _ABSENT)) >= IN_USE


def _collapse(stretch: int) -> bool:
    failed: int = _libc.madvise(ctypes.c_void_p(stretch), ctypes.c_size_t(HUGE_BYTES), _COLLAPSE)
    return not failed
