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
import typing
from collections.abc import Iterator
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


def read_records(buffer: bytes, offset: int = 0) -> Records:
    """Read the records of ``buffer`` from ``offset`` on, up to the end or to the first that is not whole.

    Never raises for content, whatever the bytes.
    """
    payloads: list[bytes] = []
    ends: list[int] = []
    keys: list[bytes] = []
    while offset < len(buffer):
        body = _read_body(buffer, offset)
        if isinstance(body, Problem):
            return Records(payloads, offset, body, ends, keys)
        if body[0] == RECORD_VERSION:
            payloads.append(body[1:])
        elif body[0] == KEYED_VERSION and len(body) > KEYED_BYTES:
            keys.append(body[1:KEYED_BYTES])
            payloads.append(body[KEYED_BYTES:])
        else:
            return Records(payloads, offset, Problem.UNKNOWN_VERSION, ends, keys)
        offset += _FRAME.size + len(body)
        ends.append(offset)
    return Records(payloads, offset, None, ends, keys)


def _read_body(buffer: bytes, offset: int) -> bytes | Problem:
    begin = offset + _FRAME.size
    if begin > len(buffer):
        return Problem.TORN
    length, checksum = _FRAME.unpack_from(buffer, offset)
    if not MIN_BODY_BYTES <= length <= MAX_BODY_BYTES:
        return Problem.DAMAGED
    if begin + length > len(buffer):
        return Problem.TORN
    body = buffer[begin : begin + length]
    return body if checksum == _checksum(length, body) else Problem.DAMAGED


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


class _Shape(NamedTuple):
    """How a struct's fields arrive: the types each may have, and which are arrays to be built further.

    msgspec has no decoder for ``str | bytes``, so the arrays are decoded as they come and checked here.
    """

    struct: type[msgspec.Struct]
    types: tuple[frozenset[type], ...]
    texts: tuple[tuple[int, frozenset[type]], ...]
    attributes: int | None


def _shape(struct: type[msgspec.Struct]) -> _Shape:
    hints = [hint for name, hint in typing.get_type_hints(struct).items() if name in struct.__struct_fields__]
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
