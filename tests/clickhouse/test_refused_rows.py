"""Rows that a real ClickHouse refuses: found wherever they are, kept, and the rest stored exactly once."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from service.clickhouse.migrations import MigratableStore, migrate
from service.clickhouse.native import NativeStore
from service.clickhouse.store import Block
from service.errors import BlockRejected, StoreUnavailable
from service.ingestion.rows import ClickhouseSession
from service.insertion import Retried, retry
from service.progress import Progress
from service.quarantine import Quarantine, read_rows
from tests.support.clickhouse import ClickhouseServer
from tests.support.crashes import CREATED_MS, Died, insert_until
from tests.support.rows import EMPTY_EVENT, FULL_SESSION, make_block

BAD_FROM = 1_000_000
"""Site ids from here on are refused by both tables."""
_A_MONTH_S = 31 * 86_400


@pytest.fixture
async def picky_store(store: MigratableStore) -> MigratableStore:
    """A store whose tables refuse some rows."""
    await _refuse(store)
    return store


async def _refuse(store: MigratableStore) -> None:
    for table in ("events_v2", "sessions_v2"):
        await store.execute(f"ALTER TABLE {table} ADD CONSTRAINT known CHECK site_id < {BAD_FROM}")


async def _take_all(store: MigratableStore) -> None:
    for table in ("events_v2", "sessions_v2"):
        await store.execute(f"ALTER TABLE {table} DROP CONSTRAINT known")


def _block(
    events: int, bad_events: Iterable[int] = (), sessions: int = 0, bad_sessions: Iterable[int] = ()
) -> Block:
    """Give a block whose rows have numbers for site ids; bad ones have them from ``BAD_FROM`` on."""
    bad, bad_states = set(bad_events), set(bad_sessions)
    rows = [
        replace(
            EMPTY_EVENT,
            site_id=number + (BAD_FROM if number in bad else 0),
            timestamp=EMPTY_EVENT.timestamp - number % 2 * _A_MONTH_S,
        )
        for number in range(events)
    ]
    states = tuple(
        (
            1,
            replace(
                FULL_SESSION, session_id=number, site_id=number + (BAD_FROM if number in bad_states else 0)
            ),
        )
        for number in range(sessions)
    )
    return make_block(*rows, sessions=states, block_id="0" * 32)


async def _stored(store: MigratableStore, table: str) -> list[int]:
    rows = await store.query(f"SELECT toUInt32(site_id) AS id FROM {table} ORDER BY site_id")
    return [int(str(row["id"])) for row in rows]


def _kept(folder: Path, table: str) -> list[int]:
    return sorted(row.values.site_id for row in read_rows(folder / "quarantine") if row.table == table)


async def _check_each_once(store: MigratableStore, folder: Path, block: Block) -> None:
    """Stored and quarantined together are the block's rows, one copy of each."""
    events = await _stored(store, "events_v2") + _kept(folder, "events")
    sessions = await _stored(store, "sessions_v2") + _kept(folder, "sessions")
    assert sorted(events) == sorted(event.site_id for event in block.events)
    assert sorted(sessions) == sorted(state.site_id for _, state in block.sessions)


async def _check_good_stored(store: MigratableStore, folder: Path, block: Block) -> None:
    await _check_each_once(store, folder, block)
    assert await _stored(store, "events_v2") == [
        event.site_id for event in block.events if event.site_id < BAD_FROM
    ]
    assert await _stored(store, "sessions_v2") == [
        state.site_id for _, state in block.sessions if state.site_id < BAD_FROM
    ]


async def test_nothing_of_a_refused_insert_is_stored(picky_store: MigratableStore) -> None:
    """The last row of many pieces and months is refused, and with it all the others."""
    with pytest.raises(BlockRejected):
        await picky_store.insert_block(_block(3_000, [2_999]))

    assert await _stored(picky_store, "events_v2") == []


async def test_nothing_is_stored_whatever_the_session_says(native_store: MigratableStore) -> None:
    """Where the server would store an insert bit by bit, by its user's profile, the insert says otherwise."""
    assert isinstance(native_store, NativeStore)
    await _refuse(native_store)
    async with native_store._inserts.use() as connection:
        await connection.execute("SET min_insert_block_size_rows = 100, min_insert_block_size_bytes = 1")

    with pytest.raises(BlockRejected):
        await native_store.insert_block(_block(3_000, [2_999]))

    assert await _stored(native_store, "events_v2") == []


