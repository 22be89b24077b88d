"""The session states of blocks that the journal has let go of, so that a kill ends no visit.

After a kill the journal still has the entries of what is not in ClickHouse; of what was stored and deleted
this file has what a visit needs to go on: the last state that each block wrote of each session. Together they
hold the latest state of every session since the log was begun, and that is the one with the most events
(every state has one more than the state before it), so nothing depends on an order.

Constraints:

- A block's states are in the log before its segment is deleted. A torn end is cut off: it belongs to a block
  whose segment is still there.
- The header is magic ``GATEHSES``, u16 version, u8 whether the disk confirms each note, 16 bytes boot id of
  the machine, u64 milliseconds since 1970 (UTC) since when the log is complete, u32 CRC-32 of all that.
  Numbers are little-endian. Behind it come records as in the journal (``service.wire.record``); the payload
  is a MessagePack array of session states, as the journal writes them, and of pairs of session id and time to
  which an engagement kept it alive.
- An older state than the stored one would make sums wrong, and no state only splits a visit. So whatever
  cannot be trusted whole is given up, and ``since`` says from when on sessions are known: after a failed
  write, a damaged file, and, where the disk does not confirm, after the machine was started again.
- It is rewritten from time to time without the states that were replaced or are too old. No personal data:
  what the journal holds (design section 4).
"""

import itertools
import logging
import struct
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self
from zlib import crc32

import msgspec

from service.clock import Clock
from service.ingestion.rows import ClickhouseSession
from service.segment import sync_folder, translated, write_at
from service.wire import record
from service.wire.session_state import State, read_state

SESSION_LOG: Final = "recent.sessions"
MAGIC: Final = b"GATEHSES"
VERSION: Final = 1
KEPT_S: Final = 35 * 60
"""So long a state is kept after its time: longer than a visit may pause."""
REWRITE_EVERY_S: Final = 10 * 60
REWRITE_BYTES: Final = 64 * 2**20
"""At least so much is in the log before its size has it rewritten."""
MAX_BYTES: Final = 2**30
"""The log is given up when more than half of it is still needed: over a million visits in half an hour."""
STATES_IN_RECORD: Final = 500
PIECE_BYTES: Final = 4 * 2**20

_HEADER: Final = struct.Struct("<8sHB16sQ")
_CHECKSUM: Final = struct.Struct("<I")
HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_UNKNOWN_BOOT: Final = bytes(16)

_BEGINS_ANEW: Final = "journal: %s: %s; visits of this moment would begin anew after a kill"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[list[msgspec.Raw], list[tuple[int, int]]]).decode

log: Final = logging.getLogger(__name__)


class _Header(NamedTuple):
    confirmed: bool
    boot: bytes
    since_ms: int


