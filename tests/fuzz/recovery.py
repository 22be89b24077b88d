"""A service that starts on damaged files: what was good is used, everything else is still there."""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from service.clickhouse.store import BlockTrigger
from service.insertion import read_in_steps, run_through
from service.journal import Journal
from service.journal_reader import read_segments, report_segments
from service.quarantine import Quarantine, read_rows
from service.segment import DAMAGED_FOLDER
from service.wire import record
from service.wire.entry import encode_entries
from service.wire.refused_row import RefusedRow, encode_refused
from tests.support.entries import make_entry, read_segment

BLOCK: Final = "ab" * 16
NAME: Final = f"{1:012d}-{BLOCK}.gh"
NOW: Final = 1_795_003_200.0
HEADER: Final = record.encode_header(record.Header(id=BLOCK, created_ms=int(NOW * 1000)))
BETWEEN: Final = b"\0\0"
"""Between two payloads of an input, which are framed, so that the checksum hides nothing."""

_VISIT: Final = b"b\x03\x00" + encode_entries(
    [make_entry(pathname=page) for page in ("/", "/\xe4", b"/\xff")]
)
_ENTRY: Final = msgspec.msgpack.encode(make_entry())
_BATCH: Final = b"b\x02\x01" + encode_entries([make_entry(session_id=1), make_entry(session_id=2)])
_REFUSED: Final = encode_refused(
    RefusedRow(BLOCK, "events", 0, int(NOW * 1000), "too long", 0, make_entry().event)
)
_LOGGERS: Final = ("service.segment", "service.journal", "service.quarantine")

JOURNAL_SEEDS: Final = [
    b"r" + HEADER + record.frame(_ENTRY) * 2,
    b"h" + record.frame(_ENTRY) + record.frame(_ENTRY)[:-3],
    b"p" + BETWEEN.join([_ENTRY, b"\x93\xc0\xc0\xc0", _ENTRY]),
    b"p" + BETWEEN.join([_BATCH, _ENTRY, _BATCH]),
    b"p" + BETWEEN.join([_VISIT, _BATCH, _VISIT]),
    b"p" + BETWEEN.join([_ENTRY, _ENTRY]) + b"\xc1\xc1" + record.frame(_ENTRY)[:20],
]
QUARANTINE_SEEDS: Final = [record.frame(_REFUSED) * 2, record.frame(_REFUSED) + record.frame(_ENTRY)[:9]]


def fuzz_journal(data: bytes) -> None:
    """A journal that opens on a damaged segment: the next start finds the same, and appends go on."""
    with _quiet(), _folder() as folder:
        content = _segment(data)
        path = folder / NAME
        path.write_bytes(content)
        reported = {report.file: report.records for report in report_segments(folder)}
        with contextlib.closing(_open(folder)) as journal:
            found = {info.file_name: read_segment(journal, info) for info in journal.pending()}
            journal.append([make_entry()])
            added = journal.rotate()
            assert added is not None
            assert read_segment(journal, added) == [make_entry()], "a damaged segment spoils the next"
        assert len(found.get(NAME, [])) == reported.get(NAME, 0), (
            "inspect and the service read it differently"
        )
        _check_nothing_lost(folder, content)
        with contextlib.closing(_open(folder)) as journal:
            again = {info.file_name: read_segment(journal, info) for info in journal.pending()}
        again.pop(added.file_name)
        assert again == {name: entries for name, entries in found.items() if entries}, (
            "the next start differs"
        )


def fuzz_block(data: bytes) -> None:
    """A block of a damaged segment: all that ``inspect`` can read is in it, and no byte is lost."""
    with _quiet(), _folder() as folder:
        content = _segment(data)
        (folder / NAME).write_bytes(content)
        readable = [entry.event for _, entries in read_segments(folder) for entry in entries]
        with contextlib.closing(_open(folder)) as journal:
            for info in journal.pending():
                steps = read_in_steps(journal, info, journal.load(info), BlockTrigger.REPLAY)
                events = list(run_through(steps).events)
                # A state that is replaced within the block is not looked at; ``inspect`` stops there.
                assert events[: len(readable)] == readable, "inspect and a block differ"
        _check_nothing_lost(folder, content)


def fuzz_quarantine(data: bytes) -> None:
    """A quarantine that opens on a damaged file, twice: no row that can be read and no byte is lost."""
    with _quiet(), _folder() as folder:
        path = folder / f"{1:013d}-{BLOCK}.rows"
        path.write_bytes(data)
        readable = list(read_rows(folder))
        for start in (1, 2):
            Quarantine.open(folder, max_bytes=2**20, sync=False)
            assert list(read_rows(folder)) == readable, f"rows are lost at start {start}"
            aside = folder / f"{path.stem}.damaged"
            rest = aside.read_bytes() if aside.exists() else b""
            assert path.read_bytes() + rest == data, f"bytes are lost at start {start}"


def frame_any(payload: bytes) -> bytes:
    """Give the record of a payload; behind ``b``, a number of entries and one of keys it is a batch's."""
    if payload[:1] == b"b" and len(payload) > 3:
        return record.frame_batch(payload[3:], payload[1], [bytes(16)] * payload[2])
    return record.frame(payload)


def _segment(data: bytes) -> bytes:
    """Make a segment's bytes of an input: as they are, behind a header, or behind good records too."""
    kind, rest = data[:1], data[1:]
    if kind == b"r":
        return rest
    if kind == b"h":
        return HEADER + rest
    payloads, _, tail = rest.partition(b"\xc1\xc1")
    return HEADER + b"".join(frame_any(payload) for payload in payloads.split(BETWEEN) if payload) + tail


def _check_nothing_lost(folder: Path, content: bytes) -> None:
    """Fail unless every byte of a segment is in the journal still, or set aside."""
    if len(content) <= record.HEADER_BYTES:
        return  # nothing was ever appended to it
    kept = folder / NAME
    good = kept.read_bytes() if kept.exists() else b""
    # The later something was set aside, the nearer to the beginning it was.
    aside = [path.read_bytes() for path in sorted((folder / DAMAGED_FOLDER).glob("*"), reverse=True)]
    whole = good + b"".join(tail[record.HEADER_BYTES :] for tail in aside)
    assert content in (whole, *aside), "bytes were lost"


def _open(folder: Path) -> Journal:
    return Journal.open(folder, durability="os", max_bytes=2**20, now=lambda: NOW)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # In memory where that can be had: what is tried here waits for the disk at every step.
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="gatehouse-fuzz-", dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what is logged of each damaged file."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
