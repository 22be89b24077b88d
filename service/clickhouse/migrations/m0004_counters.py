"""The table of minute totals per site and verdict (reference 9.3)."""

from service.clickhouse.migrations.plan import Migration, Step

_REBUILD = "deduplicate_merge_projection_mode"

COUNTERS = Migration(
    version=4,
    title="ingest_counters",
    steps=(
        Step(
            """
            CREATE TABLE IF NOT EXISTS ingest_counters{on_cluster} (
                event_timebucket DateTime,
                domain LowCardinality(String),
                site_id Nullable(UInt64),
                metric LowCardinality(String),
                value UInt64,
                tracker_script_version UInt16
            ) ENGINE = {replicated}SummingMergeTree(value)
            PRIMARY KEY (domain, toDate(event_timebucket), metric, toStartOfMinute(event_timebucket))
            ORDER BY (
                domain, toDate(event_timebucket), metric, toStartOfMinute(event_timebucket),
                tracker_script_version
            )
            SETTINGS {deduplication}
            """
        ),
        # Servers that know this setting (24.8 and later) refuse the projection without it.
        Step(f"ALTER TABLE ingest_counters{{on_cluster}} MODIFY SETTING {_REBUILD} = 'rebuild'", _REBUILD),
        Step(
            """
            ALTER TABLE ingest_counters{on_cluster}
            ADD PROJECTION IF NOT EXISTS ingest_counters_site_traffic_projection (
                SELECT site_id, toDate(event_timebucket), sumIf(value, metric = 'buffered')
                GROUP BY site_id, toDate(event_timebucket)
            )
            """
        ),
    ),
)
