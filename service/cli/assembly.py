"""Builds the whole service from its configuration, and takes it down again in the reverse order.

Up: journal (whose lock keeps a second service out), sites, ClickHouse, actors, listeners. Down: no new
connections, what is in flight is answered and inserted, connections are closed, then everything else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web
from msgspec import Struct

from actors.buffer import BlockLimits
from actors.system import System, SystemSettings
from actors.tables import Refreshable
from service import __version__
from service.cli.context import SITES_FILE
from service.cli.folder import admin_socket, name_instance, prepare_folder
from service.cli.measuring import exporting, metrics_listener, sources, wants_measures
from service.cli.open_files import make_room
from service.cli.preparation import Preparation
from service.cli.stores import (
    JOURNAL_FOLDER,
    load_configured_tables,
    open_clickhouse,
    open_journal,
    open_keys,
    open_quarantine,
)
from service.clock import wall
from service.config import Config, split_address
from service.http.admin import admin_app
from service.http.admin_tokens import prepare_admin_tokens
from service.http.app import public_app, public_runner
from service.http.download import download_list
from service.http.lean.door import Door
from service.http.listener import Listener, admin_runner
from service.http.settings import Build, PublicSettings
from service.http.tokens import SENDER_TOKEN_FILE, ensure_token
from service.ingestion.user_agent import UserAgents
from service.journal import Journal
from service.session_recovery import recover_memories
from service.sites.provisioning import StoreProvisioning
from service.sites.sqlite import SqliteSiteStore
from service.snapshot import take_snapshot, write_snapshot
from service.tables import WatchedTables
from service.tables.spam import SpamRefresh
from service.telemetry import Source, Telemetry
from service.tracing.export import start_tracing
from service.tracing.spans import Sampling, Tracing, current_traceparent
from service.user_agents.engine import UserAgentEngine
from service.wire.forwarded import TrustedProxies

log = logging.getLogger(__name__)

DRAIN_SHARE: Final = 0.8
"""Part of the shutdown deadline for what is in flight."""

SNAPSHOT_FILE: Final = "sessions.snapshot"
CACHE_FOLDER: Final = "cache"
"""In the data folder: what can be built again."""
CACHED_USER_AGENTS: Final = 10_000

OTHERS: Final = 6
"""They share the rest: the connections of the listeners, the metrics and the spans on their way."""


class Running(Struct, frozen=True):
    """The service at work: where it answers, as URLs, and what its database still needs."""

    events_url: str
    admin_url: str
    preparation: Preparation


@asynccontextmanager
async def running_service(config: Config) -> AsyncIterator[Running]:
    """Start everything; stop everything, in order and within the deadline, when the block is left.

    Raises GatehouseError when something cannot be had; what was started until then is stopped again.
    """
    drain_s = config.shutdown_deadline_s * DRAIN_SHARE
    rest_s = (config.shutdown_deadline_s - drain_s) / OTHERS
    async with AsyncExitStack() as stack:
        prepare_folder(config.data_dir)
        keys = open_keys(config)
        journal = open_journal(config, keys)
        stack.callback(journal.close)
        quarantine = open_quarantine(config)
        telemetry = Telemetry(detailed=wants_measures(config))
        tracing, tracing_sources = _start_tracing(stack, config, rest_s)
        sites = SqliteSiteStore(config.data_dir / SITES_FILE)
        stack.push_async_callback(sites.close)
        await sites.start()
        clickhouse = await stack.enter_async_context(
            open_clickhouse(config, current_traceparent=current_traceparent)
        )
        engine = UserAgentEngine(config.data_dir / CACHE_FOLDER)
        stack.callback(engine.close)
        engine.start()
        preparation = Preparation(clickhouse, config)
        await preparation.begin()
        user_agents = UserAgents(engine.take_apart, capacity=CACHED_USER_AGENTS, explain=engine.explain)
        loaded = load_configured_tables(config, user_agents)
        system = System(
            site_store=sites,
            clickhouse=clickhouse,
            journal=journal,
            quarantine=quarantine,
            tables=loaded.tables,
            telemetry=telemetry,
            keys=keys,
            clock=wall,
            settings=_system_settings(config),
            memories=await _remember(config, journal),
            refreshed=_refreshed(config, loaded),
            tracing=tracing,
        )
        door = Door(make_room(config.max_connections))
        read = (*sources(telemetry, system, loaded, user_agents), *tracing_sources, door.measure)
        await stack.enter_async_context(exporting(config, read, stop_s=rest_s))
        metrics_url = await stack.enter_async_context(metrics_listener(config, read, stop_s=rest_s))
        if metrics_url is not None:
            log.info("Answering Prometheus", extra={"url": metrics_url})
        provisioning = StoreProvisioning(sites, on_change=system.site_changed)
        proxies = TrustedProxies(config.trusted_proxies)
        admin_api = partial(
            admin_app,
            provisioning=provisioning,
            system=system,
            store=clickhouse,
            trusted_proxies=proxies,
            clock=wall,
            telemetry=telemetry,
        )
        public = _public_app(config, system, proxies, loaded, telemetry, tracing, door)
        listeners = await _prepare_listeners(stack, config, public, admin_api, rest_s)
        stack.push_async_callback(_stop, system, config.data_dir / SNAPSHOT_FILE, drain_s)
        await system.start()
        events_url, admin_url = await _listen(stack, config, listeners)
        yield Running(events_url=events_url, admin_url=admin_url, preparation=preparation)


def _start_tracing(
    stack: AsyncExitStack, config: Config, rest_s: float
) -> tuple[Tracing | None, tuple[Source, ...]]:
    """Begin to make spans if there is a collector for them; gives what to measure of it, too."""
    if config.otlp_endpoint is None:
        return None, ()
    sampling = Sampling(ratio=config.trace_ratio, slow_s=config.trace_slow_s)
    queue, tracing = start_tracing(
        config.otlp_endpoint,
        config.otlp_protocol,
        sampling=sampling,
        version=__version__,
        instance=name_instance(config.data_dir),
    )
    stack.callback(queue.stop, timeout_s=rest_s)
    return tracing, (tracing.measure, queue.measure)


async def _stop(system: System, snapshot: Path, deadline_s: float) -> None:
    memories = await system.stop(deadline_s=deadline_s)
    try:
        write_snapshot(snapshot, memories, now=wall())
    except OSError as error:
        log.warning(
            "The next start puts sessions together from the journal, and rate limits begin anew: "
            "%s cannot be written: %s",
            snapshot,
            error.strerror,
        )


async def _remember(config: Config, journal: Journal) -> dict[int, bytes]:
    """Give what sites remember of an earlier life: as it was written at its stop, or else found again."""
    memories = take_snapshot(config.data_dir / SNAPSHOT_FILE, now=wall())
    if memories:
        return memories
    folder = config.data_dir / JOURNAL_FOLDER
    return await asyncio.to_thread(recover_memories, journal, folder, now=wall(), limit=config.max_sessions)


class Listeners(NamedTuple):
    """The three doors of the service."""

    public: Listener
    admin: Listener
    socket: Listener


async def _prepare_listeners(
    stack: AsyncExitStack,
    config: Config,
    public: web.Application,
    admin_api: Callable[..., web.Application],
    cut_off_s: float,
) -> Listeners:
    tokens = prepare_admin_tokens(config.data_dir, now=wall())
    listeners = Listeners(
        public=Listener(public_runner(public, shutdown_timeout_s=cut_off_s)),
        admin=Listener(admin_runner(admin_api(tokens=tokens), shutdown_timeout_s=cut_off_s)),
        socket=Listener(admin_runner(admin_api(tokens=None), shutdown_timeout_s=cut_off_s)),
    )
    for listener in listeners:
        stack.push_async_callback(listener.close)
        await listener.prepare()
    return listeners


async def _listen(stack: AsyncExitStack, config: Config, listeners: Listeners) -> tuple[str, str]:
    """Open the doors; gives the URLs of the public and of the admin one."""
    for listener in listeners:
        stack.push_async_callback(listener.refuse)
    socket_path = admin_socket(config.data_dir)
    stack.callback(socket_path.unlink, missing_ok=True)
    await listeners.socket.listen_on_socket(socket_path)
    admin_url = await listeners.admin.listen(*split_address(config.admin_listen))
    # The public one last: who sees it ready finds all the rest there too.
    events_url = await listeners.public.listen(*split_address(config.listen))
    return events_url, admin_url


def _public_app(
    config: Config,
    system: System,
    proxies: TrustedProxies,
    loaded: WatchedTables,
    telemetry: Telemetry,
    tracing: Tracing | None,
    door: Door,
) -> web.Application:
    settings = PublicSettings(
        trusted_proxies=proxies,
        sender_token=ensure_token(config.data_dir / SENDER_TOKEN_FILE),
        build=Build(version=__version__),
        drop_reasons_header=config.drop_reasons_header,
        geo_database=lambda: loaded.tables.geo.value.kind,
    )
    return public_app(
        system=system, settings=settings, clock=wall, telemetry=telemetry, tracing=tracing, door=door
    )


def _refreshed(config: Config, loaded: WatchedTables) -> list[Refreshable]:
    refreshed: list[Refreshable] = list(loaded.watched)
    if config.spam_list_url is not None:
        refreshed.append(SpamRefresh(config.spam_list_url, config.data_dir, download_list))
    return refreshed


def _system_settings(config: Config) -> SystemSettings:
    return SystemSettings(
        max_in_flight=config.max_in_flight,
        ask_timeout_s=config.ask_timeout_s,
        max_wait_s=config.max_wait_s,
        site_idle_s=config.site_idle_s,
        site_refresh_s=config.site_refresh_s,
        max_sessions=config.max_sessions,
        drain_max_events_per_s=config.drain_max_events_per_s,
        block=BlockLimits(
            max_rows=config.block_max_rows,
            max_bytes=config.block_max_bytes,
            max_age_s=config.block_max_age_s,
        ),
    )
