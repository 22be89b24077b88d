"""What was decided of a block's parts: on disk before anything follows from it, and read again as it was."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import JournalCorrupt, JournalError
from service.progress import Fate, Part, Progress, RowTable

EVENTS = Part(RowTable.EVENTS, 0, 8)


def test_halves_are_the_whole() -> None:
    """Two parts follow each other without a gap, also of an odd number of rows."""
    assert Part(RowTable.SESSIONS, 3, 8).halves() == (
        Part(RowTable.SESSIONS, 3, 5),
        Part(RowTable.SESSIONS, 5, 8),
    )


def test_successes_cost_no_file_until_something_is_refused(tmp_path: Path) -> None:
    """Most blocks are never refused; once one is, what was finished before is written too."""
    path = tmp_path / "x.progress"
    progress = Progress(path, sync=False)
    progress.note(EVENTS, Fate.FINISHED)
    assert (path.exists(), progress.is_untouched) == (False, True)

    progress.note(Part(RowTable.SESSIONS, 0, 2), Fate.SPLIT)
    found = Progress.load(path, sync=False)

    assert found.fate(EVENTS) is Fate.FINISHED
    assert not found.is_untouched
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@given(cut=st.integers(0, 200))
def test_cut_anywhere(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whole lines are read, a torn one is not, and the next decision stands where it began."""
    path = tmp_path_factory.mktemp("progress") / "x.progress"
    progress = Progress(path, sync=False)
    lines = [(EVENTS, Fate.SPLIT, ""), *((half, Fate.GIVEN_UP, 'a "ä"\n') for half in EVENTS.halves())]
    for part, fate, reason in lines:
        progress.note(part, fate, reason)
    path.write_bytes(path.read_bytes()[:cut])

    found = Progress.load(path, sync=True)
    known = [part for part, _, _ in lines if found.fate(part)]
    found.note(Part(RowTable.SESSIONS, 0, 1), Fate.SPLIT)
    again = Progress.load(path, sync=False)

    assert known == [part for part, _, _ in lines][: len(known)]
    assert [part for part, _, _ in lines if again.fate(part)] == known
    assert again.fate(Part(RowTable.SESSIONS, 0, 1)) is Fate.SPLIT
    assert [again.reason(part) for part in known[1:]] == ['a "ä"\n'] * len(known[1:])
    assert again.given_up(RowTable.EVENTS) == 4 * len(known[1:])


def test_disk_that_refuses(tmp_path: Path) -> None:
    """What is not on disk is not decided."""
    progress = Progress(tmp_path / "none" / "x.progress", sync=False)

    with pytest.raises(JournalError):
        progress.note(EVENTS, Fate.SPLIT)

    assert progress.fate(EVENTS) is None


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (b"gatehouse progress 2\n", "not written by this version"),
        (b'gatehouse progress 1\nsplit events 0 8 ""\nsplit nothing 0 8 ""\n', "damaged at byte 41"),
        (b'gatehouse progress 1\nsplit events 0 8 "\x1a"\n', "damaged at byte 21"),
        (b'gatehouse progress 1\nsplit events 0 8 "\xff"\n', "damaged at byte 21"),
    ],
)
def test_what_cannot_be_read(lines: bytes, sentence: str, tmp_path: Path) -> None:
    """A whole line that says nothing is no torn one: what it decided is lost, and somebody must know."""
    path = tmp_path / "x.progress"
    path.write_bytes(lines)

    with pytest.raises(JournalCorrupt, match=sentence):
        Progress.load(path, sync=False)
