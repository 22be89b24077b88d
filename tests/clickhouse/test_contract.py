"""What is wrong with the tables is said in plain words."""

import pytest

from service.clickhouse.contract import Severity, check_contract
from service.clickhouse.migrations import MigratableStore


async def _sentences(store: MigratableStore) -> list[str]:
    return [problem.sentence for problem in await check_contract(store)]


async def test_no_tables(empty_store: MigratableStore) -> None:
    """Missing tables are named, with the command that makes them."""
    assert await _sentences(empty_store) == [
        f"{table} does not exist: run `gatehouse migrate`."
        for table in ("events_v2", "sessions_v2", "ingest_counters")
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            "ALTER TABLE events_v2 DROP COLUMN scroll_depth",
            "events_v2 has no column scroll_depth (UInt8).",
        ),
        (
            "ALTER TABLE events_v2 MODIFY COLUMN engagement_time UInt64",
            "events_v2 has column engagement_time as UInt64, but it must be UInt32.",
        ),
        (
            "ALTER TABLE sessions_v2 MODIFY COLUMN pageviews Int32 MATERIALIZED 1",
            "sessions_v2 cannot be written to: column pageviews is needed, "
            "but ClickHouse computes it itself (MATERIALIZED).",
        ),
        (
            "ALTER TABLE events_v2 MODIFY COLUMN revenue_source_amount Nullable(Decimal(18, 2))",
            "events_v2 has column revenue_source_amount as Nullable(Decimal(18, 2)), "
            "but it must be Nullable(Decimal(18, 3)).",
        ),
        (
            "ALTER TABLE events_v2 MODIFY COLUMN acquisition_channel Array(String)",
            "events_v2 has column acquisition_channel as Array(String), but it must be String.",
        ),
    ],
)
async def test_wrong_column(store: MigratableStore, change: str, sentence: str) -> None:
    """A column that is missing, of another type or computed is an error that names it."""
    await store.execute("DROP TABLE ingest_counters")
    await store.execute("TRUNCATE TABLE events_v2")
    await store.execute(change)

    problems = await check_contract(store)

    assert [problem.sentence for problem in problems] == [sentence, *_NO_COUNTERS]
    assert {problem.severity for problem in problems} == {Severity.ERROR}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE events_v2 DROP COLUMN acquisition_channel",
        "ALTER TABLE events_v2 MODIFY COLUMN acquisition_channel LowCardinality(String) MATERIALIZED name",
        "ALTER TABLE events_v2 MODIFY COLUMN hostname LowCardinality(String)",
        "ALTER TABLE events_v2 MODIFY COLUMN engagement_time UInt32 DEFAULT 7",
        "ALTER TABLE events_v2 ADD COLUMN recovery_id UInt64",
    ],
)
async def test_differences_that_do_not_matter(store: MigratableStore, change: str) -> None:
    """A channel that is absent or computed, another way of storing, defaults and further columns are fine."""
    await store.execute(change)

    assert await _sentences(store) == []


async def test_no_deduplication_window(store: MigratableStore) -> None:
    """A table that would store a block twice is a warning, with the statement that mends it, which does."""
    await store.execute("ALTER TABLE events_v2 RESET SETTING non_replicated_deduplication_window")

    [problem] = await check_contract(store)
    await store.execute(problem.sentence.rpartition("or ")[2])

    assert problem.severity is Severity.WARNING
    assert problem.sentence == (
        "events_v2 remembers no inserts, so a block sent again after a lost answer is stored twice: "
        "run `gatehouse migrate`, or "
        "ALTER TABLE events_v2 MODIFY SETTING non_replicated_deduplication_window = 10000"
    )
    assert await check_contract(store) == []


_NO_COUNTERS = ["ingest_counters does not exist: run `gatehouse migrate`."]
