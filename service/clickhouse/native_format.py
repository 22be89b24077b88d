"""Columns as ClickHouse's Native format: what both stores send.

Every column goes as its plain type; ClickHouse makes LowCardinality of it where the table wants that. A piece
is one Native block: number of columns, number of rows, then per column its name, its type and its values, all
numbers little-endian, all lengths as unsigned LEB128.

A column is encoded by what loops in C (map, join, pack). A value that its type cannot hold makes that fail,
so no value is looked at a second time; which one it was is for ``columns`` to find.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import Any, Final

from service.clickhouse.schema import MAX_DECIMAL_THOUSANDTHS, Kind, WrittenColumn
from service.ingestion.rows import Text
from service.wire.leb128 import encode_leb128

Values = Sequence[Any]
"""Of one column: int, str, bytes, None, or tuples of str and bytes."""

Spread = Callable[[Values], Values]
"""Gives the value of each row, given those that are different."""

DOES_NOT_FIT: Final = (struct.error, OverflowError, UnicodeEncodeError)
"""What ``encode_values`` raises for a value that the column's type cannot hold."""

CODE_BYTES: Final = {Kind.CODE2: 2, Kind.CODE3: 3}

_NUMBERS: Final = {
    Kind.UINT8: "B",
    Kind.UINT16: "H",
    Kind.UINT32: "I",
    Kind.UINT64: "Q",
    Kind.INT8: "b",
    Kind.INT32: "i",
    Kind.DATETIME: "I",
}
_NULLABLE_NUMBERS: Final = {Kind.NULLABLE_UINT64: "Q", Kind.AMOUNT: "q"}


class SizedTexts(dict[Text, bytes]):
    """Texts behind their lengths, as they are sent; most repeat, so each different one is encoded once."""

    def __missing__(self, text: Text) -> bytes:
        """Encode a text. Raises UnicodeEncodeError for half a surrogate pair."""
        data = text.encode() if isinstance(text, str) else text
        self[text] = sized = encode_leb128(len(data)) + data
        return sized


class _Codes(dict[str, bytes]):
    """Codes as bytes of one length: the empty code is all NUL (reference 9.8)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def __missing__(self, code: str) -> bytes:
        data = encode_code(code)
        if len(data) > self._size:
            raise OverflowError
        self[code] = padded = data.ljust(self._size, b"\0")
        return padded


def encode_code(code: str) -> bytes:
    """Give the bytes of a code, whatever it is made of."""
    return code.encode(errors="surrogatepass")


def encode_piece_head(columns: int, rows: int) -> bytes:
    """Give what a piece begins with."""
    return encode_leb128(columns) + encode_leb128(rows)


def encode_column_head(column: WrittenColumn) -> bytes:
    """Give what stands before the values of a column."""
    texts = SizedTexts()
    return texts[column.name] + texts[column.kind.value]


def encode_values(
    kind: Kind, values: Values, rows: int, texts: SizedTexts, spread: Spread | None = None
) -> bytes:
    """Give the values of a column of so many rows, at least one; with ``spread`` given only the different.

    Raises one of ``DOES_NOT_FIT``.
    """
    if kind is Kind.TEXT:
        return _encode_each(texts.__getitem__, values, rows, spread)
    if kind in CODE_BYTES:
        return _encode_each(_Codes(CODE_BYTES[kind]).__getitem__, values, rows, spread)
    if spread is not None:
        values = spread(values)
    if kind is Kind.TEXTS:
        return _encode_arrays(values, rows, texts)
    if kind in _NULLABLE_NUMBERS:
        return _encode_nullable(kind, values, rows)
    return _pack(_NUMBERS[kind], values, rows)


def _encode_each(encode: Callable[[Any], bytes], values: Values, rows: int, spread: Spread | None) -> bytes:
    first = values[0]
    if first == values[-1] and values.count(first) == len(values):
        return encode(first) * rows  # a third of the columns is the same in all rows, mostly empty
    encoded = map(encode, values)
    return b"".join(encoded if spread is None else spread(tuple(encoded)))


def _encode_arrays(values: Values, rows: int, texts: SizedTexts) -> bytes:
    if not any(values):
        return bytes(8 * rows)
    ends = _pack("Q", accumulate(map(len, values)), rows)
    return ends + b"".join(map(texts.__getitem__, chain.from_iterable(values)))


def _encode_nullable(kind: Kind, values: Values, rows: int) -> bytes:
    if values.count(None) == rows:
        return b"\1" * rows + bytes(8 * rows)
    numbers = [value or 0 for value in values]
    if kind is Kind.AMOUNT and max(map(abs, numbers)) > MAX_DECIMAL_THOUSANDTHS:
        raise OverflowError
    return bytes([value is None for value in values]) + _pack(_NULLABLE_NUMBERS[kind], numbers, rows)


def _pack(code: str, numbers: Iterable[int], rows: int) -> bytes:
    return struct.pack(f"<{rows}{code}", *numbers)
