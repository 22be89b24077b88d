"""The quarantine: each row once, whole and bounded, until somebody lets go of it."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.errors import JournalError, QuarantineFull
from service.ingestion.rows import Entry
from service.quarantine import Quarantine, read_rows
from service.wire.record import RecordError
from service.wire.refused_row import RefusedRow, decode_refused, encode_refused
from tests.support.entries import entries
from tests.support.rows import FULL_EVENT, FULL_SESSION

BLOCK = "0" * 32
OTHER = "f" * 32
EVENT = RefusedRow(BLOCK, "events", 3, 1_795_000_000_000, "why", 0, FULL_EVENT)
SESSION = RefusedRow(OTHER, "sessions", 1, 1_795_000_000_001, "why not", -1, FULL_SESSION)


def open_quarantine(folder: Path, max_bytes: int = 10**6, *, sync: bool = False) -> Quarantine:
    """Open one that is large enough."""
    return Quarantine.open(folder, max_bytes=max_bytes, sync=sync)


@pytest.mark.parametrize("sync", [False, True])
def test_rows_are_kept_as_they_were(tmp_path: Path, sync: bool) -> None:
    """They are there for the next process, oldest block first, for the owner alone."""
    quarantine = open_quarantine(tmp_path / "q", sync=sync)
    quarantine.add(SESSION, created_ms=2)
    quarantine.add(EVENT, created_ms=1)
    found = open_quarantine(tmp_path / "q")

    assert list(read_rows(tmp_path / "q")) == [EVENT, SESSION]
    assert (found.rows, found.size_bytes) == (quarantine.rows, quarantine.size_bytes) == (2, found.size_bytes)
    assert found.size_bytes == sum(path.stat().st_size for path in (tmp_path / "q").iterdir())
    assert stat.S_IMODE((tmp_path / "q").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "q").iterdir()} == {0o600}


def test_added_twice(tmp_path: Path) -> None:
    """A row is in it once, also when another block's came in between or a process died."""
    quarantine = open_quarantine(tmp_path)
    added = [quarantine.add(row, created_ms=1) for row in (EVENT, EVENT, SESSION, EVENT)]
    added.append(open_quarantine(tmp_path).add(EVENT, created_ms=1))

    assert added == [True, False, True, False, False]
    assert open_quarantine(tmp_path).rows == 2


def test_bound(tmp_path: Path) -> None:
    """What does not fit is refused with what to do, and fits once there is room."""
    size = open_quarantine(tmp_path / "measure")
    size.add(EVENT, created_ms=1)
    quarantine = open_quarantine(tmp_path / "q", max_bytes=size.size_bytes)
    quarantine.add(EVENT, created_ms=1)

    with pytest.raises(QuarantineFull, match="gatehouse quarantine list"):
        quarantine.add(replace(EVENT, row=4), created_ms=1)
    assert quarantine.rows == 1
    quarantine.remove([EVENT.id])
    quarantine.add(replace(EVENT, row=4), created_ms=1)


def test_removed(tmp_path: Path) -> None:
    """Only what is named goes, and a file without rows goes with its last."""
    quarantine = open_quarantine(tmp_path)
    rows = [replace(EVENT, row=row) for row in range(4)]
    for row in [*rows, SESSION]:
        quarantine.add(row, created_ms=1)

    assert quarantine.find([rows[2].id, SESSION.id, "none"]) == [rows[2], SESSION]
    assert quarantine.remove([rows[0].id, rows[2].id, SESSION.id, "none"]) == 3
    assert quarantine.remove([rows[0].id]) == 0
    assert list(read_rows(tmp_path)) == [rows[1], rows[3]]
    assert quarantine.add(rows[0], created_ms=1)
    assert (quarantine.rows, len(list(tmp_path.iterdir()))) == (3, 1)
    assert open_quarantine(tmp_path).size_bytes == quarantine.size_bytes


@given(cut=st.integers(1, 2_000))
def test_torn(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a crash left unfinished is set aside; the rows before it are good, and more can follow."""
    folder = tmp_path_factory.mktemp("quarantine")
    quarantine = open_quarantine(folder)
    rows = [replace(EVENT, row=row) for row in range(3)]
    for row in rows:
        quarantine.add(row, created_ms=1)
    [path] = folder.iterdir()
    path.write_bytes(path.read_bytes()[: -(cut % path.stat().st_size) or None])

    quarantine = open_quarantine(folder)
    left = list(read_rows(folder))
    for row in rows:
        quarantine.add(row, created_ms=1)

    assert left == rows[: len(left)]
    assert list(read_rows(folder)) == rows


def test_disk_that_refuses(tmp_path: Path) -> None:
    """A folder that is gone is an error of the journal's kind: the row waits."""
    quarantine = open_quarantine(tmp_path / "q")
    (tmp_path / "q").rmdir()

    with pytest.raises(JournalError):
        quarantine.add(EVENT, created_ms=1)

    assert quarantine.rows == 0


@given(entry=entries(), row=st.integers(0, 2**32), reason=st.text(max_size=50))
def test_any_row_round_trips(entry: Entry, row: int, reason: str) -> None:
    """Bytes and value are the same row."""
    for table, sign, values in (("events", 0, entry.event), ("sessions", -1, entry.session)):
        if values is not None:
            refused = RefusedRow(BLOCK, table, row, 1, reason, sign, values)  # type: ignore[arg-type]
            assert decode_refused(encode_refused(refused)) == refused


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x90", b"\x98" + b"\x01" * 8, encode_refused(EVENT)[:-1]]
)
def test_no_row(payload: bytes) -> None:
    """Other bytes are refused, whatever they are."""
    with pytest.raises(RecordError):
        decode_refused(payload)
