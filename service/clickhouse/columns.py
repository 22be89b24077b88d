"""Rows turned into checked columns, a piece at a time: pure, and the last look at values before they leave.

Both stores send columns. A value that the column's type cannot hold is found here, because on the wire it
would be wrapped silently or would break the stream (reference 10.2, "Encoding of nothing"): the block is
refused with the number of the row, and never with the value, which may be somebody's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter, ne
from typing import Any

from service.clickhouse.schema import MAX_DECIMAL_THOUSANDTHS, Kind, Table, WrittenColumn
from service.clickhouse.store import CounterRow
from service.errors import BlockRejected
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession

PIECE_ROWS = 500
"""Rows of one piece: small enough that the loop is held for a few milliseconds.

A deduplication token covers the pieces it came with, so blocks that wait in a journal while this number
changes can be stored twice: change it only in a release whose notes say to flush first.
"""

Columns = list[list[Any]]
"""One list a column, all of one length: int, str, bytes, None, or tuples of str and bytes."""

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
_CODE_BYTES = {Kind.CODE2: 2, Kind.CODE3: 3}
_PAIRED_ARRAYS = (("meta.key", "meta.value"), ("entry_meta.key", "entry_meta.value"))


def event_pieces(columns: Sequence[WrittenColumn], events: Sequence[ClickhouseEvent]) -> Iterator[Columns]:
    """Give the events' columns, a piece at a time; raises BlockRejected for a value that does not fit."""
    for first in range(0, len(events), PIECE_ROWS):
        rows = events[first : first + PIECE_ROWS]
        yield _build(columns, rows, [row.attributes for row in rows], {}, first)


def session_pieces(
    columns: Sequence[WrittenColumn], sessions: Sequence[tuple[int, ClickhouseSession]]
) -> Iterator[Columns]:
    """Give the signed session states' columns, as ``event_pieces`` does."""
    for first in range(0, len(sessions), PIECE_ROWS):
        pairs = sessions[first : first + PIECE_ROWS]
        rows = [state for _, state in pairs]
        given: dict[str, list[Any]] = {}
        given["sign"] = [sign for sign, _ in pairs]
        given["transferred_from"] = [""] * len(pairs)
        yield _build(columns, rows, [row.attributes for row in rows], given, first)


def counter_pieces(columns: Sequence[WrittenColumn], counters: Sequence[CounterRow]) -> Iterator[Columns]:
    """Give the counters' columns, as ``event_pieces`` does."""
    for first in range(0, len(counters), PIECE_ROWS):
        yield _build(columns, counters[first : first + PIECE_ROWS], [], {}, first)


def insertable(table: Table, found: Mapping[str, str]) -> tuple[WrittenColumn, ...]:
    """Give the columns to write, given the table's column names with their default kinds (``DESCRIBE``).

    Optional columns that the table lacks or computes by itself are left out.
    """
    return tuple(
        column
        for column in table.columns
        if not column.optional or found.get(column.name, "ALIAS") not in {"ALIAS", "MATERIALIZED"}
    )


def _build(
    columns: Sequence[WrittenColumn],
    rows: Sequence[object],
    attributes: Sequence[object],
    given: Mapping[str, list[Any]],
    first_row: int,
) -> Columns:
    built: dict[str, list[Any]] = {}
    for column in columns:
        root, _, attribute = column.source.rpartition(".")
        values = given.get(column.source)
        if values is None:
            values = list(map(attrgetter(attribute), attributes if root else rows))
        built[column.name] = _checked(column, values, first_row)
    for keys, others in _PAIRED_ARRAYS:
        if keys in built and others in built:
            _check_pairs(built[keys], built[others], keys, first_row)
    return list(built.values())


def _checked(column: WrittenColumn, values: list[Any], first_row: int) -> list[Any]:
    """Give the values ready to send; raises BlockRejected naming the first row that does not fit."""
    if column.kind in _RANGES:
        _check_range(column, values, first_row)
        return values
    if column.kind in _CODE_BYTES:
        return _encode_codes(column, values, first_row)
    texts = values if column.kind is Kind.TEXT else [text for row in values for text in row]
    if not _all_encodable(texts):
        rows = [[value] for value in values] if column.kind is Kind.TEXT else values
        _reject(
            column.name,
            rows,
            _all_encodable,
            "holds half a surrogate pair, which UTF-8 cannot say",
            first_row,
        )
    return values


def _check_range(column: WrittenColumn, values: list[Any], first_row: int) -> None:
    low, high = _RANGES[column.kind]
    present = [value for value in values if value is not None] if column.kind in _NULLABLE else values
    if present and not (low <= min(present) and max(present) <= high):
        nullable = column.kind in _NULLABLE
        _reject(
            column.name,
            values,
            lambda value: (nullable and value is None) or low <= value <= high,
            f"is outside of {low} to {high}",
            first_row,
        )


def _encode_codes(column: WrittenColumn, values: list[str], first_row: int) -> list[bytes]:
    """Give the codes as bytes of the column's length: the empty code is all NUL (reference 9.8)."""
    size = _CODE_BYTES[column.kind]
    codes = {value: value.encode(errors="surrogatepass").ljust(size, b"\0") for value in set(values)}
    if any(len(code) > size for code in codes.values()):
        _reject(
            column.name,
            values,
            lambda value: len(codes[value]) <= size,
            f"is longer than {size} bytes",
            first_row,
        )
    return [codes[value] for value in values]


def _all_encodable(texts: Sequence[str | bytes]) -> bool:
    """Whether each is bytes or a text that UTF-8 can say; one join is far cheaper than a look at each."""
    try:
        "".join(texts).encode()  # type: ignore[arg-type]  # bytes among them raise the TypeError below
    except TypeError:
        return _all_encodable([text for text in texts if isinstance(text, str)])
    except UnicodeEncodeError:
        return False
    return True


def _check_pairs(keys: list[Any], values: list[Any], name: str, first_row: int) -> None:
    if any(map(ne, map(len, keys), map(len, values))):
        pairs = list(zip(keys, values, strict=True))
        _reject(
            name,
            pairs,
            lambda pair: len(pair[0]) == len(pair[1]),
            "has not one value for each key",
            first_row,
        )


def _reject(name: str, values: Sequence[Any], fits: Callable[[Any], bool], why: str, first_row: int) -> None:
    row = next(number for number, value in enumerate(values, start=first_row) if not fits(value))
    raise BlockRejected(f"row {row}: {name} {why}")
