"""Columns as ClickHouse's Native format: what both stores send.

Every column goes as its plain type; ClickHouse makes LowCardinality of it where the table wants that. A piece
is one Native block: number of columns, number of rows, then per column its name, its type and its values, all
numbers little-endian, all lengths as unsigned LEB128.
"""

import struct
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from service.clickhouse.columns import Columns
from service.clickhouse.schema import Kind, WrittenColumn

_STRUCT_CODES = {
    Kind.UINT8: "B",
    Kind.UINT16: "H",
    Kind.UINT32: "I",
    Kind.UINT64: "Q",
    Kind.INT8: "b",
    Kind.INT32: "i",
    Kind.DATETIME: "I",
}
_NULLABLE_STRUCT_CODES = {Kind.NULLABLE_UINT64: "Q", Kind.AMOUNT: "q"}


def encode_native(columns: Sequence[WrittenColumn], piece: Columns) -> bytes:
    """Give one piece as a Native block; its values must have been checked (``columns``)."""
    parts = [_varint(len(piece)), _varint(len(piece[0]))]
    for column, values in zip(columns, piece, strict=True):
        parts += (_sized(column.name), _sized(column.kind.value), _encode_values(column.kind, values))
    return b"".join(parts)


def _encode_values(kind: Kind, values: list[Any]) -> bytes:
    if kind is Kind.TEXT:
        return _encode_texts(values)
    if kind is Kind.TEXTS:
        offsets = list(accumulate(map(len, values)))
        return _pack("Q", offsets) + _encode_texts([text for row in values for text in row])
    if kind in _NULLABLE_STRUCT_CODES:
        nulls = bytes([value is None for value in values])
        return nulls + _pack(_NULLABLE_STRUCT_CODES[kind], [value or 0 for value in values])
    if kind in _STRUCT_CODES:
        return _pack(_STRUCT_CODES[kind], values)
    return b"".join(values)  # codes, padded to the column's length already


def _pack(code: str, values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}{code}", *values)


def _encode_texts(texts: list[str | bytes]) -> bytes:
    """Give the texts one after the other; most repeat, so each different one is encoded once."""
    encoded = {text: _sized(text) for text in set(texts)}
    return b"".join([encoded[text] for text in texts])


def _sized(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