@pytest.mark.parametrize(
    ("events", "bad_events", "sessions", "bad_sessions"),
    [
        pytest.param(1, [0], 0, [], id="the only row"),
        pytest.param(1, [0], 1, [], id="an event, its session is stored"),
        pytest.param(1, [], 1, [0], id="a session, its event is stored"),
        pytest.param(0, [], 2, [1], id="sessions alone"),
        pytest.param(9, [0, 8], 5, [2], id="first, last and middle"),
        pytest.param(6, range(6), 6, range(6), id="all"),
        pytest.param(2_600, [499, 500, 1_301, 2_599], 700, [699], id="many pieces"),
    ],
)
async def test_bad_rows_are_found(
    picky_store: MigratableStore,
    tmp_path: Path,
    events: int,
    bad_events: Sequence[int],
    sessions: int,
    bad_sessions: Sequence[int],
) -> None:
    """Exactly the rows that ClickHouse refuses are in the quarantine, as they were, with the reason."""
    block = _block(events, bad_events, sessions, bad_sessions)

    problem, _ = await insert_until(-1, picky_store, block, tmp_path)

    assert problem == ""
    await _check_good_stored(picky_store, tmp_path, block)
    for row in read_rows(tmp_path / "quarantine"):
        assert "Constraint `known`" in row.reason
        if isinstance(row.values, ClickhouseSession):
            assert (row.sign, row.values) == block.sessions[row.row]
        else:
            assert row.values == block.events[row.row]


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_bad_rows_anywhere(picky_store: MigratableStore, data: st.DataObject) -> None:
    """Wherever the bad rows are and wherever it dies: stored and quarantined are all rows, once."""
    events, sessions = data.draw(st.integers(1, 40)), data.draw(st.integers(0, 10))
    bad_events = data.draw(st.sets(st.integers(0, events - 1), max_size=6))
    bad_sessions = data.draw(st.sets(st.integers(0, sessions - 1), max_size=3)) if sessions else set()
    for table in ("events_v2", "sessions_v2"):
        await picky_store.execute(f"TRUNCATE TABLE {table}")
    block = _block(events, bad_events, sessions, bad_sessions)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for death in data.draw(st.lists(st.integers(0, 30), max_size=4)):
            try:
                await insert_until(death, picky_store, block, folder)
            except Died:
                continue
        await insert_until(-1, picky_store, block, folder)

        await _check_good_stored(picky_store, folder, block)


@pytest.mark.parametrize("constraint", ["stays", "goes"])
async def test_killed_at_every_step(picky_store: MigratableStore, tmp_path: Path, constraint: str) -> None:
    """Killed before and after each insert and each write, it goes on and stores each row once.

    Also when what ClickHouse refused before the kill is taken after it.
    """
    block = _block(4, [1], 2, [1])
    step, died = 0, True
    while died:
        for table in ("events_v2", "sessions_v2"):
            await picky_store.execute(f"TRUNCATE TABLE {table}")
        folder = tmp_path / str(step)
        folder.mkdir()
        try:
            await insert_until(step, picky_store, block, folder)
            died = False
        except Died:
            pass
        if constraint == "goes":
            await _take_all(picky_store)
        await insert_until(-1, picky_store, block, folder)
        if constraint == "goes":
            await _refuse(picky_store)
        await _check_each_once(picky_store, folder, block)
        step += 1
    assert step > 30, "an insert of this block has many steps"


async def test_away_in_the_middle(picky_store: MigratableStore, tmp_path: Path) -> None:
    """A database that goes away among the parts, with or without having stored one, changes nothing."""
    block = _block(8, [3], 2, [0])

    class Away:
        """Every third call fails: by turns before and after the insert."""

        calls = 0

        async def insert_block(self, part: Block) -> None:
            self.calls += 1
            if self.calls % 6 == 3:
                raise StoreUnavailable("away")
            await picky_store.insert_block(part)
            if self.calls % 6 == 0:
                raise StoreUnavailable("the answer was lost")

    away = Away()
    failures = 0
    while True:
        try:
            await insert_until(-1, away, block, tmp_path)  # type: ignore[arg-type]  # all that is used
            break
        except StoreUnavailable:
            failures += 1

    assert failures >= 2
    await _check_good_stored(picky_store, tmp_path, block)


