"""Entries of the journal as bytes and as values: all that one append writes, and single ones of before.

Constraints, which the reader relies on:

- The entries of an append are a MessagePack array; an entry is an array of the event, the session state that
  it replaces and the new one. Every struct is an array of its fields in their order. A field added to
  ``rows`` therefore needs a new version of the record and a reader for the old one.
- A state whose attributes are the event's has none of its own: it ends before them. They are the last field,
  and most of a row.
- An entry on its own (versions 1 and 2 of the record) is such an array with all attributes.

No personal data enters an entry: ``rows`` has no address and no user agent.
"""

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import astuple

from service.ingestion.rows import ClickhouseEvent, ClickhouseSession, Entry, SessionAttributes, Text
from service.wire.record import Record, RecordError, frame_batch

BATCH_BYTES: Final = 2**20
"""What is longer goes in several records: far below the limit of a record, far above most appends."""

_Raw = msgspec.Raw
_NIL: Final = _Raw(b"\xc0")

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode
_decode_each: Final = msgspec.msgpack.Decoder(list[_Raw]).decode


def encode_records(entries: Sequence[Entry], keys: Mapping[int, bytes] | None = None) -> bytes:
    """Give the records of an append, of one entry or more; ``keys`` by the place of their entry.

    Raises RecordError when an entry is too long to be read again.
    """
    payload = encode_entries(entries)
    if len(payload) <= BATCH_BYTES or len(entries) == 1:
        own = [keys[place] for place in sorted(keys)] if keys else ()
        return frame_batch(payload, len(entries), own)
    half = len(entries) // 2
    first, second = {}, {}
    for place, key in (keys or {}).items():
        if place < half:
            first[place] = key
        else:
            second[place - half] = key
    return encode_records(entries[:half], first) + encode_records(entries[half:], second)


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """Give the payload of a batch."""
    rows = []
    for entry in entries:
        event, replaced, session = entry.event, entry.replaced, entry.session
        attributes = event.attributes
        # One object is what a visit's rows have; a look at equal ones would cost more than it saves.
        before: Any = replaced
        if replaced is not None and replaced.attributes is attributes:
            before = astuple(replaced)[:-1]
        after: Any = session
        if session is not None and session.attributes is attributes:
            after = astuple(session)[:-1]
        rows.append((event, before, after))
    return _encode(rows)


class SkimmedEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry whose session states are still the bytes that they are in the journal.

    A block holds many states of a visit, and all but the first and the last are never looked at.
    """

    event: ClickhouseEvent
    replaced: msgspec.Raw | None
    session: msgspec.Raw | None

    def read_replaced(self) -> ClickhouseSession | None:
        """Give the state that was replaced. Raises RecordError."""
        return _read_state(self.replaced, self.event.attributes)

    def read_session(self) -> ClickhouseSession | None:
        """Give the new state. Raises RecordError."""
        return _read_state(self.session, self.event.attributes)


class EntryReader:
    """Reads the records of a segment; rows of a visit share one SessionAttributes, as when they were written.

    Texts that are all Unicode, which nearly all are, are decoded and checked by msgspec. It has no decoder
    for ``str | bytes``: an entry with other bytes in it is decoded as it comes and checked here, which takes
    several times as long and says what is wrong.
    """

    def __init__(self) -> None:
        self._attributes: dict[bytes, SessionAttributes] = {}  # by their bytes

    def read(self, record: Record) -> list[Entry]:
        """Give the entries of a record, equal to those that were encoded. Raises RecordError."""
        if record.entries is None:
            return [self._read_alone(record.payload)]
        try:
            entries = [self._build(*row) for row in _decode_plain_entries(record.payload)]
        except _UNREADABLE:
            entries = [self._read_one(raw) for raw in split_batch(record.payload)]
        _check_count(record, len(entries))
        return entries

    def skim(self, record: Record) -> Sequence[Entry | SkimmedEntry]:
        """Give the entries of a record without a look at their states. Raises RecordError for all else."""
        if record.entries is None:
            return self.read(record)
        try:
            entries = [self._skim(*row) for row in _decode_skimmed_entries(record.payload)]
        except _UNREADABLE:
            return self.read(record)
        _check_count(record, len(entries))
        return entries

    def _read_one(self, raw: msgspec.Raw) -> Entry:
        try:
            return self._build(*_decode_plain_entry(raw))
        except _UNREADABLE:
            return decode_entry(raw)

    def _build(self, event: tuple[Any, ...], replaced: Any, session: Any) -> Entry:
        attributes = self._attributes_of(event[-1])
        return Entry(
            _event(*event[:-1], attributes),
            None if replaced is None else _session(*replaced, attributes),
            None if session is None else _session(*session, attributes),
        )

    def _skim(self, event: tuple[Any, ...], replaced: msgspec.Raw, session: msgspec.Raw) -> SkimmedEntry:
        return SkimmedEntry(
            _event(*event[:-1], self._attributes_of(event[-1])),
            None if replaced == _NIL else replaced,
            None if session == _NIL else session,
        )

    def _read_alone(self, payload: bytes) -> Entry:
        try:
            event, replaced, session = _decode_plain_alone(payload)
        except _UNREADABLE:
            return decode_entry(payload)
        return Entry(
            _event(*event[:-1], self._attributes_of(event[-1])),
            None if replaced is None else self._build_state(replaced),
            None if session is None else self._build_state(session),
        )

    def _build_state(self, fields: tuple[Any, ...]) -> Any:
        return _session(*fields[:-1], self._attributes_of(fields[-1]))

    def _attributes_of(self, raw: msgspec.Raw) -> SessionAttributes:
        data = bytes(raw)
        known = self._attributes.get(data)
        if known is None:
            try:
                known = SessionAttributes(*_decode_plain_attributes(data))
            except _UNREADABLE:
                known = _build(_ATTRIBUTES, _decode_any(data))
            self._attributes[data] = known
        return known


# How many fields there are, msgspec's decoder has seen to; mypy has not.
_event: Final[Any] = ClickhouseEvent
_session: Final[Any] = ClickhouseSession
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _check_count(record: Record, found: int) -> None:
    if found != record.entries:
        raise RecordError(f"the record is of {record.entries} entries, but {found} are in it")


def _read_state(raw: msgspec.Raw | None, attributes: SessionAttributes) -> ClickhouseSession | None:
    """Give the state of an entry whose event has these attributes. Raises RecordError."""
    if raw is None:
        return None
    try:
        state: ClickhouseSession = _session(*_decode_plain_state(raw), attributes)
    except _UNREADABLE:
        return decode_session(_completed(_decode_any(raw), list(astuple(attributes))))
    return state


def decode_entry(payload: bytes | msgspec.Raw) -> Entry:
    """Give back an entry on its own, or one of a batch. Raises RecordError."""
    values = _decode_any(payload)
    if not isinstance(values, list) or len(values) != 3:
        raise RecordError("an entry is an event, the session state it replaces and the new one")
    event, *states = values
    if isinstance(event, list) and event:
        states = [_completed(state, event[-1]) for state in states]
    replaced, session = states
    return Entry(
        _build(_EVENT, event),
        None if replaced is None else _build(_SESSION, replaced),
        None if session is None else _build(_SESSION, session),
    )


def split_batch(payload: bytes) -> list[msgspec.Raw]:
    """Give the bytes of each entry in the payload of a batch. Raises RecordError."""
    try:
        return _decode_each(payload)
    except _UNREADABLE as error:
        raise RecordError(f"the payload is not MessagePack: {error}") from error


def _decode_any(data: bytes | msgspec.Raw) -> Any:
    try:
        return _decode(data)
    except _UNREADABLE as error:
        raise RecordError(f"the payload is not MessagePack: {error}") from error


def _completed(state: Any, attributes: Any) -> Any:
    """Give a state's fields with the event's attributes, where it has none of its own."""
    if isinstance(state, list) and len(state) == len(_SESSION.types) - 1:
        return [*state, attributes]
    return state


def decode_event(values: object) -> ClickhouseEvent:
    """Build an event's row of its fields as they were decoded. Raises RecordError."""
    event: ClickhouseEvent = _build(_EVENT, values)
    return event


def decode_session(values: object) -> ClickhouseSession:
    """Build a session state of its fields as they were decoded. Raises RecordError."""
    session: ClickhouseSession = _build(_SESSION, values)
    return session


class _Shape(NamedTuple):
    """How a struct's fields arrive: the types each may have, and which are arrays to be built further.

    msgspec has no decoder for ``str | bytes``, so the arrays are decoded as they come and checked here.
    """

    struct: type[msgspec.Struct]
    types: tuple[frozenset[type], ...]
    texts: tuple[tuple[int, frozenset[type]], ...]
    attributes: int | None


