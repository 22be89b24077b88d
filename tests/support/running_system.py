"""A whole system of actors for tests: real sites, a real journal, real rules; time is what the test says."""

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from actors.messages import BuildResult
from actors.system import System, SystemSettings
from actors.tables import Refreshable
from service.clickhouse.store import ClickhouseStore
from service.ingestion.event import Tables
from service.ingestion.request import Request
from service.ingestion.user_agent import UserAgents
from service.ingestion.verdict import Buffered, Verdict
from service.journal import Durability, Journal
from service.quarantine import Quarantine
from service.remembered_keys import RememberedKeys
from service.sites.records import Limits, ShieldKind, ShieldRule, SiteRecord, TrackerScriptConfiguration
from service.sites.sqlite import SqliteSiteStore
from service.snapshot import take_snapshot, write_snapshot
from service.tables import load_tables
from service.telemetry import Telemetry
from service.tracing.spans import Tracing
from tests.support.memory_store import MemoryStore
from tests.support.user_agents import user_agents

NOON = 1_795_003_200
"""2026-11-18 12:00:00 UTC: far from any rotation of salts."""
NO_LIMITS = Limits()
DEFAULTS = SystemSettings()
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


class SetClock:
    """A clock that shows what it was set to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class RunningSystem:
    """A started system and its parts, with words for what tests do most."""

    def __init__(
        self,
        system: System,
        sites: SqliteSiteStore,
        store: MemoryStore,
        telemetry: Telemetry,
        clock: SetClock,
    ) -> None:
        self.system = system
        self.sites = sites
        self.store = store
        self.telemetry = telemetry
        self.clock = clock

    async def add_site(self, domain: str, limits: Limits = NO_LIMITS) -> int:
        """Register a site and bring it into force."""
        record = SiteRecord(
            id=0,
            domain=domain,
            timezone="Etc/UTC",
            limits=limits,
            tracker_script_configuration=TrackerScriptConfiguration(id="pa-test"),
            created_at=int(self.clock.now),
            updated_at=int(self.clock.now),
        )
        async with self.sites.change() as tables:
            site_id = await tables.insert_site(record)
        await self.system.site_changed(site_id)
        return site_id

    async def add_shield(self, site_id: int, kind: ShieldKind, value: str) -> None:
        """Add a shield rule and bring it into force."""
        async with self.sites.change() as tables:
            await tables.insert_shield(site_id, ShieldRule(kind, value))
        await self.system.site_changed(site_id)

    async def send(self, request: Request) -> list[Verdict]:
        """Send one request and give its verdicts, in the order of its domains."""
        return verdicts(await self.system.build_and_buffer(request))

    async def send_batch(self, requests: Sequence[Request]) -> list[list[Verdict]]:
        """Send a batch and give each request's verdicts."""
        return [verdicts(result) for result in await self.system.build_and_buffer_batch(requests)]

    def request(
        self,
        *domains: str,
        name: str = "pageview",
        visitor: int = 1,
        at: int | None = None,
        pathname: str = "/",
        referrer: str | None = None,
        interactive: bool = True,
        user_agent: str = FIREFOX,
        key: str | None = None,
    ) -> Request:
        """Give a request of a visitor for now, or a back-dated one for ``at``."""
        return Request(
            timestamp=int(self.clock.now) if at is None else at,
            back_dated=at is not None,
            remote_ip=f"203.0.113.{visitor}",
            user_agent=user_agent,
            event_name=name,
            domains=domains or ("example.com",),
            url_host="example.com",
            hostname="example.com",
            pathname=pathname,
            referrer=referrer,
            interactive=interactive,
            key=key,
        )


@functools.cache
def tables() -> Tables:
    """Give the built-in tables, loaded once a test process: they hold nothing that a test could change."""
    return load_tables(
        user_agents=user_agents(), geo_database=None, spam_list=None, exchange_rates=None
    ).tables


def verdicts(result: BuildResult) -> list[Verdict]:
    """Give the verdicts of a result alone."""
    return [verdict for _, verdict in result.outcomes]


def buffered(results: Sequence[Sequence[Verdict]]) -> int:
    """Count the events that are in the journal."""
    return sum(isinstance(verdict, Buffered) for verdicts in results for verdict in verdicts)


@asynccontextmanager
async def running_system(
    folder: Path,
    *,
    store: ClickhouseStore | None = None,
    settings: SystemSettings = DEFAULTS,
    clock: SetClock | None = None,
    journal_max_bytes: int = 2**30,
    quarantine_max_bytes: int = 2**30,
    max_keys: int = 100_000,
    durability: Durability = "os",
    domains: Sequence[str] = ("example.com",),
    refreshed: Sequence[Refreshable] = (),
    tracing: Tracing | None = None,
    user_agents: UserAgents | None = None,
) -> AsyncIterator[RunningSystem]:
    """Start a system on a folder, which may hold an earlier one's sites and journal; stop it at the end."""
    memory = store if isinstance(store, MemoryStore) else MemoryStore()
    inside: ClickhouseStore = memory if store is None else store
    clock = SetClock(NOON) if clock is None else clock
    sites = SqliteSiteStore(folder / "sites.sqlite3", clock=clock)
    await sites.start()
    keys = RememberedKeys.open(folder / "keys", limit=max_keys, sync=False, clock=clock)
    journal = Journal.open(
        folder / "journal", durability=durability, max_bytes=journal_max_bytes, remember=keys.add
    )
    telemetry = Telemetry()
    system = System(
        site_store=sites,
        clickhouse=inside,
        journal=journal,
        quarantine=Quarantine.open(folder / "quarantine", max_bytes=quarantine_max_bytes, sync=False),
        tables=tables() if user_agents is None else replace(tables(), user_agents=user_agents),
        telemetry=telemetry,
        keys=keys,
        clock=clock,
        settings=settings,
        memories=take_snapshot(folder / "sessions.snapshot", now=clock.now),
        refreshed=refreshed,
        tracing=tracing,
    )
    running = RunningSystem(system, sites, memory, telemetry, clock)
    try:
        await system.start()
        known = {key.domain for key in await sites.keys()}
        for domain in domains:
            if domain not in known:
                await running.add_site(domain)
        yield running
    finally:
        memories = await system.stop(deadline_s=2.0)
        write_snapshot(folder / "sessions.snapshot", memories, now=clock.now)
        journal.close()
        await sites.close()
