"""The tables of the sites' SQLite database, as numbered migrations that ``PRAGMA user_version`` counts.

A migration that was released is never edited: a change is a new one at the end.

``AUTOINCREMENT`` is deliberate: rows in ClickHouse carry a site's number for ever, so none is given twice.
``revision`` counts all changes, ``changes`` holds the number of each site's last one; triggers keep both, so
that no writer, not even a person with ``sqlite3``, can forget it.
"""

from typing import Final

_TABLES: Final = (
    """
    CREATE TABLE sites (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        domain TEXT NOT NULL UNIQUE,
        domain_changed_from TEXT,
        domain_changed_at INTEGER,
        timezone TEXT NOT NULL,
        ingest_rate_limit_threshold INTEGER CHECK (ingest_rate_limit_threshold >= 0),
        ingest_rate_limit_scale_seconds INTEGER NOT NULL CHECK (ingest_rate_limit_scale_seconds >= 1),
        accept_traffic_until TEXT,
        allowed_event_props TEXT NOT NULL,
        tracker_script_configuration TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE INDEX sites_domain_changed_from ON sites (domain_changed_from)
        WHERE domain_changed_from IS NOT NULL
    """,
    """
    CREATE TABLE goals (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site_id INTEGER NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        display_name TEXT NOT NULL,
        event_name TEXT,
        page_path TEXT,
        custom_props TEXT NOT NULL,
        currency TEXT,
        created_at INTEGER NOT NULL,
        CHECK ((event_name IS NULL) <> (page_path IS NULL)),
        UNIQUE (site_id, display_name)
    ) STRICT
    """,
    """
    CREATE TABLE shield_rules (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        site_id INTEGER NOT NULL REFERENCES sites (id) ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('hostname', 'page', 'ip', 'country')),
        value TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        UNIQUE (site_id, kind, value)
    ) STRICT
    """,
    "CREATE TABLE salts (day INTEGER PRIMARY KEY, salt BLOB NOT NULL CHECK (length(salt) = 16)) STRICT",
    "CREATE TABLE revision (number INTEGER NOT NULL) STRICT",
    "INSERT INTO revision VALUES (0)",
    "CREATE TABLE changes (site_id INTEGER PRIMARY KEY, number INTEGER NOT NULL) STRICT",
    "CREATE INDEX changes_number ON changes (number)",
)

_REVISION_TRIGGERS: Final = tuple(
    f"CREATE TRIGGER {table}_{event.lower()} AFTER {event} ON {table} BEGIN"  # noqa: S608 - literals, below
    " UPDATE revision SET number = number + 1;"
    f" INSERT OR REPLACE INTO changes SELECT {row}.{key}, number FROM revision;"
    " END"
    for table, key in (("sites", "id"), ("goals", "site_id"), ("shield_rules", "site_id"))
    for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD"))
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_TABLES + _REVISION_TRIGGERS,)
"""Migration n (from 1) as its statements, in order."""
