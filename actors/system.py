"""The System: builds the tree of actors, gives it its ticks, says how it is, drains.

Start: salts, directory, counters, inserter, buffer, tables, front; stop is the reverse, so that what is in
flight reaches the journal before anything it needs is gone. This is all that HTTP and the command line know
of the actors.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from actors.awake_sites import LEAST_PATIENCE_S, AwakeSites
from actors.buffer import BlockLimits, BufferActor
from actors.condition import Front, Readiness, find_readiness, read_statistics
from actors.counters import CountersActor
from actors.directory import Directory, DirectoryActor
from actors.explainer import Explainer
from actors.front import FrontActor
from actors.inserter import InserterActor
from actors.measures import Measures, Observed
from actors.messages import (
    BuildResult,
    CloseDoor,
    DropRows,
    Flush,
    Ingest,
    IngestBatch,
    Reload,
    RetryRows,
    Tick,
)
from actors.outlook import GrowthRate
from actors.patience import Patience
from actors.runtime import Actor, ActorError, Envelope, Ref
from actors.salts import SaltBook, SaltsActor
from actors.session_book import KEPT_S, SessionBudget
from actors.site import SiteSurroundings
from actors.status import Status
from actors.supervision import ChildSpec, Down, Supervisor
from actors.tables import Refreshable, TablesActor
from actors.turns import Turns
from service.clickhouse.store import ClickhouseStore
from service.clock import Clock
from service.errors import StoreUnavailable
from service.ingestion.event import Tables
from service.ingestion.explanation import Explanation
from service.ingestion.request import Request
from service.ingestion.verdict import Retry, RetryReason
from service.insertion import Retried
from service.journal import Journal
from service.quarantine import Quarantine
from service.remembered_keys import RememberedKeys
from service.sites.cache import SiteCache
from service.sites.store import SiteStore
from service.telemetry import Measured, Telemetry
from service.tracing.records import RequestTrace
from service.tracing.spans import Tracing

log = logging.getLogger(__name__)

SLOW_TICK_EVERY: Final = 10
"""Salts, directory and counters get every tenth tick."""
TABLES_TICK_EVERY: Final = 50
"""Tables get every fiftieth tick: even an actor that crashes at each of them stays within its budget."""
TABLES_SHUTDOWN_S: Final = 0.5
"""What it fetches meanwhile is fetched again by the next start."""
INSERTER_SHUTDOWN_S: Final = 0.5
"""It had the whole deadline of the stop; a block that is cut off now is sent again by the next start."""
FLUSH_TIMEOUT_S: Final = 600.0
RELOAD_TIMEOUT_S: Final = 10.0
QUARANTINE_TIMEOUT_S: Final = 30.0
OVERLOADED: Final = Retry(RetryReason.OVERLOADED)
NOT_READY: Final = Retry(RetryReason.NOT_READY)


class SystemSettings(Struct, frozen=True, kw_only=True):
    """The bounds and times of the system; each is a setting of the configuration."""

    max_in_flight: int = 2000
    """Requests without an answer; more are refused with ``overloaded``."""
    ask_timeout_s: float = 1.0
    """How long a request waits for its site to take it up before the verdict is ``lock_timeout``."""
    max_wait_s: float = 0.1
    """How long a line may be, at the door and at each site: what would wait longer is refused at once."""
    site_idle_s: float = 300.0
    site_refresh_s: float = 900.0
    max_sessions: int = 1_000_000
    drain_max_events_per_s: float = 20_000.0
    """How fast blocks that lay on disk are inserted once ClickHouse takes them again."""
    block: BlockLimits = BlockLimits()
    tick_s: float = 0.1
    """How often front and buffer look at the clock; all other intervals are multiples of it."""


class System:
    """The running system. Give it started stores; ``start`` it, and ``stop`` it before they are closed."""

    def __init__(
        self,
        *,
        site_store: SiteStore,
        clickhouse: ClickhouseStore,
        journal: Journal,
        quarantine: Quarantine,
        tables: Tables,
        telemetry: Telemetry,
        keys: RememberedKeys,
        clock: Clock,
        settings: SystemSettings,
        memories: dict[int, bytes] | None = None,
        refreshed: Sequence[Refreshable] = (),
        tracing: Tracing | None = None,
    ) -> None:
        self._site_store = site_store
        self._clickhouse = clickhouse
        self._journal = journal
        self._quarantine = quarantine
        self._tables = tables
        self._telemetry = telemetry
        self._keys = keys
        self._tracing = tracing
        self._clock = clock
        self._settings = settings
        self._patience = Patience(settings.max_wait_s)
        self._status = Status()
        self._salts = SaltBook()
        self._directory = Directory()
        turns = Turns()
        self._supervisor = Supervisor(on_down=self._part_went_down, turns=turns)
        """Of the tree, whose parts depend on each other and are stopped one by one."""
        self._sites = AwakeSites(clock, turns)
        self._memories: dict[int, bytes] = {} if memories is None else memories
        """What sites remember of an earlier life and have not taken up yet."""
        self._explainer = Explainer(
            directory=self._directory,
            load_site=site_store.get,
            salts=self._salts,
            tables=tables,
            memories=self._memories,
            clock=clock,
            find_awake=self._sites.by_id.get,
            is_down=self._sites.is_down,
        )
        self._memories_end = clock() + KEPT_S
        """When no session of an earlier life can go on any more, UTC epoch seconds."""
        self._tree: dict[str, Ref[Any]] = {}
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tick_due = 0.0
        """When the next tick is due, on the clock of the loop."""
        self._journal_growth = GrowthRate()
        """Bytes appended to the journal a second."""
        self._observed = Observed(
            telemetry=telemetry,
            status=self._status,
            directory=self._directory,
            budget=SessionBudget(settings.max_sessions),
            salts=self._salts,
            site_cache=SiteCache(site_store, ttl_s=settings.site_refresh_s),
            keys=keys,
            journal=journal,
            quarantine=quarantine,
            geo=tables.geo,
            tree=self._tree,
            sites=self._sites.by_id,
            supervisors=(self._supervisor, self._sites.supervisor),
            refreshed=refreshed,
        )
        self._measures = Measures(self._observed)
        self._accepting = False
        self._down_part: str | None = None
        """The part of the tree that crashed too often."""

    async def start(self) -> None:
        """Start the tree; afterwards events are taken. Raises when the salts or the sites cannot be read."""
        settings = self._settings
        await self._start_child("salts", lambda: SaltsActor(self._site_store, self._salts, self._clock))
        await self._start_child("directory", self._new_directory)
        await self._start_child(
            "counters", lambda: CountersActor(self._clickhouse, self._telemetry, self._directory)
        )
        inserter = await self._start_child(
            "inserter",
            lambda: InserterActor(
                self._clickhouse,
                self._journal,
                self._quarantine,
                self._status,
                self._clock,
                self._telemetry,
                settings.drain_max_events_per_s,
            ),
            shutdown_s=INSERTER_SHUTDOWN_S,
        )
        buffer = await self._start_child(
            "buffer",
            lambda: BufferActor(
                self._journal,
                inserter,
                settings.block,
                self._clock,
                self._status,
                self._telemetry,
                self._keys,
                self._tracing,
            ),
        )
        around = SiteSurroundings(
            sites=self._observed.site_cache,
            salts=self._salts,
            tables=self._tables,
            telemetry=self._telemetry,
            budget=self._observed.budget,
            clock=self._clock,
            buffer=buffer,
            tracing=self._tracing,
            keys=self._keys,
            epochs=self._sites.lives,
            new_session_id=partial(random.getrandbits, 64),
            memories=self._memories,
            passivate=self._sites.passivate,
            idle_s=settings.site_idle_s,
        )
        self._sites.open(around)
        await self._start_child(
            "tables", lambda: TablesActor(self._observed.refreshed), shutdown_s=TABLES_SHUTDOWN_S
        )
        await self._start_child("front", self._new_front)
        self._accepting = True
        self._arm()

    async def stop(self, *, deadline_s: float) -> dict[int, bytes]:
        """Take nothing more, answer what is in flight, and insert what is held, within the deadline.

        What ClickHouse has not taken by then stays in the journal for the next start. Gives what sites
        remember, by their ids, for the next ``System``.
        """
        self._accepting = False
        end = asyncio.get_running_loop().time() + deadline_s
        answered = await self._finish("front", CloseDoor(), end)
        await self._finish("buffer", Flush(), end)
        # Only when nothing is in flight: a session that still changed would go on from another state.
        memories = {**self._memories, **await self._sites.remember(end)} if answered else {}
        if self._timer is not None:
            self._timer.cancel()
        await self._sites.stop()
        await self._supervisor.stop_all()
        await self._observed.site_cache.close()
        self._measures.publish(self._clock())
        return memories

    def offer(self, envelope: Envelope) -> None:
        """Judge the request of an ``Ingest``, for who owns the place of the answer and asked ``turns_away``.

        The envelope is answered with BuildResult, at once when the request is refused, or fails with an
        ActorError; what is ``Buffered`` is in the journal.
        """
        if not self._tree["front"].offer(envelope):
            envelope.reply(self._refused(envelope.message.request))

    def turns_away(self) -> bool:
        """Tell whether the next request would be refused whatever it is; if so it is counted as refused.

        So that whoever reads it need not understand it first: a service that has too much to do has least of
        all time for what it refuses.
        """
        if self._accepting and self._tree["front"].pace is None:  # as nearly always: not worth a call
            return False
        if not self._is_late():
            return False
        self._telemetry.emit_telemetry_refused(self._refusal().reason)
        return True

    async def build_and_buffer(self, request: Request, trace: RequestTrace | None = None) -> BuildResult:
        """Judge one request for each of its domains, and wait for the verdicts."""
        if self._is_late():
            return self._refused(request)
        future: asyncio.Future[BuildResult] = asyncio.get_running_loop().create_future()
        self.offer(Envelope(Ingest(request, trace), future, None))
        return await future

    async def build_and_buffer_batch(
        self, requests: Sequence[Request], trace: RequestTrace | None = None
    ) -> list[BuildResult]:
        """Judge the requests of one batch.

        They are taken in the order of their times, answered in the order given.
        """
        future: asyncio.Future[list[BuildResult]] = asyncio.get_running_loop().create_future()
        message = IngestBatch(requests, trace)
        if self._is_late() or not self._tree["front"].offer(Envelope(message, future, None)):
            return [self._refused(request) for request in requests]
        return await future

    async def explain(self, request: Request) -> list[Explanation]:
        """Explain what would become of the request for each of its domains; nothing is stored or changed.

        Raises ActorError when a site does not answer in time, and what the store of sites raises.
        """
        return await self._explainer.explain(request)

    async def flush(self) -> int:
        """Insert all that is held and give the number of events that waited.

        Returns when ClickHouse has them.
        """
        events: int = await self._tree["buffer"].ask(Flush(), timeout_s=FLUSH_TIMEOUT_S)
        await self._tree["counters"].ask(Flush(), timeout_s=FLUSH_TIMEOUT_S)
        return events

    async def retry_rows(self, ids: Sequence[str]) -> Retried:
        """Insert rows of the quarantine again; what is stored leaves it.

        Raises StoreUnavailable when ClickHouse is away, ActorError when blocks take too long.
        """
        if self._status.away_since is not None:
            raise StoreUnavailable("ClickHouse is away; retry the rows when it is back.")
        retried: Retried = await self._tree["inserter"].ask(RetryRows(ids), timeout_s=QUARANTINE_TIMEOUT_S)
        return retried

    async def drop_rows(self, ids: Sequence[str]) -> int:
        """Let go of rows of the quarantine for good and give how many there were. Raises ActorError."""
        dropped: int = await self._tree["inserter"].ask(DropRows(ids), timeout_s=QUARANTINE_TIMEOUT_S)
        return dropped

    async def site_changed(self, site_id: int) -> None:
        """Bring a site as it now is in the store into force before returning; a deleted one is forgotten."""
        await self._tree["directory"].ask(Reload(site_id), timeout_s=RELOAD_TIMEOUT_S)

    def readiness(self) -> Readiness:
        """Tell whether events are taken, and what is wrong where something is."""
        front = Front(self._accepting, self._down_part)
        return find_readiness(self._observed, front, self._journal_growth, now=self._clock())

    @property
    def statistics(self) -> Mapping[str, int]:
        """Figures of the moment, for the status page."""
        return read_statistics(self._observed, now=self._clock())

    def figures(self) -> Sequence[Measured]:
        """Give what telemetry is told, not older than a second; may be called from any thread."""
        return self._measures.figures

    async def _finish(self, name: str, message: CloseDoor | Flush, end: float) -> bool:
        if name not in self._tree:
            return False
        left_s = max(LEAST_PATIENCE_S, end - asyncio.get_running_loop().time())
        try:
            await self._tree[name].ask(message, timeout_s=left_s)
        except ActorError as error:
            log.warning("The %s was not done in time: %s", name, error or type(error).__name__)
            return False
        return True

    async def _start_child(
        self, name: str, factory: Callable[[], Actor], *, shutdown_s: float = 5.0
    ) -> Ref[Any]:
        spec = ChildSpec(name, factory, shutdown_s=shutdown_s)
        self._tree[name] = await self._supervisor.start_child(spec)
        return self._tree[name]

    def _new_directory(self) -> Actor:
        return DirectoryActor(
            self._site_store,
            self._observed.site_cache,
            self._directory,
            find_awake=self._sites.by_id.get,
            refresh_s=self._settings.site_refresh_s,
        )

    def _new_front(self) -> Actor:
        return FrontActor(
            directory=self._directory,
            tables=self._tables,
            telemetry=self._telemetry,
            awake=self._sites.by_id,
            find_site=self._sites.find,
            max_in_flight=self._settings.max_in_flight,
            ask_timeout_s=self._settings.ask_timeout_s,
            max_wait_s=self._settings.max_wait_s,
            status=self._status,
        )

    def _part_went_down(self, down: Down) -> None:
        # Without one of its parts the system can keep no promise: it refuses, and readiness says so.
        log.critical(
            "The %s crashed too often; no events are taken until the service is restarted", down.name
        )
        self._accepting = False
        self._down_part = down.name

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._tick_due = loop.time() + self._settings.tick_s
        self._timer = loop.call_at(self._tick_due, self._tick)

    def _tick(self) -> None:
        self._ticks += 1
        tick = Tick(self._clock())
        if self._telemetry.detailed:
            self._measure(tick.now)
        for name in ("front", "buffer"):
            self._tree[name].tell(tick)
        if self._ticks % SLOW_TICK_EVERY == 0:
            self._journal_growth.note(self._journal.statistics().bytes_appended, tick.now)
            for name in ("salts", "directory", "counters"):
                if not self._tree[name].depth:  # who still has work needs no second call to it
                    self._tree[name].tell(tick)
            if tick.now > self._memories_end:
                self._memories.clear()
        if self._ticks % TABLES_TICK_EVERY == 0:
            self._tree["tables"].tell(tick)
        self._sites.tick(tick, self._ticks)
        self._measures.site_depth = self._sites.waiting
        self._arm()

    def _measure(self, now: float) -> None:
        loop_now = asyncio.get_running_loop().time()
        self._telemetry.record_loop_lag(loop_now - self._tick_due)
        self._measures.look(loop_now)
        if self._ticks % SLOW_TICK_EVERY == 0:
            self._measures.publish(now)

    def _is_late(self) -> bool:
        if not self._accepting:
            return True
        wait_s: float = self._tree["front"].expected_wait_s
        return wait_s > 0 and self._patience.ends(wait_s, asyncio.get_running_loop().time())

    def _refusal(self) -> Retry:
        return OVERLOADED if self._accepting else NOT_READY

    def _refused(self, request: Request) -> BuildResult:
        verdict = self._refusal()
        for _ in request.domains:
            self._telemetry.emit_telemetry_refused(verdict.reason)
        return BuildResult(tuple((domain, verdict) for domain in request.domains))
