"""What the stores say when ClickHouse is away, comes back, or does not like what it gets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from service.clickhouse.migrations import MigratableStore, migrate
from service.clickhouse.native import NativeStore
from service.clickhouse.store import Column
from service.errors import BlockRejected, QueryFailed, StoreUnavailable
from tests.support.clickhouse import DYING_S, ClickhouseServer
from tests.support.rows import EMPTY_EVENT, FULL_EVENT, FULL_SESSION, make_block

GIVEN_UP_LIMIT_S = 60.0
PATIENT_TRIES = 60
"""Far more than a try may take, far less than it took."""


@pytest.fixture
async def local_store(clickhouse_server: ClickhouseServer) -> AsyncIterator[NativeStore]:
    """A store on the server of this test process, which the test may kill; it runs again afterwards."""
    store = NativeStore(f"{clickhouse_server.url}/killed")
    await migrate(store, cluster=None)
    yield store
    clickhouse_server.revive()
    await store.execute("DROP DATABASE killed SYNC")
    await store.close()


async def _count(store: MigratableStore) -> object:
    [row] = await store.query("SELECT count() AS rows FROM events_v2")
    return row["rows"]


async def test_server_killed_between_blocks(
    local_store: NativeStore, clickhouse_server: ClickhouseServer
) -> None:
    """While the server is dead a block is refused for now; when it is back the same call works."""
    await local_store.insert_block(make_block(FULL_EVENT, block_id="before"))
    clickhouse_server.kill()

    with pytest.raises(StoreUnavailable):
        await local_store.insert_block(make_block(EMPTY_EVENT, block_id="after"))
    clickhouse_server.restart()
    await local_store.insert_block(make_block(EMPTY_EVENT, block_id="after"))

    assert await _count(local_store) == 2


async def test_look_at_a_table_takes_no_longer_than_an_insert(
    local_store: NativeStore, clickhouse_server: ClickhouseServer
) -> None:
    """A block waits for it after every failure: a server that hangs is given up as soon, and tried again."""
    hasty = NativeStore(f"{clickhouse_server.url}/killed", insert_timeout_s=0.5, query_timeout_s=3600)
    await hasty.query("SELECT 1")
    clickhouse_server.pause()
    try:
        for _ in range(2):  # on a connection that was open, and on one that does not open
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(hasty.describe("events_v2"), GIVEN_UP_LIMIT_S)
    finally:
        clickhouse_server.resume()

    assert await _describe_at_last(hasty) == await local_store.describe("events_v2")
    await hasty.close()


async def test_server_killed_while_inserting(
    local_store: NativeStore, clickhouse_server: ClickhouseServer
) -> None:
    """Killed in the middle of a block, the block is whole and single after it was sent again."""
    block = make_block(*[FULL_EVENT] * 20_000)
    await local_store.start()

    async with asyncio.TaskGroup() as group:
        insert = group.create_task(_refusal(local_store.insert_block(block)))
        for _ in range(20):  # turns of the loop: some pieces are on their way by then
            await asyncio.sleep(0)
        clickhouse_server.kill()
    clickhouse_server.restart()
    await local_store.insert_block(block)

    assert isinstance(insert.result(), StoreUnavailable)
    assert await _count(local_store) == 20_000


async def _describe_at_last(store: NativeStore) -> list[Column]:
    """Look at a table as often as it takes: a busy machine may need longer than one try may take."""
    for _ in range(PATIENT_TRIES):
        try:
            return await store.describe("events_v2")
        except StoreUnavailable:
            continue
    pytest.fail("a server that answers again was not reached")


async def _refusal(call: object) -> object:
    try:
        return await call  # type: ignore[misc]  # any awaitable
    except StoreUnavailable as error:
        return error


async def test_block_with_a_bad_value(store: MigratableStore) -> None:
    """A block with one bad value is never taken, nothing of it is stored, and the next one is unharmed."""
    bad = make_block(*[FULL_EVENT] * 1_200, replace(FULL_EVENT, scroll_depth=256), block_id="bad")

    with pytest.raises(BlockRejected, match="row 1200: scroll_depth"):
        await store.insert_block(bad)
    await store.insert_block(make_block(EMPTY_EVENT, block_id="good"))

    assert await _count(store) == 1


async def test_block_that_the_table_refuses(store: MigratableStore) -> None:
    """What ClickHouse refuses because of the content is never taken, and nothing of it is stored."""
    await store.execute("ALTER TABLE events_v2 ADD CONSTRAINT small CHECK site_id < 1000")
    bad = make_block(*[EMPTY_EVENT] * 600, FULL_EVENT)

    with pytest.raises(BlockRejected, match="refuses the block: Constraint `small`"):
        await store.insert_block(bad)

    assert await _count(store) == 0


async def test_no_tables(empty_store: MigratableStore) -> None:
    """Without tables a block waits, and the sentence says what makes them."""
    await empty_store.start()

    with pytest.raises(StoreUnavailable, match="run `gatehouse migrate`"):
        await empty_store.insert_block(make_block(FULL_EVENT))


async def test_table_that_changes_under_way(store: MigratableStore) -> None:
    """A column that turns from ordinary to computed makes one block wait, and the next try leaves it out."""
    await store.insert_block(make_block(FULL_EVENT, sessions=((1, FULL_SESSION),), block_id="one"))
    for table in ("events_v2", "sessions_v2"):
        await store.execute(
            f"ALTER TABLE {table} MODIFY COLUMN acquisition_channel LowCardinality(String) MATERIALIZED ''"
        )
    block = make_block(FULL_EVENT, sessions=((1, FULL_SESSION),), block_id="two")

    for _ in range(2):  # events, then sessions
        with pytest.raises(StoreUnavailable):
            await store.insert_block(block)
    await store.insert_block(block)

    assert await _count(store) == 2


async def test_cancelled_insert(
    native_store: MigratableStore, revive_clickhouse: Callable[[], object]
) -> None:
    """An insert that is cancelled under way leaves nothing behind that harms the next one."""
    block = make_block(*[FULL_EVENT] * 5_000)
    await native_store.start()

    inserting = asyncio.ensure_future(native_store.insert_block(block))
    for _ in range(4):  # it has begun, and needs an answer to end
        await asyncio.sleep(0)
    inserting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await inserting
    if isinstance(await _refusal(native_store.insert_block(block)), StoreUnavailable):
        # The engine that stands in for a server may die of the cancelled insert's end.
        await asyncio.sleep(DYING_S)
        revive_clickhouse()
        await native_store.insert_block(block)

    assert await _count(native_store) == 5_000


async def test_first_host_dead(native_store: MigratableStore, clickhouse_url: str) -> None:
    """With the first of two hosts dead, the second one gets the block."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: it refuses
        store = NativeStore(clickhouse_url.replace("//", f"//127.0.0.1:{unused.getsockname()[1]},"))
        await store.insert_block(make_block(FULL_EVENT))
        await store.close()

    assert await _count(native_store) == 1