async def test_server_killed_in_the_middle(clickhouse_server: ClickhouseServer, tmp_path: Path) -> None:
    """A server that is killed among the parts has each row once when it is back."""
    store = NativeStore(f"{clickhouse_server.url}/killed_among_parts")
    await migrate(store, cluster=None)
    await _refuse(store)
    block = _block(30, [7, 21], 5, [1])

    class Killing:
        """Kills the server after the sixth part."""

        calls = 0

        async def insert_block(self, part: Block) -> None:
            await store.insert_block(part)
            self.calls += 1
            if self.calls == 6:
                clickhouse_server.kill()
                raise StoreUnavailable("the answer was lost")

    killing = Killing()
    with pytest.raises(StoreUnavailable):
        await insert_until(-1, killing, block, tmp_path)  # type: ignore[arg-type]  # all that is used
    clickhouse_server.restart()
    try:
        await insert_until(-1, store, block, tmp_path)
    except StoreUnavailable:  # the connection that died
        await insert_until(-1, store, block, tmp_path)

    await _check_good_stored(store, tmp_path, block)
    await store.execute("DROP DATABASE killed_among_parts SYNC")
    await store.close()


async def test_full_quarantine(picky_store: MigratableStore, tmp_path: Path) -> None:
    """What is good is stored at once; what has no room waits, and is kept when there is some."""
    block = _block(20, [3, 4, 17], 2, [1])
    room_for_one = 600

    problem, _ = await insert_until(-1, picky_store, block, tmp_path, quarantine_max_bytes=room_for_one)
    kept = list(read_rows(tmp_path / "quarantine"))
    stored = await _stored(picky_store, "events_v2")
    await _take_all(picky_store)
    again, steps = await insert_until(-1, picky_store, block, tmp_path)

    assert "quarantine_max_bytes" in problem
    assert len(kept) == 1
    assert stored == [number for number in range(20) if number not in (3, 4, 17)]
    assert again == ""
    assert steps == 2 * (3 + 3), "three rows are added and three parts finished; nothing is sent again"
    await _check_good_stored(picky_store, tmp_path, block)


async def test_a_table_that_refuses_everything(
    native_store: MigratableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search ends at its bound: the rest is tried once more in large parts and kept as it is."""
    await _refuse(native_store)
    monkeypatch.setattr("service.insertion.MAX_SPLITS", 30)
    rows = 200
    block = _block(rows, range(rows))

    await insert_until(-1, native_store, block, tmp_path)

    await _check_good_stored(native_store, tmp_path, block)
    splits = (tmp_path / "block.progress").read_text().count("split")
    assert splits == 30


async def test_retried(picky_store: MigratableStore, tmp_path: Path) -> None:
    """Rows of the quarantine are stored once their tables take them, each once, and leave it."""
    block = _block(4, [2], 3, [1])
    await insert_until(-1, picky_store, block, tmp_path)
    rows = list(read_rows(tmp_path / "quarantine"))
    ids = [row.id for row in rows]
    quarantine = _quarantine(tmp_path)
    refused = await retry(picky_store, quarantine, ids)
    await _take_all(picky_store)

    stored = await retry(picky_store, quarantine, [*ids, "none"])
    for row in rows:  # the first retry's process may have died before it let go of them
        quarantine.add(row, created_ms=CREATED_MS)
    again = await retry(picky_store, _quarantine(tmp_path), ids)

    assert (refused.stored, list(refused.refused)) == (0, ids)
    assert "Constraint `known`" in refused.refused[ids[0]]
    assert stored == again == Retried(2, {})
    assert _quarantine(tmp_path).rows == 0
    assert await _stored(picky_store, "events_v2") == sorted(event.site_id for event in block.events)
    assert await _stored(picky_store, "sessions_v2") == sorted(state.site_id for _, state in block.sessions)


def _quarantine(folder: Path) -> Quarantine:
    return Quarantine.open(folder / "quarantine", max_bytes=2**30, sync=False)


async def test_value_that_fits_no_column(store: MigratableStore, tmp_path: Path) -> None:
    """What our own check refuses before anything is sent is found and kept in the same way."""
    rows = [replace(EMPTY_EVENT, site_id=number) for number in range(9)]
    rows[5] = replace(rows[5], scroll_depth=256)
    block = make_block(*rows, block_id="0" * 32)

    await insert_until(-1, store, block, tmp_path)

    await _check_each_once(store, tmp_path, block)
    [row] = read_rows(tmp_path / "quarantine")
    assert (row.row, row.reason) == (5, "row 0: scroll_depth is outside of 0 to 255")


async def test_good_block_leaves_no_trace(store: MigratableStore, tmp_path: Path) -> None:
    """A block that ClickHouse takes costs two inserts and no file."""
    _, steps = await insert_until(-1, store, _block(3, [], 2, []), tmp_path)

    assert steps == 2
    assert not (tmp_path / "block.progress").exists()
    assert Quarantine.open(tmp_path / "quarantine", max_bytes=1, sync=False).rows == 0
    assert Progress(None, sync=False).is_untouched
