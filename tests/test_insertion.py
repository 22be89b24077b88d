"""Blocks read from the journal are those that were in memory, down to the order of their rows."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.clickhouse.store import Block, BlockTrigger
from service.ingestion.rows import ClickhouseSession, Entry
from service.insertion import build_block, build_in_steps, read_in_steps, run_through
from service.journal import Journal
from service.wire.record import HEADER_BYTES, frame, frame_batch
from tests.support.entries import encode_alone, entries, make_entry

LIMIT_BYTES: Final = 2**30
SESSIONS: Final = 3


@st.composite
def appends(draw: st.DrawFn) -> list[list[Entry]]:
    """Entries of a few sessions in the appends that wrote them, some with their attributes for all rows."""

    def one() -> Entry:
        entry, session_id = draw(entries()), draw(st.integers(1, SESSIONS))
        shared = draw(st.none() | st.just(entry.event.attributes))

        def of_session(state: ClickhouseSession | None) -> ClickhouseSession | None:
            if state is None:
                return None
            return replace(state, session_id=session_id, attributes=shared or state.attributes)

        event = replace(entry.event, session_id=session_id)
        return Entry(event, of_session(entry.replaced), of_session(entry.session))

    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    return [[one() for _ in range(size)] for size in sizes]


def read(journal: Journal) -> Block:
    """Give the block of the only segment."""
    [segment] = journal.pending()
    return run_through(read_in_steps(journal, segment, journal.load(segment), BlockTrigger.REPLAY))


def write_segment(folder: Path, *records: bytes) -> None:
    """Write a segment of these records, as a process did that was killed since."""
    journal = Journal.open(folder, durability="os", max_bytes=LIMIT_BYTES)
    journal.append([make_entry()])
    journal.close()
    (path,) = folder.glob("*.gh")
    path.write_bytes(path.read_bytes()[:HEADER_BYTES] + b"".join(records))


def encode(*written: tuple[Entry, Sequence[object] | None]) -> bytes:
    """Give a record of entries, each with this as its new state."""
    payload = msgspec.msgpack.encode([(entry.event, None, state) for entry, state in written])
    return frame_batch(payload, len(written))


@given(appends())
def test_a_block_is_the_same_from_the_journal(written: list[list[Entry]]) -> None:
    """Whatever was appended, in whatever pieces, its block is the one that memory gives."""
    with (
        tempfile.TemporaryDirectory() as name,
        closing(Journal.open(Path(name), durability="memory", max_bytes=LIMIT_BYTES)) as journal,
    ):
        for append in written:
            journal.append(append)
        segment = journal.rotate()
        assert segment is not None

        found = read(journal)

    kept = list(chain.from_iterable(written))
    alive = run_through(build_in_steps(segment.id, BlockTrigger.REPLAY, kept))
    assert found == replace(alive, events=list(alive.events)) == build_block(found.id, found.trigger, kept)


def test_entries_of_earlier_versions(tmp_path: Path) -> None:
    """So is the block of a segment whose records hold one entry each."""
    written = [
        make_entry(session_id=1),
        make_entry(session_id=2, pathname=b"/\xff"),
        make_entry(session_id=1),
    ]
    write_segment(tmp_path, *map(encode_alone, written))

    with closing(Journal.open(tmp_path, durability="os", max_bytes=LIMIT_BYTES)) as journal:
        block = read(journal)

    assert block == build_block(block.id, BlockTrigger.REPLAY, written)


@pytest.mark.parametrize("behind", [b"", frame(b"no entry")], ids=["last", "before another"])
@pytest.mark.parametrize(
    "odd", [[], [1, 2], ["text"] * 15, ["text"] * 16], ids=lambda odd: f"{len(odd)} fields"
)
def test_a_state_that_cannot_be_read(tmp_path: Path, odd: list[object], behind: bytes) -> None:
    """What is before it is the block; from its record on all is set aside, piece by piece if need be."""
    good, bad = make_entry(session_id=1), make_entry(session_id=2)
    unreadable = encode((bad, odd))
    write_segment(tmp_path, encode_alone(good), unreadable, behind)

    with closing(Journal.open(tmp_path, durability="os", max_bytes=LIMIT_BYTES)) as journal:
        block = read(journal)
        [segment] = journal.pending()
        left = journal.statistics().bytes

    assert block == build_block(block.id, BlockTrigger.REPLAY, [good])
    assert (tmp_path / segment.file_name).stat().st_size == left == HEADER_BYTES + len(encode_alone(good))
    aside = sorted((tmp_path / "damaged").iterdir(), reverse=True)
    assert b"".join(path.read_bytes()[HEADER_BYTES:] for path in aside) == unreadable + behind
