"""A session state in its bytes, of which only what tells it from others is read.

Most states are looked at to see which of them is the latest, and then passed on as they are. The bytes are
those of ``rows.ClickhouseSession`` in MessagePack, as ``service.wire.entry`` writes them.
"""

from typing import Final, NamedTuple

import msgspec

from service.ingestion.session import touch
from service.wire.entry import decode_session, split_batch
from service.wire.record import Record, RecordError


class State(NamedTuple):
    """What tells a session state from others; times are UTC epoch seconds."""

    session_id: int
    site_id: int
    user_id: int
    timestamp: int
    start: int
    events: int
    """Each state of a session has one more than the one before it."""
    raw: msgspec.Raw


class KeptAlive(NamedTuple):
    """What an engagement does to its session: it writes no state."""

    session_id: int
    timestamp: int
    """UTC epoch seconds."""


_Raw = msgspec.Raw
_NIL: Final = b"\xc0"
_decode_state: Final = msgspec.msgpack.Decoder(
    tuple[
        int, int, int, _Raw, int, int, _Raw, _Raw, _Raw, _Raw, _Raw, int, _Raw, _Raw, _Raw, _Raw
    ]  # in the order of ClickhouseSession's fields
).decode
_ALL_FIELDS: Final = b"\xdc\0\x10"
"""Before the fields of a whole state: an array of 16."""
_BUT_ATTRIBUTES: Final = b"\x9f"
"""Before those of one whose attributes are the event's: an array of 15."""
_decode_entry: Final = msgspec.msgpack.Decoder(tuple[_Raw, _Raw, _Raw]).decode
_decode_event: Final = msgspec.msgpack.Decoder(
    tuple[_Raw, _Raw, int, int, _Raw, _Raw, _Raw, _Raw, _Raw, _Raw, _Raw, _Raw, _Raw, _Raw, _Raw, _Raw]
).decode


def read_state(raw: msgspec.Raw) -> State:
    """Read what tells the state from others. Raises RecordError."""
    try:
        fields = _decode_state(raw)
    except msgspec.DecodeError as error:
        raise RecordError(f"a session state cannot be read: {error}") from error
    return State(fields[0], fields[1], fields[2], fields[4], fields[5], fields[11], raw)


def kept_alive_until(raw: msgspec.Raw, timestamp: int) -> msgspec.Raw:
    """Give the state as it is in memory after an engagement at ``timestamp``. Raises RecordError."""
    try:
        session = decode_session(msgspec.msgpack.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"a session state cannot be read: {error}") from error
    return msgspec.Raw(msgspec.msgpack.encode(touch(session, timestamp)))


def read_written(record: Record) -> list[msgspec.Raw | KeptAlive]:
    """Give the new states that a record of the journal holds, and whom it keeps alive. Raises RecordError."""
    if record.entries is None:
        return [_read_entry(record.payload)]
    return [_read_entry(entry) for entry in split_batch(record.payload)]


def _read_entry(entry: bytes | msgspec.Raw) -> msgspec.Raw | KeptAlive:
    try:
        event, _, state = _decode_entry(entry)
        data = bytes(state)
        if data != _NIL and not data.startswith(_BUT_ATTRIBUTES):
            return state
        fields = _decode_event(event)
    except msgspec.DecodeError as error:
        raise RecordError(f"an entry cannot be read: {error}") from error
    if data == _NIL:
        return KeptAlive(fields[2], fields[3])
    return msgspec.Raw(_ALL_FIELDS + data[len(_BUT_ATTRIBUTES) :] + bytes(fields[-1]))
