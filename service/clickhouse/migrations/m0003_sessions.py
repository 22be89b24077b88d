"""The table of session states (reference 9.2), with the acquisition channel as a column that is written."""

from service.clickhouse.migrations.plan import Migration, Step

SESSIONS = Migration(
    version=3,
    title="sessions_v2",
    steps=(
        Step(
            """
            CREATE TABLE IF NOT EXISTS sessions_v2{on_cluster} (
                session_id UInt64,
                sign Int8,
                site_id UInt64,
                user_id UInt64,
                hostname String CODEC(ZSTD(3)),
                timestamp DateTime CODEC(Delta(4), LZ4),
                start DateTime CODEC(Delta(4), LZ4),
                is_bounce UInt8,
                entry_page String CODEC(ZSTD(3)),
                exit_page String CODEC(ZSTD(3)),
                pageviews Int32,
                events Int32,
                duration UInt32,
                referrer String CODEC(ZSTD(3)),
                referrer_source String CODEC(ZSTD(3)),
                country_code LowCardinality(FixedString(2)),
                screen_size LowCardinality(String),
                operating_system LowCardinality(String),
                browser LowCardinality(String),
                utm_medium String CODEC(ZSTD(3)),
                utm_source String CODEC(ZSTD(3)),
                utm_campaign String CODEC(ZSTD(3)),
                browser_version LowCardinality(String),
                operating_system_version LowCardinality(String),
                subdivision1_code LowCardinality(String),
                subdivision2_code LowCardinality(String),
                city_geoname_id UInt32,
                utm_content String CODEC(ZSTD(3)),
                utm_term String CODEC(ZSTD(3)),
                transferred_from String,
                `entry_meta.key` Array(String) CODEC(ZSTD(3)),
                `entry_meta.value` Array(String) CODEC(ZSTD(3)),
                exit_page_hostname String CODEC(ZSTD(3)),
                city UInt32 ALIAS city_geoname_id,
                country LowCardinality(FixedString(2)) ALIAS country_code,
                device LowCardinality(String) ALIAS screen_size,
                entry_page_hostname String ALIAS hostname,
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
                acquisition_channel LowCardinality(String),
                INDEX minmax_timestamp timestamp TYPE minmax GRANULARITY 1
            ) ENGINE = {replicated}VersionedCollapsingMergeTree(sign, events)
            PARTITION BY toYYYYMM(start)
            PRIMARY KEY (site_id, toDate(start), user_id, session_id)
            ORDER BY (site_id, toDate(start), user_id, session_id)
            SAMPLE BY user_id
            SETTINGS {deduplication}
            """
        ),
    ),
)
