"""The write-ahead journal: what was appended here before it was acknowledged survives the end of the process.

Rules it keeps (design sections 3 to 5):

- One writer: a lock file keeps a second process out of the folder.
- A segment is a block. The first append begins it, ``rotate`` closes it, and its random id is the block's id
  and deduplication token: a replay after a crash rebuilds the same block under the same token.
- An append is all or nothing, and what cannot be read is set aside, never deleted (``service.segment``).
- What an append promises is the ``durability``: ``memory`` ends with the process, ``os`` survives kill -9,
  ``fsync`` survives power loss once ``sync`` has returned.

The folder holds ``lock``, the segments ``<sequence>-<id>.gh`` (their format: ``service.wire.record``),
``<sequence>-<id>.progress`` beside those whose block ClickHouse refused (``service.progress``),
``recent.sessions`` (``service.session_log``), and ``damaged/`` for what cannot be read.
A journal belongs to one actor; only ``load`` may be called from another thread.
"""

import contextlib
import fcntl
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

from msgspec import Struct, structs

from service import clock
from service.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked
from service.ingestion.rows import Entry
from service.progress import PROGRESS_SUFFIX, Progress
from service.segment import (
    FileSegment,
    MemorySegment,
    OpenSegment,
    Remover,
    SegmentInfo,
    decode_pieces,
    inspect,
    make_folder,
    set_aside,
    set_tail_aside,
    translated,
)
from service.session_log import SESSION_LOG, SessionLog
from service.wire import record
from service.wire.entry import EntryReader, SkimmedEntry, encode_records

__all__ = ["LOCK_FILE", "Durability", "Journal", "JournalStatistics", "SegmentInfo"]

Durability = Literal["memory", "os", "fsync"]

LOCK_FILE: Final = "lock"

E = TypeVar("E")

Remember = Callable[[Iterable[bytes]], None]
"""Takes keys of idempotent senders that were found in records."""

log: Final = logging.getLogger(__name__)


class JournalStatistics(Struct, frozen=True):
    """How full the journal is; ``segments`` and ``bytes`` count the open segment too."""

    segments: int
    bytes: int
    limit_bytes: int
    """What ``bytes`` may grow to: the limit that was set, or less when the disk is full before."""
    oldest_sequence: int | None
    oldest_created_ms: int | None
    """UTC milliseconds since 1970: how far the database is behind."""
    records_appended: int
    """Since the journal was opened."""
    bytes_appended: int
    """Since the journal was opened."""


