"""The table of events (reference 9.1), with the acquisition channel as a column that is written."""

from service.clickhouse.migrations.plan import Migration, Step

EVENTS = Migration(
    version=2,
    title="events_v2",
    steps=(
        Step(
            """
            CREATE TABLE IF NOT EXISTS events_v2{on_cluster} (
                timestamp DateTime CODEC(Delta(4), LZ4),
                name LowCardinality(String),
                site_id UInt64,
                user_id UInt64,
                session_id UInt64,
                hostname String CODEC(ZSTD(3)),
                pathname String CODEC(ZSTD(3)),
                referrer String CODEC(ZSTD(3)),
                referrer_source String CODEC(ZSTD(3)),
                country_code FixedString(2),
                screen_size LowCardinality(String),
                operating_system LowCardinality(String),
                browser LowCardinality(String),
                utm_medium String CODEC(ZSTD(3)),
                utm_source String CODEC(ZSTD(3)),
                utm_campaign String CODEC(ZSTD(3)),
                `meta.key` Array(String) CODEC(ZSTD(3)),
                `meta.value` Array(String) CODEC(ZSTD(3)),
                browser_version LowCardinality(String),
                operating_system_version LowCardinality(String),
                subdivision1_code LowCardinality(String),
                subdivision2_code LowCardinality(String),
                city_geoname_id UInt32,
                utm_content String CODEC(ZSTD(3)),
                utm_term String CODEC(ZSTD(3)),
                revenue_reporting_amount Nullable(Decimal(18, 3)),
                revenue_reporting_currency FixedString(3),
                revenue_source_amount Nullable(Decimal(18, 3)),
                revenue_source_currency FixedString(3),
                city UInt32 ALIAS city_geoname_id,
                country LowCardinality(FixedString(2)) ALIAS country_code,
                device LowCardinality(String) ALIAS screen_size,
                os LowCardinality(String) ALIAS operating_system,
                os_version LowCardinality(String) ALIAS operating_system_version,
                region LowCardinality(String) ALIAS subdivision1_code,
                screen LowCardinality(String) ALIAS screen_size,
                source String ALIAS referrer_source,
                country_name String ALIAS dictGet(
                    '{database}.location_data_dict', 'name', tuple('country', toString(country_code))
                ),
                region_name String ALIAS dictGet(
                    '{database}.location_data_dict', 'name', tuple('subdivision', subdivision1_code)
                ),
                city_name String ALIAS dictGet(
                    '{database}.location_data_dict', 'name', tuple('city', toString(city_geoname_id))
                ),
                channel LowCardinality(String),
                click_id_param LowCardinality(String),
                scroll_depth UInt8,
                acquisition_channel LowCardinality(String),
                engagement_time UInt32
            ) ENGINE = {replicated}MergeTree
            PARTITION BY toYYYYMM(timestamp)
            PRIMARY KEY (site_id, toDate(timestamp), name, user_id)
            ORDER BY (site_id, toDate(timestamp), name, user_id, timestamp)
            SAMPLE BY user_id
            SETTINGS {deduplication}
            """
        ),
    ),
)
