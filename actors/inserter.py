"""The InserterActor: puts one block after the other into ClickHouse, however long ClickHouse is away.

It waits, backs off with jitter and tries again, always with the same block and so with the same deduplication
token: a try whose answer was lost does no harm. The buffer goes on taking events meanwhile, since this wait
is not its own. Blocks that lay on disk go at a bounded rate and by courtesy (``actors.courtesy``), so that
catching up leaves time for live events. Rows that ClickHouse refuses go to the quarantine, which is this
actor's own (``service.insertion``).
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from functools import partial
from typing import ClassVar, TypeVar

from actors.courtesy import Courtesy
from actors.messages import DropRows, Insert, Inserted, Postponed, RetryRows
from actors.runtime import Actor, Envelope
from actors.status import Status
from service.clickhouse.schema import EVENTS_TABLE, SESSIONS_TABLE
from service.clickhouse.store import Block, ClickhouseStore
from service.clock import Clock, stopwatch
from service.errors import JournalError, StoreUnavailable
from service.ingestion.rows import ClickhouseEvent
from service.insertion import build_in_steps, insert, note_sessions, read_in_steps, retry
from service.journal import Journal
from service.progress import RowTable
from service.quarantine import Quarantine
from service.segment import SegmentInfo
from service.telemetry import Telemetry
from service.tracing.records import BlockResult, BlockTrace

log = logging.getLogger(__name__)

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 15.0
LOG_EVERY_TRIES = 20
LET_GO_AT_ONCE = 1000
"""Rows that leave memory in one turn of the loop."""

R = TypeVar("R")


class InserterActor(Actor):
    """Holds at most one block; a second one waits in its mailbox."""

    kind: ClassVar[str] = "inserter"
    mailbox_bound: ClassVar[int] = 4

    def __init__(
        self,
        store: ClickhouseStore,
        journal: Journal,
        quarantine: Quarantine,
        status: Status,
        clock: Clock,
        telemetry: Telemetry,
        drain_max_events_per_s: float,
    ) -> None:
        self._store = store
        self._journal = journal
        self._quarantine = quarantine
        self._status = status
        self._clock = clock
        self._telemetry = telemetry
        self._drain_max_events_per_s = drain_max_events_per_s
        self._courtesy = Courtesy()
        self._drain_from_s = 0.0
        """When the next block of the backlog may go, on the clock of the loop."""
        for table in (EVENTS_TABLE, SESSIONS_TABLE):  # begun at 0, so that the first row is seen to come
            telemetry.count_rows(table.name, 0)
            telemetry.count_quarantined(table.name, 0)

    async def receive(self, envelope: Envelope) -> None:
        """Insert the block, or do what a person asks of the quarantine, and answer what became of it."""
        match envelope.message:
            case Insert() as message:
                with nullcontext() if message.trace is None else message.trace.current():
                    envelope.reply(await self._put(message))
            case RetryRows(ids=ids):
                await self._answer(envelope, lambda: retry(self._store, self._quarantine, ids))
            case DropRows(ids=ids):
                await self._answer(envelope, lambda: asyncio.to_thread(self._quarantine.remove, ids))

    async def _answer(self, envelope: Envelope, work: Callable[[], Awaitable[object]]) -> None:
        """Answer a person at once, with the error if there is one: they will ask again."""
        try:
            envelope.reply(await work())
        except (StoreUnavailable, JournalError) as error:
            envelope.fail(error)
        self._status.quarantine_error = None  # there may be room: postponed blocks are tried again

    async def _put(self, message: Insert) -> Inserted | Postponed:
        segment = message.segment
        if message.entries is None:
            await self._keep_to_rate(segment.records)
            data = await self._persist("read", lambda: asyncio.to_thread(self._journal.load, segment))
            steps = read_in_steps(self._journal, segment, data, message.trigger)
        else:
            steps = build_in_steps(segment.id, message.trigger, message.entries)
        self._courtesy.begin(self._status.events_waiting)
        block = await self._courtesy.walk(steps)
        result = await self._insert(block, segment, message.trace)
        if message.entries is None:
            rows = list(block.events)
            del block, steps
            await _let_go(rows)
        return result

    async def _keep_to_rate(self, events: int) -> None:
        """Wait until a block of the backlog may go: catching up must leave time for live events."""
        now = asyncio.get_running_loop().time()
        wait_s = self._drain_from_s - now
        self._drain_from_s = max(self._drain_from_s, now) + events / self._drain_max_events_per_s
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _insert(
        self, block: Block, segment: SegmentInfo, trace: BlockTrace | None
    ) -> Inserted | Postponed:
        progress = self._journal.progress(segment)

        async def attempt() -> str:
            began, outcome = stopwatch(), "failed"
            try:
                problem = await insert(
                    self._store,
                    block,
                    progress,
                    self._quarantine,
                    created_ms=segment.created_ms,
                    now=self._clock,
                )
                outcome = "inserted" if progress.is_untouched else "refused"
            finally:
                self._telemetry.record_insert(outcome, stopwatch() - began)
            return problem

        status = self._status
        problem = await self._persist(
            f"insert {block.id}", attempt if trace is None else partial(_followed, trace, attempt)
        )
        refused_events = progress.given_up(RowTable.EVENTS)
        refused_sessions = progress.given_up(RowTable.SESSIONS)
        refused = refused_events + refused_sessions
        if trace is not None:
            trace.finish(BlockResult(block.id, block.trigger, len(block.events), refused, bool(problem)))
        if problem:
            status.quarantine_error = problem
            log.error("Rows of block %s that ClickHouse refuses wait: %s", block.id, problem)
            return Postponed()
        sessions = self._journal.sessions
        if sessions is not None:
            await self._persist(
                f"note the sessions of {block.id}", lambda: asyncio.to_thread(note_sessions, sessions, block)
            )
        if refused:
            status.quarantine_error = None
            log.error(
                "ClickHouse refuses %d rows of block %s, they are in the quarantine: "
                "`gatehouse quarantine list` says why",
                refused,
                block.id,
            )
        status.blocks_rejected += refused > 0
        status.rows_quarantined += refused
        status.blocks_inserted += 1
        status.events_inserted += len(block.events) - refused_events
        telemetry = self._telemetry
        telemetry.count_rows(EVENTS_TABLE.name, len(block.events) - refused_events)
        telemetry.count_rows(SESSIONS_TABLE.name, len(block.sessions) - refused_sessions)
        if refused:
            telemetry.count_quarantined(EVENTS_TABLE.name, refused_events)
            telemetry.count_quarantined(SESSIONS_TABLE.name, refused_sessions)
        return Inserted()

    async def _persist(self, what: str, attempt: Callable[[], Awaitable[R]]) -> R:
        """Try until it works: ClickHouse, or the disk, comes back. Other errors are the caller's."""
        tries = 0
        while True:
            try:
                result = await attempt()
            except (StoreUnavailable, JournalError) as error:
                if tries % LOG_EVERY_TRIES == 0:
                    log.warning("%s does not work yet, the events wait in the journal: %s", what, error)
                tries += 1
                if self._status.away_since is None:
                    self._status.away_since = self._clock()
                self._status.insert_tries_failed += 1
                self._telemetry.count_insert_retry(error)
                await asyncio.sleep(choose_wait_s(tries, random.random()))  # noqa: S311 - not for secrecy
            else:
                if tries:
                    log.info("%s worked after %d tries", what, tries + 1)
                self._status.away_since = None
                return result


async def _let_go(rows: list[ClickhouseEvent]) -> None:
    """Let rows leave memory a few at a time: those of a block that was read from disk are nobody else's."""
    while rows:
        del rows[-LET_GO_AT_ONCE:]
        await asyncio.sleep(0)


async def _followed(trace: BlockTrace, attempt: Callable[[], Awaitable[R]]) -> R:
    with trace.insert():
        return await attempt()


def choose_wait_s(tries: int, chance: float) -> float:
    """Give how long to wait after so many failed tries: twice as long each time, up to 15 s.

    ``chance``, from 0 to 1, takes up to a half off, so that several services do not come back at the same
    instant.
    """
    longest: float = min(FIRST_WAIT_S * 2 ** min(tries - 1, 16), LONGEST_WAIT_S)
    return longest * (1 - chance / 2)
