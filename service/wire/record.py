"""The journal's file format: segment headers and records, as bytes and as values.

Constraints, which the reader relies on:

- A segment is one header, then records back to back, nothing else; only its end ever grows.
- Every number of the format is unsigned and little-endian.
- The header is 38 bytes: magic ``GATEHJNL``, u16 format version, 16 bytes block id, u64 creation time in
  milliseconds since 1970 (UTC), u32 CRC-32 of all that precedes it.
- A record is u32 length, u32 checksum, then the body: one version byte and the payload. The length counts the
  body; it is at least 2 and at most ``MAX_BODY_BYTES``. The checksum is the CRC-32 of the body, started from
  the length, so that a wrong length shows too.
- What an append wrote is one record of version 3: u32 number of entries, u32 number of keys, the 16 bytes of
  each sender's key (``ingestion.idempotency``), and as the payload the entries (``wire.entry``).
- Version 1 has nothing but the payload. It is what other files of records are made of, and in a segment it
  holds one entry. Version 2 has the 16 bytes of a key before that. Segments of earlier versions are of both.
- A record is read whole or not at all: a reader stops at the first byte that does not fit and never guesses
  behind it. Bytes that end inside a record are *torn* (the writer died in the middle), all else is *damaged*.

Design section 3, step 5. No personal data enters a record: ``rows`` has no address and no user agent.
"""

import enum
from collections.abc import Sequence
from struct import Struct as Layout
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from service.ingestion.idempotency import DIGEST_BYTES

MAGIC: Final = b"GATEHJNL"
FORMAT_VERSION: Final = 1
RECORD_VERSION: Final = 1
KEYED_VERSION: Final = 2
BATCH_VERSION: Final = 3

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Several times the largest entry that a request within its limits can make; a longer length is damage."""

MIN_BODY_BYTES: Final = 2

_HEADER: Final = Layout("<8sH16sQ")
_CHECKSUM: Final = Layout("<I")
_FRAME: Final = Layout("<II")
_VERSION: Final = bytes([RECORD_VERSION])
_BATCH: Final = Layout("<BII")

HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size

KEYED_BYTES: Final = len(_VERSION) + DIGEST_BYTES
"""Before the payload in the body of a record of version 2."""


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


class Record(NamedTuple):
    """What is in a record."""

    payload: bytes
    entries: int | None
    """So many are in the payload, as a batch; None: it holds one entry on its own, or something else."""
    keys: Sequence[bytes]
    end: int
    """The offset behind the record."""


class Records(NamedTuple):
    """What could be read: the records in order, the offset behind the last, and what stopped the reader."""

    records: list[Record]
    clean_end: int
    problem: Problem | None

    @property
    def payloads(self) -> list[bytes]:
        """What each record holds."""
        return [record.payload for record in self.records]

    @property
    def keys(self) -> list[bytes]:
        """Of all records."""
        return [key for record in self.records for key in record.keys]

    @property
    def entries(self) -> int:
        """How many there are, which takes no look at them."""
        return sum(1 if record.entries is None else record.entries for record in self.records)


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


def frame(payload: bytes) -> bytes:
    """Make a record of a payload. Raises RecordError when it is empty or too long to be read again."""
    return _frame(_VERSION, payload)


def frame_batch(payload: bytes, entries: int, keys: Sequence[bytes] = ()) -> bytes:
    """Make a record of so many entries, and the keys of those that have one. Raises as ``frame`` does."""
    return _frame(_BATCH.pack(BATCH_VERSION, entries, len(keys)) + b"".join(keys), payload)


def _frame(head: bytes, payload: bytes) -> bytes:
    body = head + payload
    length = len(body)
    if not payload or length > MAX_BODY_BYTES:
        raise RecordError(f"a record of {length} bytes is outside {MIN_BODY_BYTES}..{MAX_BODY_BYTES}")
    return _FRAME.pack(length, _checksum(length, body)) + body


def read_records(buffer: bytes, offset: int = 0, *, most: int | None = None) -> Records:
    """Read the records of ``buffer`` from ``offset`` on, up to the end or to the first that is not whole.

    With ``most`` it ends with the record that reaches so many entries: go on at ``clean_end``.

    Never raises for content, whatever the bytes.
    """
    records: list[Record] = []
    found = 0
    while offset < len(buffer) and (most is None or found < most):
        body = _read_body(buffer, offset)
        if isinstance(body, Problem):
            return Records(records, offset, body)
        end = offset + _FRAME.size + len(body)
        record = _take_apart(body, end)
        if record is None:
            return Records(records, offset, Problem.UNKNOWN_VERSION)
        records.append(record)
        found += record.entries or 1
        offset = end
    return Records(records, offset, None)


def _take_apart(body: bytes, end: int) -> Record | None:
    version = body[0]
    if version == RECORD_VERSION:
        return Record(body[1:], None, (), end)
    if version == KEYED_VERSION and len(body) > KEYED_BYTES:
        return Record(body[KEYED_BYTES:], None, (body[1:KEYED_BYTES],), end)
    if version == BATCH_VERSION and len(body) > _BATCH.size:
        _, entries, keys = _BATCH.unpack_from(body)
        begin = _BATCH.size + keys * DIGEST_BYTES
        if entries and keys <= entries and begin + entries <= len(body):  # an entry takes more than a byte
            cuts = range(_BATCH.size, begin, DIGEST_BYTES)
            return Record(body[begin:], entries, [body[cut : cut + DIGEST_BYTES] for cut in cuts], end)
    return None


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
