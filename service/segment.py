"""One segment of the journal as a file or in memory: how it is begun, written, synced, cut and set aside.

Rules it keeps (design sections 3 and 4):

- A write is all or nothing. What a failed one left behind is cut off at once; where even that fails the
  segment is sealed: it takes nothing more, and what lies behind its last good byte is not read.
- With ``fsync`` only what the disk confirmed is in a closed segment. A failed sync takes back the rest,
  because nobody knows then which pages are on the disk; so does closing before a sync has returned.
- Bytes that cannot be read are moved into ``damaged/``, never deleted.

Files are 0600, folders 0700.
"""

import asyncio
import errno
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

from msgspec import Struct, structs

from service.errors import JournalCorrupt, JournalError, JournalFull
from service.ingestion.rows import Entry
from service.wire import record
from service.wire.entry import EntryReader

DAMAGED_FOLDER: Final = "damaged"
MOST_REMOVED_AT_ONCE: Final = 8
"""So many deleted files are held open at the most."""
PIECE_ENTRIES: Final = 200
"""Decoding so many takes a millisecond; a record is not cut, and may hold more."""

_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FILE_NAME: Final = re.compile(r"(\d{12,})-([0-9a-f]{32})\.gh")

log: Final = logging.getLogger(__name__)


E = TypeVar("E")
Piece = tuple[list[E], int, str]
"""Entries, the offset behind the last, and what is wrong there."""


class SegmentInfo(Struct, frozen=True):
    """What is good in a segment; ``bytes`` counts its header and its records."""

    sequence: int
    id: str
    """The block's id and deduplication token: 32 hexadecimal digits."""
    created_ms: int
    """UTC milliseconds since 1970."""
    bytes: int
    records: int

    @property
    def file_name(self) -> str:
        """Its name in the journal's folder; names sort as sequences do."""
        return f"{self.sequence:012d}-{self.id}.gh"


class OpenSegment(Protocol):
    """The segment that takes appends."""

    info: SegmentInfo

    @property
    def sealed(self) -> str:
        """Why it takes nothing more; empty while it does."""

    def write(self, data: bytes, *, records: int) -> None:
        """Append so many whole records, or nothing. Raises JournalFull or JournalError."""

    async def sync(self) -> None:
        """Return when all written before the call survives power loss. Raises JournalError."""

    def close(self) -> None:
        """Let go of it; safe to call twice."""


class MemorySegment:
    """An open segment without a file; its records are in ``data``."""

    sealed = ""

    def __init__(self, info: SegmentInfo) -> None:
        self.info = info
        self.data = bytearray()

    def write(self, data: bytes, *, records: int) -> None:
        """Append the records; nothing can fail."""
        self.data += data
        self.info = _grown(self.info, data, records)

    async def sync(self) -> None:
        """Return at once: nothing here survives anything."""

    def close(self) -> None:
        """Do nothing; there is nothing to let go of."""


