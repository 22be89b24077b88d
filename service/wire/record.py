"""The journal's file format: segment headers, records and entries, as bytes and as values.

Constraints, which the reader relies on:

- A segment is one header, then records back to back, nothing else; only its end ever grows.
- Every number of the format is unsigned and little-endian.
- The header is 38 bytes: magic ``GATEHJNL``, u16 format version, 16 bytes block id, u64 creation time in
  milliseconds since 1970 (UTC), u32 CRC-32 of all that precedes it.
- A record is u32 length, u32 checksum, then the body: one version byte and the payload. The length counts the
  body; it is at least 2 and at most ``MAX_BODY_BYTES``. The checksum is the CRC-32 of the body, started from
  the length, so that a wrong length shows too.
- The payload is one ``rows.Entry`` in MessagePack, every struct an array of its fields in their
  order, none left out. A field added to ``rows`` therefore needs a new version and a reader for the old one.
- The body of version 2 has the 16 bytes of the sender's key (``ingestion.idempotency``) before the payload.
  Records without a key are of version 1, so that they can be read by a Gatehouse that knows no keys.
- A record is read whole or not at all: a reader stops at the first byte that does not fit and never guesses
  behind it. Bytes that end inside a record are *torn* (the writer died in the middle), all else is *damaged*.

Design section 3, step 5. No personal data enters a record: ``rows`` has no address and no user agent.
"""

import enum
import types
import typing
from collections.abc import Iterator, Sequence
from struct import Struct as Layout
from types import NoneType
from typing import Any, Final, NamedTuple, TypeVar
from zlib import crc32

import msgspec

from service.ingestion.idempotency import DIGEST_BYTES
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession, Entry, SessionAttributes, Text

MAGIC: Final = b"GATEHJNL"
FORMAT_VERSION: Final = 1
RECORD_VERSION: Final = 1
KEYED_VERSION: Final = 2

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Several times the largest entry that a request within its limits can make; a longer length is damage."""

MIN_BODY_BYTES: Final = 2

_HEADER: Final = Layout("<8sH16sQ")
_CHECKSUM: Final = Layout("<I")
_FRAME: Final = Layout("<II")
_VERSION: Final = bytes([RECORD_VERSION])
_KEYED: Final = bytes([KEYED_VERSION])

HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size
FRAME_BYTES: Final = _FRAME.size + len(_VERSION)
"""What a record without a key adds to its payload."""

KEYED_BYTES: Final = len(_KEYED) + DIGEST_BYTES
"""Before the payload in the body of a record with a key."""

S = TypeVar("S", bound=msgspec.Struct)


class RecordError(ValueError):
    """These bytes are not what the format says; the text says which rule they break."""


class Problem(enum.StrEnum):
    """Why reading stopped before the end of the bytes."""

    TORN = "torn"
    """They end inside a record: what a writer leaves that dies while it writes."""
    DAMAGED = "damaged"
    """A length or a checksum is wrong: something else changed them."""
    UNKNOWN_VERSION = "unknown version"
    """The record is whole, but of a version that this reader does not know."""


class Records(NamedTuple):
    """What could be read: the payloads in order, the offset behind the last, and what stopped the reader."""

    payloads: list[bytes]
    clean_end: int
    problem: Problem | None
    ends: list[int]
    """The offset behind each payload's record."""
    keys: list[bytes]
    """Of the records that have one."""


class Header(msgspec.Struct, frozen=True):
    """The beginning of a segment: ``id`` is 32 hexadecimal digits, ``created_ms`` is UTC since 1970."""

    id: str
    created_ms: int


# --- segment header


def encode_header(header: Header) -> bytes:
    """Give the 38 bytes with which a segment begins."""
    head = _HEADER.pack(MAGIC, FORMAT_VERSION, bytes.fromhex(header.id), header.created_ms)
    return head + _CHECKSUM.pack(crc32(head))


def decode_header(buffer: bytes) -> Header:
    """Read a segment's header from its first bytes. Raises RecordError with a sentence."""
    if len(buffer) < HEADER_BYTES:
        raise RecordError(f"a header is {HEADER_BYTES} bytes long, but there are only {len(buffer)}")
    magic, version, block_id, created_ms = _HEADER.unpack_from(buffer)
    if magic != MAGIC:
        raise RecordError("this is not a segment of Gatehouse's journal")
    (checksum,) = _CHECKSUM.unpack_from(buffer, _HEADER.size)
    if checksum != crc32(buffer[: _HEADER.size]):
        raise RecordError("the checksum of the header is wrong")
    if version != FORMAT_VERSION:
        raise RecordError(f"it has format version {version}, this Gatehouse reads version {FORMAT_VERSION}")
    return Header(id=block_id.hex(), created_ms=created_ms)