class SessionLog:
    """The log of one journal; it belongs to whoever inserts its blocks, one after the other."""

    def __init__(self, path: Path, *, now: Clock, sync: bool, boot: bytes) -> None:
        self._path = path
        self._now = now
        self._sync = sync
        self._boot = boot
        self._draft = path.with_suffix(".new")
        self._size = 0
        """Bytes that are good; 0 while there is no file, which the next note begins."""
        self._since_ms = 0
        self._rewrite_at = REWRITE_BYTES
        self._rewrite_after = now() + REWRITE_EVERY_S

    @classmethod
    def open(cls, path: Path, *, since: float, now: Clock, sync: bool, boot: bytes | None = None) -> Self:
        """Go on with the log that is there, or begin one that is complete since then (UTC epoch seconds).

        ``sync``: a note is on the disk when it returns. A disk that refuses is told by the first note.
        """
        found = cls(path, now=now, sync=sync, boot=_boot_id() if boot is None else boot)
        try:
            problem = found._recover()
            if not found._size:
                found._begin(now() if problem else since)
        except OSError as error:
            found._size = 0
            problem = f"it cannot be used: {error.strerror}"
        if problem:
            log.warning(_BEGINS_ANEW, path.name, problem)
        return found

    @property
    def since(self) -> int:
        """Of sessions that began at this second (UTC epoch) or later, the latest state is known."""
        return -(-self._since_ms // 1000)

    def note(self, states: Sequence[ClickhouseSession], kept_alive: Sequence[tuple[int, int]]) -> None:
        """Keep the last states of a stored block, and until when engagements kept sessions alive.

        When they cannot be kept, the log is begun anew. Raises JournalError when the disk does not even give
        up the old one: the block's segment must stay then.
        """
        data = b"".join(_records(states, kept_alive))
        try:
            if not self._size:
                self._begin(self._now())
            self._write(data)
            if self._size >= self._rewrite_at or self._now() >= self._rewrite_after:
                self._rewrite()
        except OSError as error:
            self._give_up(f"it cannot be written: {error.strerror}")
        except record.RecordError as error:
            self._give_up(str(error))

    def read(self) -> Iterator[tuple[list[msgspec.Raw], list[tuple[int, int]]]]:
        """Give what was noted, record by record. Raises OSError, or RecordError for what is damaged."""
        if not self._size:
            return
        with self._path.open("rb") as file:
            yield from self._read(file)

    def _read(self, file: BinaryIO) -> Iterator[tuple[list[msgspec.Raw], list[tuple[int, int]]]]:
        file.seek(HEADER_BYTES)
        rest = b""
        end = HEADER_BYTES
        while True:
            piece = file.read(PIECE_BYTES)
            data = rest + piece
            found = record.read_records(data)
            for payload in found.payloads:
                try:
                    yield _decode(payload)
                except msgspec.DecodeError as error:
                    raise record.RecordError(f"a record cannot be decoded: {error}") from error
            end += found.clean_end
            rest = data[found.clean_end :]
            if found.problem not in {None, record.Problem.TORN}:
                raise record.RecordError(f"it is damaged at byte {end}: {found.problem}")
            if not piece:
                self._size = end
                return

    def _recover(self) -> str:
        """Find what an earlier process left; gives why it cannot be used, if there is something."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return ""
        with file:
            try:
                header = _decode_header(file.read(HEADER_BYTES))
                for _ in self._read(file):
                    pass
            except record.RecordError as error:
                self._size = 0
                self._path.replace(self._path.with_suffix(".damaged"))
                return f"{error}; it was set aside"
        if header.confirmed is not self._sync:
            self._size = 0
            return "it was written with another durability"
        if not self._sync and (header.boot != self._boot or self._boot == _UNKNOWN_BOOT):
            self._size = 0
            return "the machine was started again since, and its disk confirmed nothing"
        self._since_ms = header.since_ms
        return ""

    def _begin(self, since: float) -> None:
        self._since_ms = int(since * 1000)
        self._write(self._header())

    def _write(self, data: bytes) -> None:
        write_at(self._path, data, at=self._size, sync=self._sync)
        self._size += len(data)

    def _header(self) -> bytes:
        head = _HEADER.pack(MAGIC, VERSION, self._sync, self._boot, self._since_ms)
        return head + _CHECKSUM.pack(crc32(head))

    def _give_up(self, problem: str) -> None:
        log.warning(_BEGINS_ANEW, self._path.name, problem)
        try:
            for path in (self._path, self._draft):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise translated(error, self._path) from error
        self._size = 0

    def _rewrite(self) -> None:
        """Leave out what was replaced or is too old. Raises OSError; the log is as it was then."""
        horizon = self._now() - KEPT_S
        latest: dict[int, int] = {}
        for raw_states, _ in self.read():
            for state in map(read_state, raw_states):
                if state.timestamp > horizon and state.events > latest.get(state.session_id, 0):
                    latest[state.session_id] = state.events
        draft = self._draft
        draft.unlink(missing_ok=True)
        size = 0
        for data in itertools.chain([self._header()], self._needed(latest, horizon)):
            write_at(draft, data, at=size, sync=False)
            size += len(data)
        if self._sync:
            write_at(draft, b"", at=size, sync=True)
        draft.replace(self._path)
        if self._sync:
            sync_folder(self._path.parent)
        self._size = size
        self._rewrite_at = min(max(REWRITE_BYTES, 2 * size), MAX_BYTES)
        self._rewrite_after = self._now() + REWRITE_EVERY_S
        if size > MAX_BYTES // 2:
            self._give_up(f"{len(latest)} visits in half an hour are more than it may hold")

    def _needed(self, latest: dict[int, int], horizon: float) -> Iterator[bytes]:
        for raw_states, kept_alive in self.read():
            states = [raw for raw in raw_states if _is_latest(read_state(raw), latest)]
            alive = [pair for pair in kept_alive if pair[1] > horizon and pair[0] in latest]
            if states or alive:
                yield record.frame(_encode((states, alive)))


def _is_latest(state: State, latest: dict[int, int]) -> bool:
    return latest.get(state.session_id) == state.events


def _records(states: Sequence[ClickhouseSession], kept_alive: Sequence[tuple[int, int]]) -> Iterator[bytes]:
    """Give the records of a block in parts, so that no call holds up other threads for long."""
    for begin in range(0, max(len(states), len(kept_alive)), STATES_IN_RECORD):
        end = begin + STATES_IN_RECORD
        yield record.frame(_encode((states[begin:end], kept_alive[begin:end])))


def _decode_header(data: bytes) -> _Header:
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        raise record.RecordError("this is no log of sessions")
    _, version, confirmed, boot, since_ms = _HEADER.unpack_from(data)
    (checksum,) = _CHECKSUM.unpack_from(data, _HEADER.size)
    if version != VERSION:
        raise record.RecordError(f"it has version {version}, and this Gatehouse reads version {VERSION}")
    if checksum != crc32(data[: _HEADER.size]):
        raise record.RecordError("the checksum of its header is wrong")
    return _Header(bool(confirmed), boot, since_ms)


def _boot_id() -> bytes:
    try:
        return uuid.UUID(_BOOT_ID.read_text().strip()).bytes
    except (OSError, ValueError):
        return _UNKNOWN_BOOT