class FileSegment:
    """An open segment in a new file. Raises JournalFull or JournalError when that cannot be made."""

    def __init__(self, folder: Path, info: SegmentInfo, *, fdatasync: Callable[[int], None] | None) -> None:
        self.info = info  # all that was written and not taken back
        self._path = folder / info.file_name
        self._fdatasync = fdatasync  # None: the durability does not ask for it
        self._confirmed = info  # all that is known to survive power loss
        self.sealed = ""  # why it takes nothing more; empty while it does
        self._taken_back = False  # unconfirmed records were cut off: whoever waits for them must hear of it
        self._descriptor = _create(self._path, record.Header(id=info.id, created_ms=info.created_ms))

    def write(self, data: bytes, *, records: int) -> None:
        """Append the records, or nothing. Raises JournalFull or JournalError."""
        if self.sealed:
            raise JournalError(f"Segment {self._path.name} takes nothing more: {self.sealed}.")
        try:
            _write_all(self._descriptor, data)
        except OSError as error:
            self._cut_off_rest()
            raise translated(error, self._path) from error
        self.info = _grown(self.info, data, records)

    async def sync(self) -> None:
        """Return when all written before the call survives power loss.

        Raises JournalError when the disk refuses: the unconfirmed records are gone then, and it is sealed.
        Cancelled, it says nothing about what is safe; the next call asks the disk again.
        """
        if self._fdatasync is not None and not self._taken_back and self._confirmed != self.info:
            reached = self.info
            # A descriptor of its own: while the thread waits, this one may be closed and its number reused.
            duplicate = os.dup(self._descriptor)
            folder = self._path.parent if self._confirmed.records == 0 else None
            try:
                await asyncio.to_thread(_sync_and_close, duplicate, folder, self._fdatasync)
            except OSError as error:
                self._take_back(f"a sync failed ({error.strerror})")
            else:
                self._confirmed = max(self._confirmed, reached, key=_records)
        if self._taken_back:
            raise JournalError(f"The disk did not confirm segment {self._path.name}: {self.sealed}.")

    def close(self) -> None:
        """Close the file, and delete it when nothing is in it; safe to call twice.

        A sync that has not returned yet raises: nobody may be told that its records are safe.
        """
        if self._descriptor < 0:
            return
        if self._fdatasync is not None and self._confirmed != self.info:
            self._take_back("it was closed before the disk confirmed it")
        elif self.sealed:
            self._cut_off_rest()
        os.close(self._descriptor)
        self._descriptor = -1
        if not self.info.records:
            self._path.unlink(missing_ok=True)

    def _take_back(self, reason: str) -> None:
        if self._taken_back:
            return
        self._taken_back = True
        self.sealed = reason
        self.info = self._confirmed
        log.error(
            "journal: %s: %s; records that were not confirmed are taken back", self._path.name, self.sealed
        )
        self._cut_off_rest()

    def _cut_off_rest(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.info.bytes)
        except OSError as error:
            self.sealed = self.sealed or f"what a failed write left could not be cut off ({error.strerror})"
            log.error(
                "journal: %s: cannot be cut to its %d good bytes: %s", self._path.name, self.info.bytes, error
            )


class Remover:
    """Deletes files at once, and has a thread give their room back: 9 ms of waiting for a file of 30 MB.

    For a file that is only unlinked the system does that within the call. So it is held open meanwhile, and
    what takes long is the closing of it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-remover")
        self._under_way: deque[Future[None]] = deque()

    def remove(self, path: Path) -> None:
        """Delete a file; none there is no error. Raises OSError.

        Waits when the thread is ``MOST_REMOVED_AT_ONCE`` files behind.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError:  # no descriptor is left, say: then it takes as long as it takes
            path.unlink(missing_ok=True)
            return
        try:
            path.unlink(missing_ok=True)
        finally:
            self._close(descriptor)

    def close(self) -> None:
        """Return when all is given back; safe to call twice."""
        self._thread.shutdown()

    def _close(self, descriptor: int) -> None:
        while self._under_way and self._under_way[0].done():
            self._under_way.popleft()
        if len(self._under_way) >= MOST_REMOVED_AT_ONCE:
            self._under_way.popleft().result()
        self._under_way.append(self._thread.submit(os.close, descriptor))


def inspect(path: Path) -> tuple[SegmentInfo, bytes]:
    """Read a segment's name and header; gives them and the bytes of its records, good or not.

    Raises JournalCorrupt with a sentence when it cannot be a segment, OSError when it cannot be read.
    """
    name = _FILE_NAME.fullmatch(path.name)
    if name is None:
        raise JournalCorrupt(f"{path.name} is not named like a segment")
    buffer = path.read_bytes()
    try:
        header = record.decode_header(buffer)
    except record.RecordError as error:
        raise JournalCorrupt(f"{path.name}: {error}") from error
    if header.id != name[2]:
        raise JournalCorrupt(f"{path.name}: the header says that its id is {header.id}")
    return SegmentInfo(int(name[1]), header.id, header.created_ms, len(buffer), 0), buffer[
        record.HEADER_BYTES :
    ]


def decode_records(data: bytes) -> tuple[list[Entry], int, str]:
    """Give the entries that can be read, the offset behind the last, and what is wrong there, if anything."""
    entries: list[Entry] = []
    end, problem = 0, ""
    for piece, piece_end, piece_problem in decode_pieces(data, EntryReader().read):
        entries += piece
        end, problem = piece_end, piece_problem
    return entries, end, problem


