"""What is written to ClickHouse, as data: the columns of each table, in their order, and their sources.

Source: reference 10.2 (columns and order), 9.1-9.3 (types) and, for ``acquisition_channel``, the design's
section 5: own tables have it as an ordinary column, tables made by Plausible materialise it and then it is
left out.
"""

import enum

from msgspec import Struct

EVENTS = "events_v2"
SESSIONS = "sessions_v2"
COUNTERS = "ingest_counters"

MAX_DECIMAL_THOUSANDTHS = 10**18 - 1
"""The largest amount of a Decimal(18, 3), in thousandths."""


class Kind(enum.Enum):
    """The types that are written, under ClickHouse's names; LowCardinality is only a way of storing them."""

    UINT8 = "UInt8"
    UINT16 = "UInt16"
    UINT32 = "UInt32"
    UINT64 = "UInt64"
    INT8 = "Int8"
    INT32 = "Int32"
    NULLABLE_UINT64 = "Nullable(UInt64)"
    DATETIME = "DateTime"
    AMOUNT = "Nullable(Decimal(18, 3))"
    TEXT = "String"
    TEXTS = "Array(String)"
    CODE2 = "FixedString(2)"
    CODE3 = "FixedString(3)"


class WrittenColumn(Struct, frozen=True):
    """One column of an insert.

    ``source`` is the attribute of the row that holds the value; ``attributes.`` before it means one of the
    row's SessionAttributes.
    ``optional`` columns are left out where the table does not take them.
    """

    name: str
    kind: Kind
    source: str
    optional: bool = False


class Table(Struct, frozen=True):
    """One table and the columns written to it."""

    name: str
    columns: tuple[WrittenColumn, ...]


def _attribute(name: str, kind: Kind = Kind.TEXT, *, optional: bool = False) -> WrittenColumn:
    return WrittenColumn(name, kind, f"attributes.{name}", optional)


def _own(name: str, kind: Kind, source: str = "") -> WrittenColumn:
    return WrittenColumn(name, kind, source or name)


_UTM = (
    _attribute("utm_medium"),
    _attribute("utm_source"),
    _attribute("utm_campaign"),
    _attribute("utm_content"),
    _attribute("utm_term"),
)
_REFERRER = (_attribute("referrer"), _attribute("referrer_source"), _attribute("click_id_param"))
_PLACE_AND_DEVICE = (
    _attribute("country_code", Kind.CODE2),
    _attribute("subdivision1_code"),
    _attribute("subdivision2_code"),
    _attribute("city_geoname_id", Kind.UINT32),
    _attribute("screen_size"),
    _attribute("operating_system"),
    _attribute("operating_system_version"),
    _attribute("browser"),
    _attribute("browser_version"),
)
_CHANNEL = _attribute("acquisition_channel", optional=True)

EVENTS_TABLE = Table(
    EVENTS,
    (
        _own("name", Kind.TEXT),
        _own("site_id", Kind.UINT64),
        _own("hostname", Kind.TEXT),
        _own("pathname", Kind.TEXT),
        _own("user_id", Kind.UINT64),
        _own("session_id", Kind.UINT64),
        _own("timestamp", Kind.DATETIME),
        _own("meta.key", Kind.TEXTS, "meta_keys"),
        _own("meta.value", Kind.TEXTS, "meta_values"),
        _own("scroll_depth", Kind.UINT8),
        _own("engagement_time", Kind.UINT32),
        _own("revenue_source_amount", Kind.AMOUNT),
        _own("revenue_source_currency", Kind.CODE3),
        _own("revenue_reporting_amount", Kind.AMOUNT),
        _own("revenue_reporting_currency", Kind.CODE3),
        *_REFERRER,
        *_UTM,
        *_PLACE_AND_DEVICE,
        _CHANNEL,
    ),
)

SESSIONS_TABLE = Table(
    SESSIONS,
    (
        _own("hostname", Kind.TEXT),
        _own("site_id", Kind.UINT64),
        _own("user_id", Kind.UINT64),
        _own("session_id", Kind.UINT64),
        _own("start", Kind.DATETIME),
        _own("duration", Kind.UINT32),
        _own("is_bounce", Kind.UINT8),
        _own("entry_page", Kind.TEXT),
        _own("exit_page", Kind.TEXT),
        _own("exit_page_hostname", Kind.TEXT),
        _own("pageviews", Kind.INT32),
        _own("events", Kind.INT32),
        _own("sign", Kind.INT8),
        _own("entry_meta.key", Kind.TEXTS, "entry_meta_keys"),
        _own("entry_meta.value", Kind.TEXTS, "entry_meta_values"),
        *_UTM,
        *_REFERRER,
        *_PLACE_AND_DEVICE,
        _own("timestamp", Kind.DATETIME),
        _own("transferred_from", Kind.TEXT),
        _CHANNEL,
    ),
)

COUNTERS_TABLE = Table(
    COUNTERS,
    (
        _own("event_timebucket", Kind.DATETIME, "minute"),
        _own("domain", Kind.TEXT),
        _own("site_id", Kind.NULLABLE_UINT64),
        _own("metric", Kind.TEXT),
        _own("value", Kind.UINT64),
        _own("tracker_script_version", Kind.UINT16),
    ),
)

TABLES = (EVENTS_TABLE, SESSIONS_TABLE, COUNTERS_TABLE)


def describe_sql(table: str) -> str:
    """Give the SELECT of a table's columns; it finds no rows when there is no such table."""
    return (
        "SELECT name, type, default_kind FROM system.columns "  # noqa: S608 - our own constants
        f"WHERE database = currentDatabase() AND table = '{table}' ORDER BY position"
    )
