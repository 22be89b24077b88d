"""Rows as people read them: by the names of the tables' columns, and as JSON can hold them.

Times are UTC text as ClickHouse writes them, amounts are decimal text, and numbers of visitors and sessions
are texts, because JSON readers round integers of 64 bits. Bytes that are no UTF-8 become U+FFFD.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final

from service.clickhouse.schema import EVENTS_TABLE, SESSIONS_TABLE, Kind, Table, WrittenColumn
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession
from service.ingestion.step_words import show

_LARGE: Final = frozenset({"user_id", "session_id"})


def show_event(event: ClickhouseEvent) -> dict[str, Any]:
    """Give a row of ``events_v2``."""
    return _show(EVENTS_TABLE, event, {})


def show_session(sign: int, state: ClickhouseSession) -> dict[str, Any]:
    """Give a row of ``sessions_v2``."""
    return _show(SESSIONS_TABLE, state, {"sign": sign, "transferred_from": ""})


def _show(table: Table, row: object, given: Mapping[str, object]) -> dict[str, Any]:
    return {
        column.name: given[column.source]
        if column.source in given
        else _fit(column, attrgetter(column.source)(row))
        for column in table.columns
    }


def _fit(column: WrittenColumn, value: Any) -> object:
    if value is None:
        return None
    match column.kind:
        case Kind.DATETIME:
            return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}"
        case Kind.AMOUNT:
            return str(Decimal(value).scaleb(-3))
        case Kind.TEXTS:
            return [show(text) for text in value]
        case Kind.TEXT:
            return show(value)
        case Kind.UINT8:
            return int(value)
        case Kind.UINT64 if column.name in _LARGE:
            return str(value)
        case _:
            return value