async def test_all_hosts_dead() -> None:
    """With every host dead the sentence names each."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
        store = NativeStore(f"clickhouse://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}/x")

        with pytest.raises(StoreUnavailable, match=rf"127.0.0.1:{ports[0]} .*; 127.0.0.1:{ports[1]} "):
            await store.ping()
        await store.close()


async def test_server_that_says_nothing() -> None:
    """A server that takes the connection and never answers is given up after the connect timeout."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        store = NativeStore(f"clickhouse://127.0.0.1:{mute.getsockname()[1]}/x", connect_timeout_s=0.05)

        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            await store.ping()
        await store.close()


async def test_slow_server(clickhouse_url: str) -> None:
    """A statement that takes longer than the limit is given up, and the next one gets a fresh connection."""
    store = NativeStore(clickhouse_url, query_timeout_s=0.3)

    with pytest.raises(StoreUnavailable, match="did not answer in time"):
        await store.query("SELECT sleep(3)")
    await store.ping()
    await store.close()


async def test_server_without_tls() -> None:
    """clickhouses:// to a port without TLS is a clear refusal, not a hang."""

    async def answer_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    store = NativeStore(f"clickhouses://127.0.0.1:{server.sockets[0].getsockname()[1]}/x")

    with pytest.raises(StoreUnavailable, match=r"cannot be reached: .*SSL"):
        await store.ping()
    await store.close()
    server.close()


async def test_server_that_refuses_the_user() -> None:
    """A server that refuses the connection is quoted, and the password is not.

    (The engine that stands in for a server in tests dies of a refusal, so this one is played.)
    """

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name, text = b"DB::Exception", b"somebody: Authentication failed"
        strings = b"".join(bytes([len(part)]) + part for part in (name, text, b""))
        writer.write(b"\x02" + (516).to_bytes(4, "little") + strings + b"\x00")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = NativeStore(f"clickhouse://somebody:secret@127.0.0.1:{port}/x")

    with pytest.raises(StoreUnavailable, match="refuses: somebody: Authentication failed") as refusal:
        await store.ping()
    await store.close()
    server.close()

    assert "secret" not in str(refusal.value)


async def test_wrong_sql(store: MigratableStore) -> None:
    """A wrong statement fails with ClickHouse's answer, and the next one works."""
    with pytest.raises(QueryFailed, match="nonsense"):
        await store.query("SELECT nonsense")

    assert await store.query("SELECT 1 AS one") == [{"one": 1}]


async def test_close_twice(unopened_store: MigratableStore) -> None:
    """Closing twice, or before anything was done, is harmless."""
    await unopened_store.close()
    await unopened_store.close()


async def test_two_processes_on_one_folder(embedded_store: MigratableStore, tmp_path: Path) -> None:
    """A folder that is open is refused with a sentence, and can be opened when it is closed."""
    from service.clickhouse.embedded import EmbeddedStore

    second = EmbeddedStore(tmp_path / "clickhouse")
    with pytest.raises(StoreUnavailable, match="is in use by another Gatehouse"):
        await second.start()
    await embedded_store.insert_block(make_block(FULL_EVENT))
    await embedded_store.close()

    await second.start()
    count = await _count(second)
    await second.close()

    assert count == 1
