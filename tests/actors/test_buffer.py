import asyncio
import sys
from pathlib import Path

import pytest

from actors.buffer import POSTPONED_RETRY_S, BlockLimits
from actors.system import SystemSettings
from service.clickhouse.store import BlockTrigger
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession
from service.ingestion.verdict import BUFFERED, Retry, RetryReason
from service.quarantine import read_rows
from tests.support.memory_store import MemoryStore
from tests.support.running_system import running_system

FAST = SystemSettings(tick_s=0.005)


async def test_a_block_closes_when_it_is_full(tmp_path: Path) -> None:
    """Seven events in blocks of three make two full blocks, and one by the flush."""
    settings = SystemSettings(block=BlockLimits(max_rows=3))
    async with running_system(tmp_path, settings=settings) as running:
        for _ in range(7):
            await running.send(running.request())
        await running.system.flush()

        assert [(block.trigger, len(block.events)) for block in running.store.blocks] == [
            (BlockTrigger.SIZE, 3),
            (BlockTrigger.SIZE, 3),
            (BlockTrigger.FLUSH, 1),
        ]


async def test_a_block_closes_when_it_is_large(tmp_path: Path) -> None:
    """A block whose entries reach the limit in bytes is closed, however few they are."""
    settings = SystemSettings(block=BlockLimits(max_bytes=1))
    async with running_system(tmp_path, settings=settings) as running:
        await running.send(running.request())
        await running.system.flush()

        assert [block.trigger for block in running.store.blocks] == [BlockTrigger.SIZE]


async def test_a_block_closes_when_it_is_old(tmp_path: Path) -> None:
    """An event is inserted without a flush once its block reached its age."""
    async with running_system(tmp_path, settings=FAST) as running:
        await running.send(running.request())
        running.clock.now += 2
        await asyncio.wait_for(running.store.offered.wait(), 10)

        assert [block.trigger for block in running.store.blocks] == [BlockTrigger.AGE]


async def test_what_is_stored_leaves_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of a stored block go a few at a time, so that a large one holds nothing up, and all of them."""
    monkeypatch.setattr("actors.buffer.LET_GO_AT_ONCE", 2)
    async with running_system(tmp_path, settings=FAST) as running:
        for _ in range(7):
            await running.send(running.request())
        await running.system.flush()
        first = running.store.events[0]
        (block,) = running.store.blocks

        assert first is block.events[0]
        async with asyncio.timeout(10):
            # Held by this function, the call, and the store's two lists: no longer by its entry.
            while sys.getrefcount(first) > 4:  # noqa: ASYNC110 - memory tells nobody
                await asyncio.sleep(0)


async def test_what_is_stored_leaves_memory_as_fast_as_events_come(tmp_path: Path) -> None:
    """Under a load that never rests it is not only the ticks, of which there are few, that let go of it."""
    settings = SystemSettings(tick_s=60, block=BlockLimits(max_rows=4000))
    async with running_system(tmp_path, settings=settings) as running:
        for _ in range(200):
            await running.send_batch([running.request()] * 100)
        stored = running.store.events

        assert len(stored) >= 12_000, "blocks were stored meanwhile"
        # Held by this loop, the call, and the store's two lists; more by their entries.
        assert sum(sys.getrefcount(event) > 4 for event in stored) <= 8000


async def test_session_rows_are_coalesced_within_a_block(tmp_path: Path) -> None:
    """Five pageviews of a visitor in one block are one session row."""
    async with running_system(tmp_path) as running:
        for _ in range(5):
            await running.send(running.request())
        await running.system.flush()

        assert [(sign, session.pageviews) for sign, session in running.store.sessions] == [(1, 5)]


async def test_what_clickhouse_does_not_take_is_stored_after_a_restart(tmp_path: Path) -> None:
    """Events taken while ClickHouse is away outlive the process and come in order, once each."""
    store = MemoryStore()
    store.away = True
    settings = SystemSettings(block=BlockLimits(max_rows=2, max_waiting=1))
    async with running_system(tmp_path, store=store, settings=settings) as running:
        for number in range(7):
            assert await running.send(running.request(pathname=f"/{number}")) == [BUFFERED]
        assert store.events == []
    store.away = False
    async with running_system(tmp_path, store=store, settings=settings) as running:
        await running.system.flush()

        assert [event.pathname for event in store.events] == [f"/{number}" for number in range(7)]
        assert [session.events for session in store.live_sessions()] == [7]
        assert not list((tmp_path / "journal").glob("*.gh"))


async def test_a_lost_answer_stores_nothing_twice(tmp_path: Path) -> None:
    """A block whose insert succeeded and whose answer was lost is sent again under the same id."""
    store = MemoryStore()
    store.loses_answers = 2
    async with running_system(tmp_path, store=store) as running:
        await running.send(running.request())
        await running.system.flush()

        assert len(store.blocks) == 3
        assert len({block.id for block in store.blocks}) == 1
        assert len(store.events) == 1


async def test_a_full_journal_refuses_and_takes_the_session_back(tmp_path: Path) -> None:
    """A refused event leaves no trace in its session; the sender may send it again later."""
    store = MemoryStore()
    store.away = True
    async with running_system(tmp_path, store=store, journal_max_bytes=2000) as running:
        verdicts = [(await running.send(running.request()))[0] for _ in range(20)]
        taken = verdicts.count(BUFFERED)
        readiness = running.system.readiness()
        store.away = False
        await running.system.flush()
        after = await running.send(running.request())
        await running.system.flush()

        assert 0 < taken < 20
        assert verdicts == [BUFFERED] * taken + [Retry(RetryReason.JOURNAL_UNAVAILABLE)] * (20 - taken)
        assert readiness.checks["journal"] != "ok"
        assert after == [BUFFERED]
        assert len(store.events) == taken + 1
        assert [session.events for session in store.live_sessions()] == [taken + 1]


async def test_refusals_in_flight_do_not_break_later_sessions(tmp_path: Path) -> None:
    """Many events at once against a nearly full journal: what is stored sums up to what was acknowledged."""
    store = MemoryStore()
    store.away = True
    async with running_system(tmp_path, store=store, journal_max_bytes=6000) as running:
        requests = [running.request(visitor=number % 5) for number in range(60)]
        first = await asyncio.gather(*(running.send(request) for request in requests))
        store.away = False
        await running.system.flush()
        second = await asyncio.gather(*(running.send(request) for request in requests[:5]))
        await running.system.flush()
        acknowledged = sum(verdicts == [BUFFERED] for verdicts in (*first, *second))

        assert len(store.events) == acknowledged
        assert sum(session.events for session in store.live_sessions()) == acknowledged
        assert len(store.live_sessions()) == len({event.session_id for event in store.events})


def _is_poison(row: ClickhouseEvent | ClickhouseSession) -> bool:
    return (row.pathname if isinstance(row, ClickhouseEvent) else row.entry_page) == "/poison"


async def test_a_row_that_is_refused_holds_nothing_up(tmp_path: Path) -> None:
    """Rows that ClickHouse never takes go to the quarantine; their block's rest and the next one go on."""
    store = MemoryStore()
    store.refuses = _is_poison
    async with running_system(tmp_path, store=store) as running:
        for visitor, pathname in enumerate(("/1", "/poison", "/2", "/3"), start=1):
            await running.send(running.request(pathname=pathname, visitor=visitor))
        await running.system.flush()
        await running.send(running.request(pathname="/4", visitor=5))
        await running.system.flush()
        statistics = running.system.statistics

        assert [event.pathname for event in store.events] == ["/1", "/2", "/3", "/4"]
        assert [session.entry_page for session in store.live_sessions()] == ["/1", "/2", "/3", "/4"]
        assert [(row.table, row.row) for row in read_rows(tmp_path / "quarantine")] == [
            ("events", 1),
            ("sessions", 1),
        ]
        assert (statistics["blocks_rejected"], statistics["blocks_inserted"]) == (1, 2)
        assert (statistics["rows_quarantined"], statistics["quarantine_rows"]) == (2, 2)
        assert statistics["events_inserted"] == 4
        assert not list((tmp_path / "journal").glob("0*"))


