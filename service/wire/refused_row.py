"""A row that ClickHouse refuses, as the quarantine keeps it: bytes and value.

The payload is MessagePack, framed as the journal's records are (``record.frame``): an array of version, block
id, table, row, time, reason, sign and the row's own fields as an array. No personal data enters it but what
is in the row, which has no address and no user agent; the reason is ClickHouse's own sentence and may quote
values of the row.
"""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from service.ingestion.rows import ClickhouseEvent, ClickhouseSession
from service.wire.entry import decode_event, decode_session
from service.wire.record import RecordError

VERSION: Final = 1

TableName = Literal["events", "sessions"]


class RefusedRow(Struct, frozen=True):
    """One row of a block that ClickHouse refused."""

    block: str
    """The block's id: 32 hexadecimal digits."""
    table: TableName
    row: int
    """Its place among the block's rows of that table, from 0."""
    refused_ms: int
    """UTC milliseconds since 1970."""
    reason: str
    sign: int
    """Of a session's state, +1 or −1; 0 for an event."""
    values: ClickhouseEvent | ClickhouseSession

    @property
    def id(self) -> str:
        """Its name, and the id under which it is inserted again: the same however often it is tried."""
        return f"{self.block}-{self.table}-{self.row}"


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode
_TYPES: Final = (int, str, str, int, int, str, int, list)


def encode_refused(row: RefusedRow) -> bytes:
    """Give the payload for a row."""
    return _encode([VERSION, row.block, row.table, row.row, row.refused_ms, row.reason, row.sign, row.values])


def decode_refused(payload: bytes) -> RefusedRow:
    """Give back the row of a payload. Raises RecordError."""
    try:
        fields = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecordError(f"the payload is not MessagePack: {error}") from error
    if not isinstance(fields, list) or [type(field) for field in fields] != list(_TYPES):
        raise RecordError("this is not a row of the quarantine")
    version, block, table, row, refused_ms, reason, sign, values = fields
    if version != VERSION:
        raise RecordError(f"it has version {version}, this Gatehouse reads version {VERSION}")
    if table == "events":
        return RefusedRow(block, "events", row, refused_ms, reason, sign, decode_event(values))
    if table == "sessions":
        return RefusedRow(block, "sessions", row, refused_ms, reason, sign, decode_session(values))
    raise RecordError(f"there is no table {table!r}")
