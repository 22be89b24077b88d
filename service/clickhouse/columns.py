"""Rows turned into encoded columns, a piece at a time: pure, and the last look at values before they leave.

Both stores send columns. A value that the column's type cannot hold is found here, because on the wire it
would be wrapped silently or would break the stream (reference 10.2, "Encoding of nothing"): the block is
refused with the number of the row, and never with the value, which may be somebody's.

All rows of a visit hold one SessionAttributes, so those columns are made of the different ones of a piece.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from service.clickhouse.native_format import (
    CODE_BYTES,
    DOES_NOT_FIT,
    SizedTexts,
    Spread,
    Values,
    encode_code,
    encode_column_head,
    encode_piece_head,
    encode_values,
)
from service.clickhouse.schema import MAX_DECIMAL_THOUSANDTHS, Kind, Table, WrittenColumn
from service.clickhouse.store import CounterRow
from service.errors import BlockRejected
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession, SessionAttributes

PIECE_ROWS = 500
"""Rows of one piece: small enough that the loop is held for a few milliseconds.

A deduplication token covers the pieces it came with, so blocks that wait in a journal while this number
changes can be stored twice: change it only in a release whose notes say to flush first.
"""

_RANGES = {
    Kind.UINT8: (0, 2**8 - 1),
    Kind.UINT16: (0, 2**16 - 1),
    Kind.UINT32: (0, 2**32 - 1),
    Kind.UINT64: (0, 2**64 - 1),
    Kind.NULLABLE_UINT64: (0, 2**64 - 1),
    Kind.INT8: (-(2**7), 2**7 - 1),
    Kind.INT32: (-(2**31), 2**31 - 1),
    Kind.DATETIME: (0, 2**32 - 1),
    Kind.AMOUNT: (-MAX_DECIMAL_THOUSANDTHS, MAX_DECIMAL_THOUSANDTHS),
}
_NULLABLE = frozenset({Kind.NULLABLE_UINT64, Kind.AMOUNT})
_PAIRED_ARRAYS = (("meta_keys", "meta_values"), ("entry_meta_keys", "entry_meta_values"))


def event_pieces(columns: Sequence[WrittenColumn], events: Sequence[ClickhouseEvent]) -> Iterator[bytes]:
    """Give the events as Native blocks, a piece at a time.

    Raises BlockRejected for a value that does not fit.
    """
    encoder = _Encoder(columns)
    for first in range(0, len(events), PIECE_ROWS):
        yield encoder.encode(_transposed(events[first : first + PIECE_ROWS]), first)


def session_pieces(
    columns: Sequence[WrittenColumn], sessions: Sequence[tuple[int, ClickhouseSession]]
) -> Iterator[bytes]:
    """Give the signed session states, as ``event_pieces`` does."""
    encoder = _Encoder(columns)
    for first in range(0, len(sessions), PIECE_ROWS):
        signs, states = zip(*sessions[first : first + PIECE_ROWS], strict=True)
        values = _transposed(states)
        values["sign"] = signs
        values["transferred_from"] = ("",) * len(states)
        yield encoder.encode(values, first)


def counter_pieces(columns: Sequence[WrittenColumn], counters: Sequence[CounterRow]) -> Iterator[bytes]:
    """Give the counters, as ``event_pieces`` does."""
    encoder = _Encoder(columns)
    for first in range(0, len(counters), PIECE_ROWS):
        yield encoder.encode(_transposed(counters[first : first + PIECE_ROWS]), first)


def insertable(table: Table, found: Mapping[str, str]) -> tuple[WrittenColumn, ...]:
    """Give the columns to write, given the table's column names with their default kinds (``DESCRIBE``).

    Optional columns that the table lacks or computes by itself are left out.
    """
    return tuple(
        column
        for column in table.columns
        if not column.optional or found.get(column.name, "ALIAS") not in {"ALIAS", "MATERIALIZED"}
    )


class _Encoder:
    """Encodes the pieces of one insert, each different text once."""

    def __init__(self, columns: Sequence[WrittenColumn]) -> None:
        self._columns = columns
        self._heads = [encode_column_head(column) for column in columns]
        self._texts = SizedTexts()

    def encode(self, values: dict[str, Values], first_row: int) -> bytes:
        """Give a piece of these values, by the columns' sources; ``first_row`` is the place of its first row.

        Raises BlockRejected.
        """
        rows = len(next(iter(values.values())))
        shared: dict[str, Values] = {}
        spread = None
        if "attributes" in values:
            different, spread = _different(values["attributes"])
            shared = {f"attributes.{name}": of for name, of in _transposed(different).items()}
        parts = [encode_piece_head(len(self._columns), rows)]
        for column, head in zip(self._columns, self._heads, strict=True):
            source = column.source
            if source in shared:
                encoded = self._encode_column(column, shared[source], rows, spread, first_row)
            else:
                encoded = self._encode_column(column, values[source], rows, None, first_row)
            parts += (head, encoded)
        _check_pairs(self._columns, values, first_row)
        return b"".join(parts)

    def _encode_column(
        self, column: WrittenColumn, values: Values, rows: int, spread: Spread | None, first_row: int
    ) -> bytes:
        try:
            return encode_values(column.kind, values, rows, self._texts, spread)
        except DOES_NOT_FIT:
            pass  # what is raised instead must not lead to this error, which holds the value
        of_rows = values if spread is None else spread(values)
        raise _rejected(column.name, of_rows, *_rule(column.kind), first_row)


def _transposed(rows: Sequence[Struct]) -> dict[str, Values]:
    """Give the values of each field."""
    return dict(zip(rows[0].__struct_fields__, zip(*map(astuple, rows), strict=True), strict=True))


def _different(attributes: Sequence[SessionAttributes]) -> tuple[Sequence[SessionAttributes], Spread | None]:
    """Give each object once, and what makes values of all rows of theirs; none where that is the same."""
    names = list(map(id, attributes))
    objects = dict(zip(names, attributes, strict=True))
    if len(objects) == len(names):
        return attributes, None
    if len(objects) == 1:
        return attributes[:1], lambda values: values * len(names)
    places = dict(zip(objects, range(len(objects)), strict=True))
    return list(objects.values()), itemgetter(*map(places.__getitem__, names))


def _check_pairs(columns: Sequence[WrittenColumn], values: Mapping[str, Values], first_row: int) -> None:
    for keys_source, values_source in _PAIRED_ARRAYS:
        keys, others = values.get(keys_source, ()), values.get(values_source, ())
        if (any(keys) or any(others)) and list(map(len, keys)) != list(map(len, others)):
            name = next(column.name for column in columns if column.source == keys_source)
            raise _rejected(
                name,
                list(zip(keys, others, strict=True)),
                lambda pair: len(pair[0]) == len(pair[1]),
                "has not one value for each key",
                first_row,
            )


def _rule(kind: Kind) -> tuple[Callable[[Any], bool], str]:
    """Tell which values a column of this kind can hold, as a check and as what is wrong with the others."""
    if kind in CODE_BYTES:
        size = CODE_BYTES[kind]
        return lambda code: len(encode_code(code)) <= size, f"is longer than {size} bytes"
    if kind in _RANGES:
        low, high = _RANGES[kind]
        nullable = kind in _NULLABLE
        return (
            lambda number: (nullable and number is None) or low <= number <= high,
            f"is outside of {low} to {high}",
        )
    unsayable = "holds half a surrogate pair, which UTF-8 cannot say"
    if kind is Kind.TEXTS:
        return lambda texts: all(map(_is_encodable, texts)), unsayable
    return _is_encodable, unsayable


def _is_encodable(text: str | bytes) -> bool:
    if isinstance(text, bytes):
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _rejected(
    name: str, values: Values, fits: Callable[[Any], bool], why: str, first_row: int
) -> BlockRejected:
    row = next(number for number, value in enumerate(values, start=first_row) if not fits(value))
    return BlockRejected(f"row {row}: {name} {why}")
