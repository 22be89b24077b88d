"""What the running system tells telemetry of itself."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors.buffer import BlockLimits
from actors.condition import TRIED_AGAIN_S
from actors.counters import FLUSH_INTERVAL_S
from actors.mailbox import MailboxStatistics
from actors.measures import MAX_MARKS, WaitWatch
from actors.system import SLOW_TICK_EVERY, SystemSettings
from service.clickhouse.store import CounterRow
from service.ingestion.verdict import BUFFERED, DropReason
from service.sites.records import Limits, ShieldKind
from service.telemetry import Distribution, catalogue
from service.telemetry.counting import STEPS_MEASURED_EVERY
from service.telemetry.figures import Measured
from service.telemetry.metric import Metric
from tests.support.memory_store import MemoryStore
from tests.support.probe import until
from tests.support.running_system import RunningSystem, running_system

OUTSIDE_THE_SYSTEM = {
    catalogue.REQUEST_DURATION,
    catalogue.BUILD_INFO,
    catalogue.USER_AGENTS_GIVEN_UP,
    catalogue.EXPORTS_FAILED,
    catalogue.TRACES_CUT,
    catalogue.SPAN_LINKS_CUT,
    catalogue.CONNECTIONS_OPEN,
    catalogue.CONNECTIONS_LIMIT,
    catalogue.CONNECTIONS_LET_GO,
    catalogue.CONNECTIONS_REFUSED,
    catalogue.SPANS_LOST,
    catalogue.ADMIN_REFUSALS,
}
"""Measured by HTTP, the tables, the export and the tracing."""

NOT_ALWAYS = {
    catalogue.GEO_DATABASE_AGE,
    catalogue.INSERT_RETRIES,
}
"""The table of countries has no date, and which errors ClickHouse will give is not known beforehand."""


def read(running: RunningSystem) -> list[Measured]:
    """Give all figures of the system and of its telemetry."""
    return [*running.telemetry.measure(), *running.system.figures()]


def value(figures: list[Measured], metric: Metric, **attributes: str) -> float:
    """Give the one number of the series."""
    (found,) = [
        figure.value for figure in figures if figure.metric == metric and figure.attributes == attributes
    ]
    assert not isinstance(found, Distribution)
    return found


async def test_the_counters_equal_what_was_sent(tmp_path: Path) -> None:
    """Reason by reason, and what was stored equals what was buffered, with its delay."""
    async with running_system(tmp_path, domains=["open.example"]) as running:
        await running.add_site("full.example", Limits(threshold=2))
        shielded = await running.add_site("shielded.example")
        await running.add_shield(shielded, ShieldKind.IP, "203.0.113.9")
        for visitor in range(1, 6):
            await running.send(running.request("open.example", "full.example", visitor=visitor))
        for _ in range(4):
            await running.send(running.request("shielded.example", "nobody.example", visitor=9))
        await running.system.flush()
        await running.system.stop(deadline_s=2.0)
        figures = read(running)

    assert value(figures, catalogue.EVENTS_BUFFERED) == 7
    dropped = {reason: value(figures, catalogue.EVENTS_DROPPED, reason=reason.value) for reason in DropReason}
    assert {reason: count for reason, count in dropped.items() if count} == {
        DropReason.THROTTLE: 3,
        DropReason.SITE_IP_BLOCKLIST: 4,
        DropReason.NOT_FOUND: 4,
    }
    assert value(figures, catalogue.EVENTS_INSERTED) == 7
    assert value(figures, catalogue.EVENTS_WAITING) == 0
    assert value(figures, catalogue.ROWS_INSERTED, table="events_v2") == 7
    (delay,) = [figure.value for figure in figures if figure.metric == catalogue.EVENT_DELAY]
    assert isinstance(delay, Distribution)
    assert delay.total == 7
    (blocks,) = [figure.value for figure in figures if figure.metric == catalogue.BLOCK_SIZE]
    assert isinstance(blocks, Distribution)
    assert blocks.sum == 7


async def test_every_metric_of_the_system_is_reported(tmp_path: Path) -> None:
    """A system that took as many events as it takes to measure steps leaves none of the catalogue out."""
    async with running_system(tmp_path, durability="fsync", settings=SystemSettings(tick_s=0.01)) as running:
        await running.send_batch(
            [running.request(visitor=number % 250) for number in range(STEPS_MEASURED_EVERY)]
        )
        await running.system.flush()
        await running.system.stop(deadline_s=2.0)
        reported = {figure.metric for figure in read(running)}
        attributes = {figure.metric: set(figure.attributes) for figure in read(running)}

    assert set(catalogue.CATALOGUE) - reported == OUTSIDE_THE_SYSTEM | NOT_ALWAYS
    assert all(names == set(metric.attributes) for metric, names in attributes.items())


async def test_what_should_not_happen_begins_at_0(tmp_path: Path) -> None:
    """Prometheus sees growth between two values only: without a 0 before it, the first crash is not seen."""
    async with running_system(tmp_path) as running:
        await running.system.stop(deadline_s=2.0)
        figures = read(running)

    for kind in ("front", "site", "buffer", "inserter", "counters", "salts", "directory", "tables"):
        assert value(figures, catalogue.ACTOR_RESTARTS, **{"actor.kind": kind}) == 0
        for reason in ("full", "stopped"):
            assert value(figures, catalogue.DEAD_LETTERS, **{"actor.kind": kind}, reason=reason) == 0
    for table in ("events_v2", "sessions_v2"):
        assert value(figures, catalogue.ROWS_QUARANTINED, table=table) == 0
    assert value(figures, catalogue.ROWS_INSERTED, table="ingest_counters") == 0


async def test_waiting_for_clickhouse_loses_no_message(tmp_path: Path) -> None:
    """Counters that are being written for long are called once, not until their mailbox is full."""

    class Hanging(MemoryStore):
        async def insert_counters(self, rows: Sequence[CounterRow], *, token: str) -> None:
            began.set()
            await goes_on.wait()

    began, goes_on = asyncio.Event(), asyncio.Event()
    settings = SystemSettings(tick_s=0.0001)
    async with running_system(tmp_path, store=Hanging(), settings=settings) as running:
        await running.send(running.request())
        running.clock.now += FLUSH_INTERVAL_S  # the first ticks may have come before the event
        await began.wait()
        first = running.system._ticks
        try:
            for slow_tick in range(30):
                await until(lambda: running.system._ticks >= first + slow_tick * SLOW_TICK_EVERY)  # noqa: B023
        finally:
            goes_on.set()
        await running.system.stop(deadline_s=2.0)
        figures = read(running)

    assert value(figures, catalogue.DEAD_LETTERS, **{"actor.kind": "counters"}, reason="full") == 0


async def test_a_journal_that_is_full_is_seen(tmp_path: Path) -> None:
    """Refusals are counted by reason, and the journal's size stands beside its limit."""
    async with running_system(tmp_path, journal_max_bytes=2000) as running:
        running.store.away = True
        for visitor in range(1, 30):
            await running.send(running.request(visitor=visitor))
        running.store.away = False
        figures = list(running.telemetry.measure())
        assert value(figures, catalogue.EVENTS_REFUSED, reason="journal_unavailable") > 0
        total = value(figures, catalogue.EVENTS_BUFFERED) + value(
            figures, catalogue.EVENTS_REFUSED, reason="journal_unavailable"
        )

    assert total == 29