# --- records


def frame(payload: bytes, key: bytes | None = None) -> bytes:
    """Make a record of a payload. Raises RecordError when it is empty or too long to be read again."""
    body = _VERSION + payload if key is None else _KEYED + key + payload
    length = len(body)
    if not payload or length > MAX_BODY_BYTES:
        raise RecordError(f"a record of {length} bytes is outside {MIN_BODY_BYTES}..{MAX_BODY_BYTES}")
    return _FRAME.pack(length, _checksum(length, body)) + body


def read_records(buffer: bytes, offset: int = 0, *, most: int | None = None) -> Records:
    """Read the records of ``buffer`` from ``offset`` on, up to the end or to the first that is not whole.

    With ``most`` no more than so many: go on at ``clean_end``.

    Never raises for content, whatever the bytes.
    """
    payloads: list[bytes] = []
    ends: list[int] = []
    keys: list[bytes] = []
    size = len(buffer)
    # One loop without calls of its own: a start after a long outage goes through millions of records.
    while offset < size and (most is None or len(payloads) < most):
        begin = offset + _FRAME.size
        if begin > size:
            return Records(payloads, offset, Problem.TORN, ends, keys)
        length, checksum = _FRAME.unpack_from(buffer, offset)
        if not MIN_BODY_BYTES <= length <= MAX_BODY_BYTES:
            return Records(payloads, offset, Problem.DAMAGED, ends, keys)
        end = begin + length
        if end > size:
            return Records(payloads, offset, Problem.TORN, ends, keys)
        body = buffer[begin:end]
        if checksum != crc32(body, length):
            return Records(payloads, offset, Problem.DAMAGED, ends, keys)
        version = body[0]
        if version == RECORD_VERSION:
            payloads.append(body[1:])
        elif version == KEYED_VERSION and length > KEYED_BYTES:
            keys.append(body[1:KEYED_BYTES])
            payloads.append(body[KEYED_BYTES:])
        else:
            return Records(payloads, offset, Problem.UNKNOWN_VERSION, ends, keys)
        offset = end
        ends.append(offset)
    return Records(payloads, offset, None, ends, keys)


def _checksum(length: int, body: bytes) -> int:
    return crc32(body, length)


# --- entries

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


def encode_entry(entry: Entry) -> bytes:
    """Give the payload for an entry: what ``Journal.append`` takes."""
    return _encode(entry)


def decode_entry(payload: bytes) -> Entry:
    """Give back the entry of a payload, equal to the one that was encoded. Raises RecordError."""
    try:
        values = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"the payload is not MessagePack: {error}") from error
    if not isinstance(values, list) or len(values) != 3:
        raise RecordError("an entry is an event, the session state it replaces and the new one")
    event, replaced, session = values
    return Entry(
        _build(_EVENT, event),
        None if replaced is None else _build(_SESSION, replaced),
        None if session is None else _build(_SESSION, session),
    )


def decode_event(values: object) -> ClickhouseEvent:
    """Build an event's row of its fields as they were decoded. Raises RecordError."""
    event: ClickhouseEvent = _build(_EVENT, values)
    return event


def decode_session(values: object) -> ClickhouseSession:
    """Build a session state of its fields as they were decoded. Raises RecordError."""
    session: ClickhouseSession = _build(_SESSION, values)
    return session


