"""Names of places, and the dictionary that the tables' name aliases look them up in (reference 9.5).

It is empty until somebody fills it; an unknown place has the empty name.
"""

from service.clickhouse.migrations.plan import Migration, Step

LOCATIONS = Migration(
    version=1,
    title="location_data and its dictionary",
    steps=(
        Step(
            """
            CREATE TABLE IF NOT EXISTS location_data{on_cluster} (
                type LowCardinality(String),
                id String,
                name String
            ) ENGINE = {replicated}MergeTree ORDER BY (type, id) SETTINGS index_granularity = 128
            """
        ),
        Step(
            """
            CREATE DICTIONARY IF NOT EXISTS location_data_dict{on_cluster} (
                type String,
                id String,
                name String
            ) PRIMARY KEY type, id
            SOURCE(CLICKHOUSE(TABLE 'location_data' DB '{database}' USER {user} PASSWORD {password}))
            LIFETIME(0) LAYOUT(COMPLEX_KEY_CACHE(SIZE_IN_CELLS 500000))
            """
        ),
    ),
)