class Journal:
    """Segments, one of them open for appending; made by ``Journal.open``."""

    def __init__(
        self,
        folder: Path,
        *,
        durability: Durability,
        max_bytes: int,
        now: clock.Clock,
        fdatasync: Callable[[int], None],
    ) -> None:
        self._folder = folder
        self._durability = durability
        self._max_bytes = max_bytes
        self._now = now
        self._fdatasync = fdatasync if durability == "fsync" else None
        self._lock: int | None = _lock(folder)  # descriptor that holds the lock; None once closed
        self._open: OpenSegment | None = None  # begun by the first append after a rotate
        self._closed: dict[int, SegmentInfo] = {}  # by sequence, ascending: closed and not yet removed
        self._in_memory: dict[int, bytes] = {}  # the records of those closed segments that have no file
        self._progress: dict[int, Progress] = {}  # by sequence: of segments that were or are being inserted
        self._remover = Remover()
        self._leftover: list[SegmentInfo] = []  # removed, but the disk refused to delete the file
        self._closed_bytes = 0  # of _closed and _leftover: an append must not cost more with a long backlog
        self.sessions: SessionLog | None = None
        """Of the blocks that were let go of; None where nothing is on disk. It is the inserter's."""
        self._next_sequence = 1
        self._records_appended = 0
        self._bytes_appended = 0

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        durability: Durability,
        max_bytes: int,
        now: clock.Clock = clock.wall,
        fdatasync: Callable[[int], None] = os.fdatasync,
        remember: Remember = lambda _: None,
    ) -> Self:
        """Take the folder over, making it if need be, and find what an earlier process left: ``pending``.

        Reads every segment once, which takes a while after a long outage of the database; ``remember`` is
        given the keys in them. Raises JournalLocked when another process owns the folder, JournalError when
        it cannot be used.
        """
        # Before the folder there was nothing, so that of all sessions all is known.
        since = now() if folder.exists() else 0.0
        try:
            make_folder(folder)
            journal = cls(folder, durability=durability, max_bytes=max_bytes, now=now, fdatasync=fdatasync)
        except OSError as error:
            raise translated(error, folder) from error
        try:
            journal._recover(remember)
            if journal.on_disk:
                sync = journal.confirms
                journal.sessions = SessionLog.open(folder / SESSION_LOG, since=since, now=now, sync=sync)
        except OSError as error:
            journal.close()
            raise translated(error, folder) from error
        except JournalError:
            journal.close()
            raise
        return journal

    def append(self, entries: Sequence[Entry], keys: Mapping[int, bytes] | None = None) -> int:
        """Write entries in one piece and give its bytes; with ``os`` they now survive kill -9.

        ``keys`` are those of idempotent senders, by the place of their entry. Raises JournalFull (the limit
        or the disk is reached) or JournalError; none of them is kept then.
        """
        if not entries:
            return 0
        data = encode_records(entries, keys)
        if self._bytes + len(data) > self._max_bytes:
            raise JournalFull(
                f"The journal is full: {self._bytes} of {self._max_bytes} bytes, {len(data)} do not fit."
            )
        if self._open is not None and self._open.sealed and not self._open.info.records:
            self.rotate()  # it belongs to no block yet: whoever appends need not know that it failed
        if self._open is None:
            self._open = self._begin()
        self._open.write(data, records=len(entries))
        self._records_appended += len(entries)
        self._bytes_appended += len(data)
        return len(data)

    async def sync(self) -> None:
        """Return when all that was appended before the call is as durable as ``durability`` says.

        Raises JournalError when the disk does not confirm: what was not confirmed is gone then, and a block
        already begun takes nothing more until ``rotate``. Cancelled, it says nothing about what is safe.
        """
        if self._open is not None:
            await self._open.sync()

    def rotate(self) -> SegmentInfo | None:
        """Close the open segment and give it; None when nothing is in it. The next append begins another.

        With ``fsync``, records for which no ``sync`` has returned are taken back: nobody was told that they
        are safe, and a sync that still waits for them raises.
        """
        segment = self._open
        if segment is None:
            return None
        segment.close()
        self._open = None
        if not segment.info.records:
            return None
        self._keep(segment.info)
        if isinstance(segment, MemorySegment):
            self._in_memory[segment.info.sequence] = bytes(segment.data)
        return segment.info

    def pending(self) -> list[SegmentInfo]:
        """Give the closed segments, also of an earlier process, that were not let go of yet; oldest first."""
        return list(self._closed.values())

    def load(self, segment: SegmentInfo) -> bytes:
        """Give the bytes of a closed segment's records.

        Raises JournalError when there is no such segment, or the disk does not give it. May be called from
        another thread while nobody lets go of that segment.
        """
        return self._data(self._known(segment))

    def decode(self, segment: SegmentInfo, data: bytes) -> Iterator[list[Entry]]:
        """Give the entries of a closed segment piece by piece, and set aside what cannot be read."""
        return self._decode(segment, data, EntryReader().read)

    def skim(self, segment: SegmentInfo, data: bytes) -> Iterator[list[Entry | SkimmedEntry]]:
        """Do the same without a look at session states: ``decode`` alone finds one that cannot be read."""
        return self._decode(segment, data, EntryReader().skim)

    def _decode(
        self, segment: SegmentInfo, data: bytes, read: Callable[[record.Record], Sequence[E]]
    ) -> Iterator[list[E]]:
        known = self._known(segment)
        records = 0
        for entries, end, problem in decode_pieces(data, read):
            records += len(entries)
            yield entries
            if problem:
                good = self._without_tail(known, data[end:], records=records, problem=problem)
                self._closed[known.sequence] = good  # what is read again ends there
                self._closed_bytes -= known.bytes - good.bytes

    def _known(self, segment: SegmentInfo) -> SegmentInfo:
        known = self._closed.get(segment.sequence)
        if known is None:
            raise JournalError(f"There is no closed segment {segment.file_name} in the journal.")
        return known

    def keys(self, segment: SegmentInfo) -> list[bytes]:
        """Give the keys in the records of a closed segment. Raises JournalError."""
        return record.read_records(self._data(segment)).keys

    def remove(self, segment: SegmentInfo) -> None:
        """Delete a closed segment, because its block is stored. Removing it twice is no error.

        Where the disk refuses, it is tried again with every later removal; if the process ends before, the
        next one replays it under its old token.
        """
        known = self._closed.pop(segment.sequence, None)
        if known is None:
            return
        if self._in_memory.pop(known.sequence, None) is None:
            self._leftover.append(known)
            self._delete_leftover()
        else:
            self._progress.pop(known.sequence, None)
            self._closed_bytes -= known.bytes

    def progress(self, segment: SegmentInfo) -> Progress:
        """Give what was decided of a closed segment's block after ClickHouse had refused it."""
        known = self._progress.get(segment.sequence)
        if known is None:
            path = self._folder / segment.file_name if self.on_disk else None
            known = Progress(
                path.with_suffix(PROGRESS_SUFFIX) if path else None, sync=self._fdatasync is not None
            )
            self._progress[segment.sequence] = known
        return known

    def statistics(self) -> JournalStatistics:
        """Tell how full the journal is; costs the same whatever the backlog."""
        open_info = self._open.info if self._open else None
        oldest = next(iter(self._closed.values()), open_info)
        return JournalStatistics(
            segments=len(self._closed) + (open_info is not None),
            bytes=self._bytes,
            limit_bytes=self._limit_bytes(),
            oldest_sequence=oldest.sequence if oldest else None,
            oldest_created_ms=oldest.created_ms if oldest else None,
            records_appended=self._records_appended,
            bytes_appended=self._bytes_appended,
        )

    def _limit_bytes(self) -> int:
        if not self.on_disk:
            return self._max_bytes
        try:
            disk = os.statvfs(self._folder)
        except OSError:  # the next append says what is wrong with it
            return self._max_bytes
        return min(self._max_bytes, self._bytes + disk.f_bavail * disk.f_frsize)

    def close(self) -> None:
        """Let go of the files and the lock; the next ``open`` finds what is on disk. Safe to call twice."""
        if self._lock is None:
            return
        if self._open is not None:
            self._open.close()
            self._open = None
        self._delete_leftover()
        self._remover.close()
        os.close(self._lock)
        self._lock = None

    @property
    def on_disk(self) -> bool:
        """Whether a closed segment may leave memory, because ``read`` finds it on the disk."""
        return self._durability != "memory"

    @property
    def confirms(self) -> bool:
        """Whether ``sync`` waits for the disk."""
        return self._fdatasync is not None

    @property
    def _bytes(self) -> int:
        return self._closed_bytes + (self._open.info.bytes if self._open else 0)

    def _begin(self) -> OpenSegment:
        assert self._lock is not None, "the journal is closed"
        info = SegmentInfo(
            sequence=self._next_sequence,
            id=uuid.uuid4().hex,
            created_ms=int(self._now() * 1000),
            bytes=record.HEADER_BYTES,
            records=0,
        )
        self._next_sequence += 1
        if self._durability == "memory":
            return MemorySegment(info)
        return FileSegment(self._folder, info, fdatasync=self._fdatasync)

    def _keep(self, segment: SegmentInfo) -> None:
        self._closed[segment.sequence] = segment
        self._closed_bytes += segment.bytes

    def _recover(self, remember: Remember) -> None:
        for path in sorted(self._folder.glob("*.gh")):
            if path.stat().st_size <= record.HEADER_BYTES:
                path.unlink()  # begun and never appended to
                continue
            try:
                segment, data = inspect(path)
            except JournalCorrupt as error:
                set_aside(path, str(error))
                continue
            self._next_sequence = segment.sequence + 1
            found = record.read_records(data)
            segment = structs.replace(segment, records=found.entries)
            if found.problem is not None:
                tail = data[found.clean_end :]
                segment = self._without_tail(segment, tail, records=segment.records, problem=found.problem)
            if segment.records:
                self._keep(segment)
                remember(found.keys)
        self._recover_progress()

    def _recover_progress(self) -> None:
        by_name = {Path(segment.file_name).stem: segment for segment in self._closed.values()}
        for path in sorted(self._folder.glob(f"*{PROGRESS_SUFFIX}")):
            segment = by_name.get(path.stem)
            if segment is None:
                path.unlink()  # its segment was finished and deleted
            else:
                self._progress[segment.sequence] = Progress.load(path, sync=self._fdatasync is not None)

    def _forget_progress(self, segment: SegmentInfo) -> None:
        # After the segment, never before: without it the block would be tried as if nothing had happened.
        progress = self._progress.pop(segment.sequence, None)
        if progress is not None and progress.path is not None and progress.is_kept:
            progress.path.unlink(missing_ok=True)

    def _without_tail(self, segment: SegmentInfo, tail: bytes, *, records: int, problem: str) -> SegmentInfo:
        """Set the unreadable end of a segment aside and give what is good in it."""
        good = structs.replace(segment, bytes=segment.bytes - len(tail), records=records)
        try:
            set_tail_aside(self._folder / segment.file_name, good, tail, problem)
        except OSError as error:
            # A full disk must not keep the good records from the database; the next start tries this again.
            log.error(
                "journal: %s: its unreadable end cannot be set aside: %s", segment.file_name, error.strerror
            )
        return good

    def _data(self, segment: SegmentInfo) -> bytes:
        data = self._in_memory.get(segment.sequence)
        if data is not None:
            return data
        path = self._folder / segment.file_name
        try:
            with path.open("rb") as file:
                file.seek(record.HEADER_BYTES)
                return file.read(segment.bytes - record.HEADER_BYTES)
        except OSError as error:
            raise translated(error, path) from error

    def _delete_leftover(self) -> None:
        while self._leftover:
            segment = self._leftover[-1]
            try:
                self._remover.remove(self._folder / segment.file_name)
                self._forget_progress(segment)
            except OSError as error:
                log.warning("journal: %s cannot be deleted yet: %s", segment.file_name, error.strerror)
                return
            self._leftover.pop()
            self._closed_bytes -= segment.bytes


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep the service out of a journal's folder meanwhile, which is made if need be.

    Raises JournalLocked when another process owns it, JournalError when it cannot be used.
    """
    try:
        make_folder(folder)
        descriptor = _lock(folder)
    except OSError as error:
        raise translated(error, folder) from error
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    path = folder / LOCK_FILE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise JournalLocked(
            f"The journal in {folder} is in use by process {owner}: one service at a time may write to it."
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
