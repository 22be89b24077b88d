"""Which of our tables would store a block twice, and the statement that prevents it.

ClickHouse honours a deduplication token only where the table remembers past inserts: replicated tables do by
default, others only with ``non_replicated_deduplication_window`` set.
"""

import re

from service.clickhouse.quoting import quoted
from service.clickhouse.schema import TABLES
from service.clickhouse.store import ClickhouseStore

_NON_REPLICATED = "non_replicated_deduplication_window"
_REPLICATED = "replicated_deduplication_window"


async def missing_windows(
    store: ClickhouseStore, *, window: int, cluster: str | None = None
) -> list[tuple[str, str]]:
    """Give our tables that remember no inserts, each with the statement that makes it remember ``window``."""
    names = ", ".join(f"'{table.name}'" for table in TABLES)
    tables = await store.query(
        "SELECT name, engine, engine_full FROM system.tables "  # noqa: S608 - our own constants
        f"WHERE database = currentDatabase() AND name IN ({names}) ORDER BY name"
    )
    defaults = await store.query(
        "SELECT name, value FROM system.merge_tree_settings "  # noqa: S608 - our own constants
        f"WHERE name IN ('{_NON_REPLICATED}', '{_REPLICATED}')"
    )
    values = {str(row["name"]): str(row["value"]) for row in defaults}
    on_cluster = f" ON CLUSTER {quoted(cluster)}" if cluster else ""
    missing = []
    for row in tables:
        engine = str(row["engine"])
        setting = _REPLICATED if engine.startswith("Replicated") else _NON_REPLICATED
        own = re.search(rf"\b{setting} = (\d+)", str(row["engine_full"]))
        if engine.endswith("MergeTree") and int(own[1] if own else values.get(setting, "0")) == 0:
            statement = f"ALTER TABLE {row['name']}{on_cluster} MODIFY SETTING {setting} = {window}"
            missing.append((str(row["name"]), statement))
    return missing
