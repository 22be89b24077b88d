"""Reads blocks of ClickHouse's Native format, value by value and with nothing of the service."""

import struct
from collections.abc import Callable
from typing import Any

_NUMBERS = {
    "UInt8": "B",
    "UInt16": "H",
    "UInt32": "I",
    "UInt64": "Q",
    "Int8": "b",
    "Int32": "i",
    "DateTime": "I",
    "Decimal(18, 3)": "q",
}


def read_block(data: bytes) -> dict[str, list[Any]]:
    """Give the values of each column; texts and codes are bytes."""
    reader = _Reader(data)
    columns, rows = reader.varint(), reader.varint()
    found = {}
    for _ in range(columns):
        name, kind = reader.text().decode(), reader.text().decode()
        found[name] = reader.column(kind, rows)
    assert reader.at == len(data), "something lies behind the last column"
    return found


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        self.at += size
        assert self.at <= len(self._data), "the block ends in the middle of a value"
        return self._data[self.at - size : self.at]

    def varint(self) -> int:
        number, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
            shift += 7

    def text(self) -> bytes:
        return self.take(self.varint())

    def number(self, code: str) -> int:
        (number,) = struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))
        return int(number)

    def column(self, kind: str, rows: int) -> list[Any]:
        if kind.startswith("Array("):
            ends = [self.number("Q") for _ in range(rows)]
            texts = self.column("String", ends[-1])
            return [tuple(texts[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]
        if kind.startswith("Nullable("):
            nulls = [self.number("B") for _ in range(rows)]
            values = self.column(kind.removeprefix("Nullable(")[:-1], rows)
            return [None if null else value for null, value in zip(nulls, values, strict=True)]
        read: Callable[[], Any]
        if kind == "String":
            read = self.text
        elif kind.startswith("FixedString("):
            size = int(kind.removeprefix("FixedString(")[:-1])
            read = lambda: self.take(size)  # noqa: E731
        else:
            read = lambda: self.number(_NUMBERS[kind])  # noqa: E731
        return [read() for _ in range(rows)]