def mailbox(taken: int, depth: int) -> MailboxStatistics:
    """Give figures of a mailbox."""
    return MailboxStatistics(taken + depth, taken, 0, depth, depth, 0)


class TestWaitWatch:
    @pytest.mark.parametrize(
        ("looks", "age_s"),
        [
            pytest.param([(0, 0)], 0, id="empty"),
            pytest.param(
                [(0, 1), (0, 1), (0, 5)], 2, id="stuck: the first message has waited since the first look"
            ),
            pytest.param(
                [(0, 3), (3, 3), (6, 3)], 0, id="busy: all that was there is taken by the next look"
            ),
            pytest.param(
                [(0, 3), (0, 6), (3, 3), (4, 2)], 2, id="behind: the oldest came before the second look"
            ),
            pytest.param([(0, 3), (3, 0)], 0, id="done"),
        ],
    )
    def test_age_of_the_oldest(self, looks: list[tuple[int, int]], age_s: float) -> None:
        """One look a second."""
        watch = WaitWatch()
        for now, (taken, depth) in enumerate(looks):
            watch.look(mailbox(taken, depth), now)

        assert watch.age_s == age_s

    def test_a_long_wait_keeps_few_marks(self) -> None:
        """However long a mailbox grows, its oldest message's age is right."""
        watch = WaitWatch()
        for now in range(10 * MAX_MARKS):
            watch.look(mailbox(0, now + 1), now)

        assert watch.age_s == 10 * MAX_MARKS - 1
        assert len(watch._marks) <= MAX_MARKS


async def test_a_full_journal_is_not_ready(tmp_path: Path) -> None:
    """Readiness says so while events are refused; later somebody may try, and what works ends it."""
    settings = SystemSettings(tick_s=0.01, block=BlockLimits(max_rows=1))
    async with running_system(tmp_path, journal_max_bytes=2000, settings=settings) as running:
        running.store.away = True
        while (await running.send(running.request()))[0] == BUFFERED:
            pass
        await until(lambda: running.system.readiness().checks["clickhouse"] != "ok")
        full = running.system.readiness()
        running.clock.now += TRIED_AGAIN_S
        later = running.system.readiness()
        running.store.away = False
        await running.system.flush()
        await running.send(running.request())
        after = running.system.readiness()

    assert not full.ready
    assert full.checks["journal"] == "it is full, senders get 503"
    assert full.checks["clickhouse"].endswith("events wait in the journal, which is full")
    assert later.ready
    assert later.checks["journal"] == "it was full 10 s ago, the next event tries it again"
    assert (after.ready, after.checks["journal"]) == (True, "ok")


async def test_an_outage_is_told_with_its_figures(tmp_path: Path) -> None:
    """Readiness says since when ClickHouse is away and what the journal still holds; events are taken."""
    settings = SystemSettings(tick_s=0.01, block=BlockLimits(max_rows=1))
    async with running_system(tmp_path, settings=settings) as running:
        running.store.away = True
        await running.send(running.request())
        await until(lambda: running.system.readiness().checks["clickhouse"] != "ok")
        running.clock.now += 40
        report = running.system.readiness()
        running.store.away = False
        await running.system.flush()
        after = running.system.readiness()

    assert report.ready
    assert report.checks["clickhouse"].startswith("away for 40 s, events wait in the journal, which")
    assert after.checks["clickhouse"] == "ok"
