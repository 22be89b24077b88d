"""Looks into a journal without owning it: what its segments hold and what is wrong with them.

Nothing is changed, and it may be done while a service writes. Then the newest segment may end in the middle
of a record, which is no fault.
"""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from service.errors import JournalCorrupt
from service.ingestion.rows import Entry
from service.progress import PROGRESS_SUFFIX
from service.segment import DAMAGED_FOLDER, decode_records, inspect, translated
from service.wire import record


class SegmentReport(Struct, frozen=True):
    """One file of the journal's folder."""

    file: str
    id: str
    """The block's id; empty when the file cannot be a segment."""
    created_ms: int
    """UTC milliseconds since 1970."""
    bytes: int
    records: int
    """So many can be read."""
    unread_bytes: int
    """Behind the last record that can be read."""
    problem: str
    """What is wrong there; empty when nothing is."""
    refused: bool
    """ClickHouse refused rows of its block, which is taken apart or waits for room in the quarantine."""


def report_segments(folder: Path) -> Iterator[SegmentReport]:
    """Report each segment, oldest first, having checked every checksum and decoded every record.

    Raises JournalError when the disk does not give them; a folder that is not there has none.
    """
    for path in _paths(folder):
        report, _ = _read(path)
        if report is not None:
            yield report


def read_segments(folder: Path) -> Iterator[tuple[SegmentReport, list[Entry]]]:
    """Give each segment's report with the entries that can be read. Raises JournalError."""
    for path in _paths(folder):
        report, entries = _read(path)
        if report is not None:
            yield report, entries


def damaged_files(folder: Path) -> list[Path]:
    """Give what earlier starts set aside because it could not be read."""
    return sorted((folder / DAMAGED_FOLDER).glob("*"))


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.gh"))


def _read(path: Path) -> tuple[SegmentReport | None, list[Entry]]:
    try:
        size = path.stat().st_size
        info, data = inspect(path)
    except FileNotFoundError:
        return None, []  # its block was just stored
    except JournalCorrupt as error:
        if size < record.HEADER_BYTES:
            return None, []  # begun, and nothing appended yet
        return SegmentReport(path.name, "", 0, size, 0, size, str(error), refused=False), []
    except OSError as error:
        raise translated(error, path) from error
    entries, end, problem = decode_records(data)
    report = SegmentReport(
        file=path.name,
        id=info.id,
        created_ms=info.created_ms,
        bytes=info.bytes,
        records=len(entries),
        unread_bytes=len(data) - end,
        problem=problem,
        refused=path.with_suffix(PROGRESS_SUFFIX).exists(),
    )
    return report, entries