class EntryReader:
    """Decodes the entries of one segment.

    Faster than one ``decode_entry`` after the other: most entries repeat the attributes of another one, and
    begin with the session state that one before them ended with.
    """

    __slots__ = ("_attributes", "_sessions")

    def __init__(self) -> None:
        self._attributes: dict[bytes, SessionAttributes] = {}
        self._sessions: dict[bytes, ClickhouseSession] = {}
        """The states that none of the entries has replaced yet."""

    def read(self, payload: bytes) -> Entry:
        """Give what ``decode_entry`` gives for the payload. Raises RecordError."""
        try:
            event, replaced, session = _decode_parts(payload)
            return Entry(
                _place(ClickhouseEvent, _EVENT, event, self._read_attributes(event[-1])),
                self._read_session(bytes(replaced), is_replaced=True),
                self._read_session(bytes(session), is_replaced=False),
            )
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RecordError):
            return decode_entry(payload)  # it says what is wrong

    def _read_session(self, raw: bytes, *, is_replaced: bool) -> ClickhouseSession | None:
        if raw == _NIL:
            return None
        if is_replaced:
            known = self._sessions.pop(raw, None)
            if known is not None:
                return known
        values = _decode_session(raw)
        session: ClickhouseSession = _place(
            ClickhouseSession, _SESSION, values, self._read_attributes(values[-1])
        )
        if not is_replaced:
            self._sessions[raw] = session
        return session

    def _read_attributes(self, raw: msgspec.Raw) -> SessionAttributes:
        key = bytes(raw)
        known = self._attributes.get(key)
        if known is None:
            values = _decode_attributes(key)
            _check_texts(_ATTRIBUTES, values)
            known = self._attributes[key] = SessionAttributes(*values)
        return known


class _Shape(NamedTuple):
    """How a struct's fields arrive: the types each may have, and which are arrays to be built further.

    msgspec has no decoder for ``str | bytes``, so the arrays are decoded as they come and checked here.
    """

    struct: type[msgspec.Struct]
    accepted: tuple[frozenset[type], ...]
    texts: tuple[tuple[int, frozenset[type]], ...]
    attributes: int | None
    parts: Any
    """The type of its array for msgspec, the attributes left as they are. Texts may be anything there."""
    unchecked: tuple[int, ...]
    """Where texts are in it."""
    unchecked_lists: tuple[int, ...]
    """Where arrays of texts are."""


def _shape(struct: type[msgspec.Struct]) -> _Shape:
    hints = [hint for name, hint in typing.get_type_hints(struct).items() if name in struct.__struct_fields__]
    parts = [_part(hint) for hint in hints]
    return _Shape(
        struct,
        tuple(_accepted(hint) for hint in hints),
        tuple(
            (index, _accepted(typing.get_args(hint)[0]))
            for index, hint in enumerate(hints)
            if typing.get_origin(hint) is tuple
        ),
        hints.index(SessionAttributes) if SessionAttributes in hints else None,
        # A type that is only known now; tuple[...] would be read as text by the type checker.
        types.GenericAlias(tuple, tuple(parts)),
        tuple(index for index, part in enumerate(parts) if part is Any),
        tuple(index for index, part in enumerate(parts) if part == tuple[Any, ...]),
    )


def _part(hint: Any) -> Any:
    if hint == Text:
        return Any
    if hint == tuple[Text, ...]:
        return tuple[Any, ...]
    return msgspec.Raw if hint is SessionAttributes else hint


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

_TEXT: Final = frozenset({str, bytes})
_NIL: Final = b"\xc0"
_decode_parts: Final = msgspec.msgpack.Decoder(
    types.GenericAlias(tuple, (_EVENT.parts, msgspec.Raw, msgspec.Raw))
).decode
_decode_session: Final = msgspec.msgpack.Decoder(_SESSION.parts).decode
_decode_attributes: Final = msgspec.msgpack.Decoder(_ATTRIBUTES.parts).decode


def _place(struct: type[S], shape: _Shape, values: Sequence[Any], attributes: SessionAttributes) -> S:
    """Make a struct of its array, the attributes being the last field. Raises RecordError."""
    _check_texts(shape, values)
    return struct(*values[:-1], attributes)


def _check_texts(shape: _Shape, values: Sequence[Any]) -> None:
    """Look at what msgspec cannot tell apart: a text is ``str`` or ``bytes``. Raises RecordError."""
    for index in shape.unchecked:
        if type(values[index]) not in _TEXT:
            raise RecordError("a text is none")
    for index in shape.unchecked_lists:
        if values[index] and not _TEXT.issuperset(map(type, values[index])):
            raise RecordError("an array of texts holds something else")


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
    if not isinstance(values, list) or len(values) != len(shape.accepted):
        yield f"not an array of {len(shape.accepted)} fields"
        return
    for name, value, accepted in zip(shape.struct.__struct_fields__, values, shape.accepted, strict=True):
        if type(value) not in accepted:
            yield f"{name} is of type {type(value).__name__}"
    for index, accepted in shape.texts:
        if not accepted.issuperset(map(type, values[index])):
            yield f"{shape.struct.__struct_fields__[index]} holds something that is no text"