async def test_a_full_quarantine_loses_nothing_and_holds_nothing_up(tmp_path: Path) -> None:
    """Refused rows without room wait in the journal, over a restart too; what is good is stored at once."""
    store = MemoryStore()
    store.refuses = _is_poison
    async with running_system(tmp_path, store=store, quarantine_max_bytes=10) as running:
        for visitor, pathname in enumerate(("/1", "/poison", "/2"), start=1):
            await running.send(running.request(pathname=pathname, visitor=visitor))
        await running.system.flush()
        await running.send(running.request(pathname="/3", visitor=4))
        await running.system.flush()
        statistics = running.system.statistics

        assert [event.pathname for event in store.events] == ["/1", "/2", "/3"]
        assert (statistics["blocks_postponed"], statistics["quarantine_rows"]) == (1, 0)
        assert statistics["events_waiting"] == 3
        assert "full" in running.system.readiness().checks["quarantine"]
        assert running.system.readiness().ready
    store.refuses = lambda _: False
    async with running_system(tmp_path, store=store) as running:
        await running.system.flush()

        assert [event.pathname for event in store.events] == ["/1", "/2", "/3"]
        assert len(store.live_sessions()) == 3
        assert [(row.table, row.row) for row in read_rows(tmp_path / "quarantine")] == [
            ("events", 1),
            ("sessions", 1),
        ]
        assert not list((tmp_path / "journal").glob("0*"))
        assert running.system.readiness().checks["quarantine"] == "ok"


async def test_postponed_blocks_are_tried_again_after_a_while(tmp_path: Path) -> None:
    """The disk may have room again without anybody saying so."""
    store = MemoryStore()
    store.refuses = _is_poison
    async with running_system(tmp_path, store=store, settings=FAST) as running:
        (tmp_path / "quarantine").rmdir()  # the disk refuses
        await running.send(running.request(pathname="/poison"))
        await running.system.flush()
        assert running.system.statistics["blocks_postponed"] == 1

        (tmp_path / "quarantine").mkdir()
        running.clock.now += POSTPONED_RETRY_S
        async with asyncio.timeout(10):
            while running.system.statistics["events_waiting"]:  # noqa: ASYNC110 - nobody tells of it
                await asyncio.sleep(0.005)

        assert running.system.statistics["quarantine_rows"] == 2
        assert running.system.statistics["blocks_postponed"] == 0


async def test_memory_durability_leaves_no_file(tmp_path: Path) -> None:
    """With ``memory`` events are inserted all the same, and the journal's folder stays empty."""
    async with running_system(tmp_path, durability="memory") as running:
        await running.send(running.request())
        files = list((tmp_path / "journal").glob("*.gh"))
        await running.system.flush()

        assert files == []
        assert len(running.store.events) == 1


async def test_fsync_durability_acknowledges_too(tmp_path: Path) -> None:
    """With ``fsync`` many events at once are acknowledged and stored."""
    async with running_system(tmp_path, durability="fsync") as running:
        sent = await asyncio.gather(*(running.send(running.request(visitor=number)) for number in range(50)))
        await running.system.flush()

        assert sent == [[BUFFERED]] * 50
        assert len(running.store.events) == 50
