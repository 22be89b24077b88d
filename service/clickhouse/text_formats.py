"""Answers as text for a person: the few output formats that the TCP protocol makes us write ourselves.

Over TCP the server sends values, not text. These formats read as ClickHouse's own do, apart from arrays,
tuples and maps, which are written as JSON everywhere. Bytes that are not UTF-8 become U+FFFD.
"""

import datetime
import math
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from service.errors import QueryFailed

Columns = Sequence[tuple[str, str]]
"""Name and type of each column of an answer."""

Row = Sequence[object]


class TextFormat(Struct, frozen=True):
    """How one format is written while blocks of rows come in.

    ``block`` is given the columns, the rows and how many rows came before; ``begin`` the columns; ``end`` the
    number of rows.
    """

    block: Callable[[Columns, Sequence[Row], int], str]
    begin: Callable[[Columns], str] = lambda _: ""
    end: Callable[[int], str] = lambda _: ""


_LARGEST_JSON_INT = 2**64 - 1
_SMALLEST_JSON_INT = -(2**63)
_TSV_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


def as_json_value(value: object) -> object:
    """Give the value as JSON can say it: decimals, huge integers and times become text, NaN becomes null."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace")
    if isinstance(value, int):
        return value if _SMALLEST_JSON_INT <= value <= _LARGEST_JSON_INT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(" ")
    if isinstance(value, list | tuple):
        return [as_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(as_json_value(key)): as_json_value(item) for key, item in value.items()}
    return str(value)


def text_format(name: str) -> TextFormat:
    """Give the writer of a format by ClickHouse's name; raises QueryFailed when it is none of ours."""
    found = TEXT_FORMATS.get(name)
    if found is None:
        raise QueryFailed(f"Over TCP an answer can be had as {', '.join(TEXT_FORMATS)}, but not as {name}.")
    return found


def _json_text(value: object) -> str:
    return msgspec.json.encode(as_json_value(value)).decode()


def _cell(value: object) -> str:
    """The value as plain text, for formats that have no quotes of their own."""
    plain = as_json_value(value)
    if plain is None:
        return "\\N"
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return _json_text(plain) if isinstance(plain, list | dict) else str(plain)


def _json_rows(columns: Columns, rows: Sequence[Row]) -> list[str]:
    names = [name for name, _ in columns]
    return [_json_text(dict(zip(names, row, strict=True))) for row in rows]


def _json_each_row(columns: Columns, rows: Sequence[Row], _: int) -> str:
    return "".join(f"{line}\n" for line in _json_rows(columns, rows))


def _json_begin(columns: Columns) -> str:
    return '{"meta":' + _json_text([{"name": name, "type": kind} for name, kind in columns]) + ',"data":[\n'


def _json_block(columns: Columns, rows: Sequence[Row], before: int) -> str:
    return (",\n" if before and rows else "") + ",\n".join(_json_rows(columns, rows))


def _json_end(count: int) -> str:
    return f'\n],"rows":{count}}}\n'


def _csv_cell(value: object) -> str:
    text = _cell(value)
    if value is None or isinstance(value, bool | int | float | Decimal):
        return text
    return '"' + text.replace('"', '""') + '"'


def _csv(_: Columns, rows: Sequence[Row], __: int) -> str:
    return "".join(",".join(map(_csv_cell, row)) + "\n" for row in rows)


def _tsv_cell(value: object) -> str:
    return "\\N" if value is None else _cell(value).translate(_TSV_ESCAPES)


def _tsv(_: Columns, rows: Sequence[Row], __: int) -> str:
    return "".join("\t".join(map(_tsv_cell, row)) + "\n" for row in rows)


def _names(cell: Callable[[object], str], separator: str) -> Callable[[Columns], str]:
    return lambda columns: separator.join(cell(name) for name, _ in columns) + "\n"


def _shown(value: object) -> str:
    return "NULL" if value is None else _cell(value).translate(_TSV_ESCAPES)


def _vertical(columns: Columns, rows: Sequence[Row], before: int) -> str:
    width = max((len(name) for name, _ in columns), default=0) + 1
    parts = []
    for number, row in enumerate(rows, start=before + 1):
        lines = [
            f"{name + ':':<{width}} {_shown(value)}\n" for (name, _), value in zip(columns, row, strict=True)
        ]
        parts.append(f"Row {number}:\n──────\n{''.join(lines)}\n")
    return "".join(parts)


def _pretty(columns: Columns, rows: Sequence[Row], _: int) -> str:
    """Draw a table; each block is one of its own, as wide as its own values need."""
    if not rows:
        return ""
    names = [name for name, _ in columns]
    right = [any(word in kind for word in ("Int", "Float", "Decimal")) for _, kind in columns]
    table = [[_shown(value) for value in row] for row in rows]
    widths = [max(len(cells[i]) for cells in [names, *table]) for i in range(len(names))]
    body = "".join(_line(cells, widths, right) for cells in table)
    head = _ruler("┌┬┐", widths) + _line(names, widths, right) + _ruler("├┼┤", widths)
    return head + body + _ruler("└┴┘", widths)


def _ruler(corners: str, widths: list[int]) -> str:
    return corners[0] + corners[1].join("─" * (width + 2) for width in widths) + corners[2] + "\n"


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    padded = (
        f"{cell:>{width}}" if to_right else f"{cell:<{width}}"
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    )
    return "│ " + " │ ".join(padded) + " │\n"


_CSV = TextFormat(_csv)
_CSV_WITH_NAMES = TextFormat(_csv, _names(_csv_cell, ","))
_TSV = TextFormat(_tsv)
_TSV_WITH_NAMES = TextFormat(_tsv, _names(_tsv_cell, "\t"))
_PRETTY = TextFormat(_pretty)

TEXT_FORMATS = {
    "Pretty": _PRETTY,
    "PrettyCompact": _PRETTY,
    "Vertical": TextFormat(_vertical),
    "JSON": TextFormat(_json_block, _json_begin, _json_end),
    "JSONEachRow": TextFormat(_json_each_row),
    "CSV": _CSV,
    "CSVWithNames": _CSV_WITH_NAMES,
    "TSV": _TSV,
    "TSVWithNames": _TSV_WITH_NAMES,
    "TabSeparated": _TSV,
    "TabSeparatedWithNames": _TSV_WITH_NAMES,
}
