"""Migrations make what is missing and touch nothing that is there."""

import pytest

from service.clickhouse.contract import check_contract
from service.clickhouse.migrations import MIGRATIONS, MigratableStore, migrate
from service.clickhouse.migrations.plan import Dialect, Migration
from tests.support.plausible_tables import make_plausible_tables
from tests.support.rows import FULL_EVENT, FULL_SESSION, make_block

OUR_TABLES = [
    "events_v2",
    "gatehouse_migrations",
    "ingest_counters",
    "location_data",
    "location_data_dict",
    "sessions_v2",
]


async def _ddl(store: MigratableStore) -> dict[object, object]:
    tables = await store.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name"
    )
    return {row["name"]: row["create_table_query"] for row in tables}


async def test_from_nothing(empty_store: MigratableStore) -> None:
    """On an empty database every migration is announced and runs, and then the contract is kept."""
    announced: list[str] = []

    done = await migrate(empty_store, cluster=None, on_step=announced.append)

    assert done == announced
    assert len(done) == len(MIGRATIONS)
    assert list(await _ddl(empty_store)) == OUR_TABLES
    assert await check_contract(empty_store) == []


async def test_twice(store: MigratableStore) -> None:
    """The second time nothing is done and nothing is changed."""
    before = await _ddl(store)

    assert await migrate(store, cluster=None) == []
    assert await _ddl(store) == before


async def test_history_lost(store: MigratableStore) -> None:
    """Even with the history gone, running everything again changes nothing."""
    await store.insert_block(make_block(FULL_EVENT))
    await store.execute("DROP TABLE gatehouse_migrations")
    before = await _ddl(store)

    done = await migrate(store, cluster=None)
    after = await _ddl(store)

    assert len(done) == len(MIGRATIONS)
    assert {name: after[name] for name in before} == before
    assert await store.query("SELECT count() AS rows FROM events_v2") == [{"rows": 1}]


async def test_keys_and_engines(store: MigratableStore) -> None:
    """Engines, partitions, keys and sampling are those of reference 9.1 to 9.3."""
    rows = await store.query(
        "SELECT name, engine, partition_key, primary_key, sorting_key, sampling_key FROM system.tables "
        "WHERE database = currentDatabase() AND name IN ('events_v2', 'sessions_v2', 'ingest_counters') "
        "ORDER BY name"
    )

    assert [tuple(row.values()) for row in rows] == [
        (
            "events_v2",
            "MergeTree",
            "toYYYYMM(timestamp)",
            "site_id, toDate(timestamp), name, user_id",
            "site_id, toDate(timestamp), name, user_id, timestamp",
            "user_id",
        ),
        (
            "ingest_counters",
            "SummingMergeTree",
            "",
            "domain, toDate(event_timebucket), metric, toStartOfMinute(event_timebucket)",
            "domain, toDate(event_timebucket), metric, toStartOfMinute(event_timebucket), "
            "tracker_script_version",
            "",
        ),
        (
            "sessions_v2",
            "VersionedCollapsingMergeTree",
            "toYYYYMM(start)",
            "site_id, toDate(start), user_id, session_id",
            "site_id, toDate(start), user_id, session_id, events",  # the engine adds its version
            "user_id",
        ),
    ]


async def test_index_and_projection(store: MigratableStore) -> None:
    """The sessions have their index on time, the counters their projection of site traffic."""
    ddl = await _ddl(store)

    assert "INDEX minmax_timestamp timestamp TYPE minmax GRANULARITY 1" in str(ddl["sessions_v2"])
    assert "PROJECTION ingest_counters_site_traffic_projection" in str(ddl["ingest_counters"])


async def test_tables_made_by_plausible(empty_store: MigratableStore) -> None:
    """Tables that are there keep their columns; only the deduplication window is switched on."""
    await make_plausible_tables(empty_store)
    before = {
        name: await empty_store.describe(name) for name in ("events_v2", "sessions_v2", "ingest_counters")
    }

    done = await migrate(empty_store, cluster=None)

    assert [line for line in done if "deduplication window" in line] == [
        f"{table}: switching on the deduplication window, so that a block sent twice is stored once"
        for table in ("events_v2", "ingest_counters", "sessions_v2")
    ]
    assert {name: await empty_store.describe(name) for name in before} == before
    assert await check_contract(empty_store) == []
    assert await migrate(empty_store, cluster=None) == []


async def test_rows_into_tables_made_by_plausible(empty_store: MigratableStore) -> None:
    """Plausible's tables compute the channel themselves, and a block sent twice is stored once there too."""
    await make_plausible_tables(empty_store)
    await migrate(empty_store, cluster=None)
    block = make_block(FULL_EVENT, sessions=((1, FULL_SESSION),))

    await empty_store.insert_block(block)
    await empty_store.insert_block(block)

    for table in ("events_v2", "sessions_v2"):
        assert await empty_store.query(f"SELECT acquisition_channel FROM {table}") == [
            {"acquisition_channel": "computed from Search"}
        ]


async def test_database_that_does_not_exist(native_store: MigratableStore) -> None:
    """The database is made when it is missing."""
    await native_store.execute(f"DROP DATABASE {native_store.database} SYNC")
    await native_store.close()

    assert len(await migrate(native_store, cluster=None)) == len(MIGRATIONS)


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda migration: str(migration.title))
def test_statements_for_a_cluster(migration: Migration) -> None:
    """On a cluster statements run everywhere, tables are replicated, names and passwords are quoted."""
    dialect = Dialect("analytics", "my'cluster", ("user", "pass'word"))

    for step in migration.steps:
        sql = dialect.render(step.sql)
        assert "ON CLUSTER 'my\\'cluster'" in sql
        if "ENGINE =" in sql:
            assert "ENGINE = Replicated" in sql
            assert "non_replicated" not in sql
        if "PASSWORD" in sql:
            assert "USER 'user' PASSWORD 'pass\\'word'" in sql


def test_versions() -> None:
    """Migrations are numbered 1, 2, 3 … in the order in which they run."""
    assert [migration.version for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