def _shape(struct: type[msgspec.Struct]) -> _Shape:
    hints = _hints(struct)
    return _Shape(
        struct,
        tuple(_accepted(hint) for hint in hints),
        tuple(
            (index, _accepted(typing.get_args(hint)[0]))
            for index, hint in enumerate(hints)
            if typing.get_origin(hint) is tuple
        ),
        hints.index(SessionAttributes) if SessionAttributes in hints else None,
    )


def _hints(struct: type[msgspec.Struct]) -> list[Any]:
    return [hint for name, hint in typing.get_type_hints(struct).items() if name in struct.__struct_fields__]


def _accepted(hint: Any) -> frozenset[type]:
    if hint == Text:
        return frozenset({str, bytes})
    if hint == int | None:
        return frozenset({int, NoneType})
    if typing.get_origin(hint) is tuple or hint is SessionAttributes:
        return frozenset({list})
    assert hint in (int, str, bool), f"the journal has no rule for fields of type {hint}"
    return frozenset({hint})


_EVENT: Final = _shape(ClickhouseEvent)
_SESSION: Final = _shape(ClickhouseSession)
_ATTRIBUTES: Final = _shape(SessionAttributes)


def _plain(struct: type[msgspec.Struct]) -> list[Any]:
    """Give the types of a struct's fields when each text is Unicode; its attributes are left as they are."""
    return [_plain_type(hint) for hint in _hints(struct)]


def _plain_type(hint: Any) -> Any:
    if hint == Text:
        return str
    if hint is SessionAttributes:
        return _Raw
    return tuple[str, ...] if typing.get_origin(hint) is tuple else hint


def _tuple_of(kinds: list[Any]) -> Any:
    # A type that is only known now: tuple[...] would be read by the type checker.
    return types.GenericAlias(tuple, tuple(kinds))


def _decoder(kind: Any) -> Any:
    return msgspec.msgpack.Decoder(kind).decode


_EVENT_FIELDS: Final = _tuple_of(_plain(ClickhouseEvent))
_STATE_FIELDS: Final = _tuple_of(_plain(ClickhouseSession))
_BRIEF_STATE_FIELDS: Final = _tuple_of(_plain(ClickhouseSession)[:-1])
_SKIMMED_ENTRY: Final = _tuple_of([_EVENT_FIELDS, _Raw, _Raw])
_PLAIN_ENTRY: Final = _tuple_of([_EVENT_FIELDS, _BRIEF_STATE_FIELDS | None, _BRIEF_STATE_FIELDS | None])
_decode_plain_alone: Final = _decoder(_tuple_of([_EVENT_FIELDS, _STATE_FIELDS | None, _STATE_FIELDS | None]))
_decode_plain_entry: Final = _decoder(_PLAIN_ENTRY)
_decode_plain_entries: Final = _decoder(types.GenericAlias(list, (_PLAIN_ENTRY,)))
_decode_plain_state: Final = _decoder(_BRIEF_STATE_FIELDS)
_decode_skimmed_entries: Final = _decoder(types.GenericAlias(list, (_SKIMMED_ENTRY,)))
_decode_plain_attributes: Final = _decoder(_tuple_of(_plain(SessionAttributes)))


def _build(shape: _Shape, values: Any) -> Any:
    problem = next(_objections(shape, values), None)
    if problem is not None:
        raise RecordError(f"{shape.struct.__name__}: {problem}")
    for index, _ in shape.texts:
        values[index] = tuple(values[index])
    if shape.attributes is not None:
        values[shape.attributes] = _build(_ATTRIBUTES, values[shape.attributes])
    return shape.struct(*values)


def _objections(shape: _Shape, values: Any) -> Iterator[str]:
    if not isinstance(values, list) or len(values) != len(shape.types):
        yield f"not an array of {len(shape.types)} fields"
        return
    for name, value, accepted in zip(shape.struct.__struct_fields__, values, shape.types, strict=True):
        if type(value) not in accepted:
            yield f"{name} is of type {type(value).__name__}"
    for index, accepted in shape.texts:
        if not accepted.issuperset(map(type, values[index])):
            yield f"{shape.struct.__struct_fields__[index]} holds something that is no text"
