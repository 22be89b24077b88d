"""The keys of idempotent senders (``ingestion.idempotency``) that were stored in the last 24 hours.

A key is in the journal's record of its event, so both are durable or neither is. Before a segment is deleted
its keys are saved here (``save``); until then the journal itself remembers them, and a start finds them in
it.

Keys are kept in generations, each one set in memory and one file: a new one begins every hour, and earlier
when one holds a sixteenth of what may be remembered. They are forgotten by whole generations, after 25 hours,
so that each key is remembered for 24; or before that, the oldest first, when there are too many, which is
counted.

A file is magic ``GATEHKEY``, u16 version, u64 creation time in milliseconds since 1970 (UTC), then chunks:
u32 count, u32 CRC-32 of the keys, and the keys, 16 bytes each. Numbers are little-endian. Reading stops at
the first chunk that is not whole: its keys were not saved, and are still in the journal.
"""

import logging
import uuid
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from struct import Struct as Layout
from typing import Final, Self
from zlib import crc32

from service.clock import Clock
from service.errors import JournalError
from service.ingestion.idempotency import DIGEST_BYTES
from service.segment import make_folder, translated, write_at

KEYS_FOLDER: Final = "keys"

REMEMBERED_S: Final = 24 * 3600
GENERATION_S: Final = 3600
GENERATION_SHARE: Final = 16

MAGIC: Final = b"GATEHKEY"
VERSION: Final = 1
_HEADER: Final = Layout("<8sHQ")
_CHUNK: Final = Layout("<II")

log: Final = logging.getLogger(__name__)


class _Generation:
    """Keys that came at about the same time."""

    __slots__ = ("created_ms", "keys", "path", "saved_bytes", "unsaved")

    def __init__(self, created_ms: int, path: Path | None = None) -> None:
        self.created_ms = created_ms
        self.keys: set[bytes] = set()
        self.unsaved: list[bytes] = []
        self.path = path
        """None: nothing of it is on disk."""
        self.saved_bytes = 0


class RememberedKeys:
    """Belongs to the BufferActor; sites look into it. ``folder`` None = in memory only."""

    def __init__(self, folder: Path | None, *, limit: int, sync: bool, clock: Clock) -> None:
        self._folder = folder
        self._limit = limit
        self._sync = sync
        self._clock = clock
        self._generations: deque[_Generation] = deque()
        """The oldest first."""
        self._count = 0
        self.forgotten = 0
        """Keys that were forgotten before their time, because there were too many."""

    @classmethod
    def open(cls, folder: Path, *, limit: int, sync: bool, clock: Clock) -> Self:
        """Read what was saved. Raises JournalError when the folder cannot be used."""
        known = cls(folder, limit=limit, sync=sync, clock=clock)
        try:
            make_folder(folder)
            for path in sorted(folder.glob("*.keys")):
                known._read(path)
        except OSError as error:
            raise translated(error, folder) from error
        known.forget_old()
        known._shrink()
        return known

    def __contains__(self, key: object) -> bool:
        return any(key in generation.keys for generation in self._generations)

    def __len__(self) -> int:
        return self._count

    def add(self, keys: Iterable[bytes]) -> None:
        """Remember keys whose events are in the journal; those that are known already stay as they are."""
        for key in keys:
            if key in self:
                continue
            generation = self._current()
            generation.keys.add(key)
            generation.unsaved.append(key)
            self._count += 1
            if self._count > self._limit:
                self._shrink()

    def save(self) -> None:
        """Return when all that was added survives without the journal. Raises JournalError."""
        for generation in self._generations:
            if generation.unsaved and self._folder is not None:
                self._write(self._folder, generation)
            generation.unsaved.clear()

    def forget_old(self) -> None:
        """Forget what is older than 24 hours, and an hour at most."""
        oldest_ms = (self._clock() - REMEMBERED_S - GENERATION_S) * 1000
        while self._generations and self._generations[0].created_ms < oldest_ms:
            self._forget()

    def _current(self) -> _Generation:
        now_ms = int(self._clock() * 1000)
        generations = self._generations
        if (
            not generations
            or now_ms - generations[-1].created_ms >= GENERATION_S * 1000
            or len(generations[-1].keys) >= max(1, self._limit // GENERATION_SHARE)
        ):
            generations.append(_Generation(now_ms))
        return generations[-1]

    def _shrink(self) -> None:
        while self._count > self._limit:
            self.forgotten += len(self._generations[0].keys)
            self._forget()

    def _forget(self) -> None:
        generation = self._generations.popleft()
        self._count -= len(generation.keys)
        if generation.path is not None:
            try:
                generation.path.unlink(missing_ok=True)
            except OSError as error:  # the next start finds it old, or too much, once more
                log.warning("keys: %s cannot be deleted: %s", generation.path.name, error.strerror)

    def _write(self, folder: Path, generation: _Generation) -> None:
        if generation.path is None:
            name = f"{generation.created_ms:015d}-{uuid.uuid4().hex[:8]}.keys"
            path, at = folder / name, 0
            data = _HEADER.pack(MAGIC, VERSION, generation.created_ms)
        else:
            path, at, data = generation.path, generation.saved_bytes, b""
        keys = b"".join(generation.unsaved)
        data += _CHUNK.pack(len(generation.unsaved), crc32(keys)) + keys
        try:
            write_at(path, data, at=at, sync=self._sync)
        except OSError as error:
            raise translated(error, path) from error
        generation.path, generation.saved_bytes = path, at + len(data)

    def _read(self, path: Path) -> None:
        data = path.read_bytes()
        if len(data) < _HEADER.size:
            path.unlink()  # begun, and nothing saved
            return
        magic, version, created_ms = _HEADER.unpack_from(data)
        if magic != MAGIC or version != VERSION:
            raise JournalError(
                f"{path} was not written by this version of Gatehouse. Without it, what senders repeat of the"
                " last 24 hours is counted twice."
            )
        generation = _Generation(created_ms, path)
        at = _HEADER.size
        while (found := _read_chunk(data, at)) is not None:
            generation.keys.update(found)
            at += _CHUNK.size + len(found) * DIGEST_BYTES
        generation.saved_bytes = at
        self._generations.append(generation)
        self._count += len(generation.keys)


def _read_chunk(data: bytes, at: int) -> list[bytes] | None:
    """Give the keys of the chunk that begins there; None when there is no whole one."""
    begin = at + _CHUNK.size
    if begin > len(data):
        return None
    count, checksum = _CHUNK.unpack_from(data, at)
    keys = data[begin : begin + count * DIGEST_BYTES]
    if not count or len(keys) < count * DIGEST_BYTES or crc32(keys) != checksum:
        return None
    return [keys[place : place + DIGEST_BYTES] for place in range(0, len(keys), DIGEST_BYTES)]
