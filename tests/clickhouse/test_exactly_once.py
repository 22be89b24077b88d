"""A block sent any number of times is stored once, whatever became of the answers."""

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from service.clickhouse.embedded import EmbeddedStore
from service.clickhouse.migrations import MigratableStore, migrate
from service.clickhouse.native import NativeStore
from service.clickhouse.store import CounterRow
from service.errors import StoreUnavailable
from service.ingestion.rows import ClickhouseEvent
from tests.support.clickhouse import ClickhouseServer
from tests.support.rows import EMPTY_EVENT, FULL_EVENT, FULL_SESSION, MINUTE, events, make_block

_ROOT = Path(__file__).parents[2]
_A_MONTH_S = 31 * 86_400


async def _count(store: MigratableStore, table: str) -> int:
    [row] = await store.query(f"SELECT count() AS rows FROM {table}")
    assert isinstance(row["rows"], int)
    return row["rows"]


async def test_same_block_twice(store: MigratableStore) -> None:
    """The same block twice is stored once, in both tables."""
    block = make_block(FULL_EVENT, EMPTY_EVENT, sessions=((1, FULL_SESSION),))

    await store.insert_block(block)
    await store.insert_block(block)

    assert (await _count(store, "events_v2"), await _count(store, "sessions_v2")) == (2, 1)


async def test_same_rows_in_another_block(store: MigratableStore) -> None:
    """Equal rows in a block of another id are stored again: they are other events."""
    await store.insert_block(make_block(FULL_EVENT, block_id="one"))
    await store.insert_block(make_block(FULL_EVENT, block_id="two"))

    assert await _count(store, "events_v2") == 2


async def test_block_over_months_and_pieces(store: MigratableStore) -> None:
    """A block of several pieces whose rows fall into several partitions is stored once."""
    rows = [replace(FULL_EVENT, timestamp=FULL_EVENT.timestamp - i % 3 * _A_MONTH_S) for i in range(1_300)]
    block = make_block(*rows)

    for _ in range(3):
        await store.insert_block(block)

    assert await _count(store, "events_v2") == 1_300


async def test_pair_of_session_rows(store: MigratableStore) -> None:
    """A cancelling pair sent twice leaves the session counted once."""
    later = replace(FULL_SESSION, events=4, pageviews=3)
    await store.insert_block(make_block(sessions=((1, FULL_SESSION),), block_id="one"))
    change = make_block(sessions=((-1, FULL_SESSION), (1, later)), block_id="two")

    await store.insert_block(change)
    await store.insert_block(change)

    assert await store.query(
        "SELECT sum(sign) AS visits, sum(sign * events) AS events, sum(sign * pageviews) AS pageviews "
        "FROM sessions_v2"
    ) == [{"visits": 1, "events": 4, "pageviews": 3}]


async def test_server_killed_after_the_answer(clickhouse_server: ClickhouseServer) -> None:
    """What was stored outlives a kill of the server, and so does the memory of its token."""
    store = NativeStore(f"{clickhouse_server.url}/killed_after")
    await migrate(store, cluster=None)
    block = make_block(FULL_EVENT, sessions=((1, FULL_SESSION),))
    await store.insert_block(block)
    clickhouse_server.kill()
    clickhouse_server.restart()

    with suppress(StoreUnavailable):  # the connection that died
        await store.insert_block(block)
    await store.insert_block(block)

    assert (await _count(store, "events_v2"), await _count(store, "sessions_v2")) == (1, 1)
    await store.execute("DROP DATABASE killed_after SYNC")
    await store.close()


async def test_process_killed_after_the_answer(tmp_path: Path) -> None:
    """What the embedded engine stored outlives kill -9 of its process, and so does its token."""
    command = [sys.executable, "-c", _STORE_AND_DIE, str(tmp_path / "clickhouse")]
    process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT)
    assert await process.wait() == -signal.SIGKILL

    store = EmbeddedStore(tmp_path / "clickhouse")
    assert await _count(store, "events_v2") == 1
    await store.insert_block(make_block(FULL_EVENT))

    assert await _count(store, "events_v2") == 1
    await store.close()


_STORE_AND_DIE = """
import asyncio, os, pathlib, signal, sys
from service.clickhouse.embedded import EmbeddedStore
from service.clickhouse.migrations import migrate
from tests.support.rows import FULL_EVENT, make_block

async def main():
    store = EmbeddedStore(pathlib.Path(sys.argv[1]))
    await migrate(store, cluster=None)
    await store.insert_block(make_block(FULL_EVENT))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_counters_twice(store: MigratableStore) -> None:
    """Counters sent twice under one token are counted once."""
    row = CounterRow(MINUTE, "example.com", 7, "buffered", 12, 3)

    await store.insert_counters([row], token="it's one")
    await store.insert_counters([row], token="it's one")

    assert await store.query("SELECT sum(value) AS total FROM ingest_counters") == [{"total": 3}]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(events(), min_size=1, max_size=6), sends=st.integers(1, 3), block_id=st.uuids())
async def test_any_block_any_number_of_times(
    store: MigratableStore, rows: list[ClickhouseEvent], sends: int, block_id: object
) -> None:
    """Whatever the rows, as many are stored as the block has."""
    await store.execute("TRUNCATE TABLE events_v2")
    block = make_block(*rows, block_id=str(block_id))

    for _ in range(sends):
        await store.insert_block(block)

    assert await _count(store, "events_v2") == len(rows)