def decode_pieces(data: bytes, read: Callable[[record.Record], Sequence[E]]) -> Iterator[Piece[E]]:
    """Do the same step by step, for who must not hold the loop: some ``PIECE_ENTRIES`` at a time.

    ``read`` is what an ``EntryReader`` does with a record.
    """
    offset, problem = 0, ""
    while offset < len(data) and not problem:
        found = record.read_records(data, offset, most=PIECE_ENTRIES)
        entries: list[E] = []
        problem = found.problem or ""
        for written in found.records:
            try:
                entries += read(written)
            except record.RecordError as error:
                problem = str(error)
                break
            offset = written.end
        yield entries, offset, problem


def set_aside(path: Path, reason: str) -> None:
    """Move a file that is no segment into ``damaged/``. Raises OSError."""
    target = free_place(_damaged_folder(path.parent) / path.name, path.read_bytes())
    path.replace(target)
    log.error("journal: %s; it was moved to %s", reason, target)


def set_tail_aside(path: Path, segment: SegmentInfo, tail: bytes, reason: str) -> None:
    """Move the ``tail`` behind a segment's good bytes into a segment of the same name in ``damaged/``.

    The copy is complete before the original is cut: a crash in between only repeats it. Raises OSError.
    """
    content = _with_header(segment, tail)
    target = free_place(_damaged_folder(path.parent) / path.name, content)
    _write_file(target, content)
    os.truncate(path, segment.bytes)
    log.warning(
        "journal: %s: its last %d bytes cannot be read (%s), they were moved to %s; %d records are good",
        path.name,
        len(tail),
        reason,
        target,
        segment.records,
    )


def write_segment(path: Path, segment: SegmentInfo, data: bytes) -> None:
    """Write a whole segment that holds the records ``data``, over whatever is there. Raises OSError."""
    _write_file(path, _with_header(segment, data))


def free_place(path: Path, content: bytes) -> Path:
    """Give the path, or the same with a number, at which nothing is but the very same content.

    What is damaged a second time must not take the place of what was set aside the first time. Nor must it
    when it begins with the same bytes: those may be another record's.
    """
    place, number = path, 1
    while place.exists() and place.read_bytes() != content:
        number += 1
        place = path.with_name(f"{path.name}.{number}")
    return place


def write_at(path: Path, data: bytes, *, at: int, sync: bool) -> None:
    """Write at a place of a file, made if need be, and end it there: what lay behind is gone. Raises OSError.

    With ``sync`` it survives the loss of power when this returns.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    try:
        os.ftruncate(descriptor, at)
        os.lseek(descriptor, at, os.SEEK_SET)
        _write_all(descriptor, data)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if sync and not at:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Return when the folder's names survive the loss of power. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def translated(error: OSError, path: Path) -> JournalError:
    """Give the journal's error for the system's, with the numbers and names left in."""
    if error.errno in _NO_SPACE:
        return JournalFull(f"The disk of {path} is full: {error.strerror}.")
    return JournalError(f"{path}: {error.strerror}.")


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(_FOLDER_MODE)


def _with_header(segment: SegmentInfo, data: bytes) -> bytes:
    return record.encode_header(record.Header(id=segment.id, created_ms=segment.created_ms)) + data


def _create(path: Path, header: record.Header) -> int:
    try:
        descriptor = _open(path, os.O_EXCL)
    except OSError as error:
        raise translated(error, path) from error
    try:
        _write_all(descriptor, record.encode_header(header))
    except OSError as error:
        os.close(descriptor)
        path.unlink()
        raise translated(error, path) from error
    return descriptor


def _open(path: Path, flag: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flag, _FILE_MODE)


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):  # a disk that fills up takes a part, and says why at the next call
        written += os.write(descriptor, data[written:])


def _write_file(path: Path, content: bytes) -> None:
    descriptor = _open(path, os.O_TRUNC)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_and_close(descriptor: int, folder: Path | None, fdatasync: Callable[[int], None]) -> None:
    try:
        fdatasync(descriptor)
    finally:
        os.close(descriptor)
    if folder is not None:
        sync_folder(folder)


def _damaged_folder(folder: Path) -> Path:
    damaged = folder / DAMAGED_FOLDER
    make_folder(damaged)
    return damaged


def _grown(info: SegmentInfo, data: bytes, records: int) -> SegmentInfo:
    return structs.replace(info, bytes=info.bytes + len(data), records=info.records + records)


def _records(info: SegmentInfo) -> int:
    return info.records
