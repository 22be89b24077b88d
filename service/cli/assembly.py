"""Builds the whole service from its configuration, and takes it down again in the reverse order.

Up: journal (whose lock keeps a second service out), sites, ClickHouse, actors, listeners. Down: no new
connections, what is in flight is answered and inserted, connections are closed, then everything else.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import maxminddb
from aiohttp import web
from msgspec import Struct

from actors.buffer import BlockLimits
from actors.system import System, SystemSettings
from service import __version__
from service.cli.context import SITES_FILE
from service.cli.folder import admin_socket, prepare_folder
from service.cli.preparation import Preparation
from service.cli.stores import open_clickhouse
from service.clickhouse.store import ClickhouseStore
from service.clock import wall
from service.config import Config, split_address
from service.http.admin import admin_app
from service.http.app import public_app, public_runner
from service.http.listener import Listener, admin_runner
from service.http.settings import Build, PublicSettings
from service.http.tokens import ADMIN_TOKEN_FILE, SENDER_TOKEN_FILE, ensure_token
from service.ingestion.event import Tables
from service.journal import Journal
from service.sites.provisioning import StoreProvisioning
from service.sites.sqlite import SqliteSiteStore
from service.tables import load_tables
from service.telemetry import Telemetry
from service.wire.forwarded import TrustedProxies

DRAIN_SHARE: Final = 0.8
"""Part of the shutdown deadline for what is in flight; the listeners share the rest for their connections."""

LISTENERS: Final = 3
"""Public, admin, and the admin socket."""


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
    async with AsyncExitStack() as stack:
        prepare_folder(config.data_dir)
        journal = Journal.open(
            config.data_dir / "journal", durability=config.durability, max_bytes=config.journal_max_bytes
        )
        stack.callback(journal.close)
        sites = SqliteSiteStore(config.data_dir / SITES_FILE)
        stack.push_async_callback(sites.close)
        await sites.start()
        clickhouse = await stack.enter_async_context(open_clickhouse(config))
        preparation = Preparation(clickhouse, config)
        await preparation.begin()
        telemetry = Telemetry()
        system = System(
            site_store=sites,
            clickhouse=clickhouse,
            journal=journal,
            tables=_load_tables(config),
            telemetry=telemetry,
            clock=wall,
            settings=_system_settings(config),
        )
        stack.callback(telemetry.stop)
        telemetry.start(
            version=__version__, otlp_endpoint=config.otlp_endpoint, statistics=lambda: system.statistics
        )
        provisioning = StoreProvisioning(sites, on_change=system.site_changed)
        public = await _prepared(stack, _public_runner(config, system))
        admin = await _prepared(
            stack, _admin_runner(config, system, provisioning, clickhouse, is_socket=False)
        )
        socket = await _prepared(
            stack, _admin_runner(config, system, provisioning, clickhouse, is_socket=True)
        )
        stack.push_async_callback(system.stop, deadline_s=config.shutdown_deadline_s * DRAIN_SHARE)
        await system.start()
        for listener in (public, admin, socket):
            stack.push_async_callback(listener.refuse)
        socket_path = admin_socket(config.data_dir)
        stack.callback(socket_path.unlink, missing_ok=True)
        await socket.listen_on_socket(socket_path)
        # The public one last: who sees it ready finds all the rest there too.
        admin_url = await admin.listen(*split_address(config.admin_listen))
        events_url = await public.listen(*split_address(config.listen))
        yield Running(events_url=events_url, admin_url=admin_url, preparation=preparation)


async def _prepared(stack: AsyncExitStack, runner: web.AppRunner) -> Listener:
    listener = Listener(runner)
    stack.push_async_callback(listener.close)
    await listener.prepare()
    return listener


def _public_runner(config: Config, system: System) -> web.AppRunner:
    settings = PublicSettings(
        trusted_proxies=TrustedProxies(config.trusted_proxies),
        sender_token=ensure_token(config.data_dir / SENDER_TOKEN_FILE),
        build=Build(version=__version__),
        drop_reasons_header=config.drop_reasons_header,
        geo_database=_geo_type(config.geo_database),
    )
    app = public_app(system=system, settings=settings, clock=wall)
    return public_runner(app, shutdown_timeout_s=_connections_timeout_s(config))


def _admin_runner(
    config: Config,
    system: System,
    provisioning: StoreProvisioning,
    clickhouse: ClickhouseStore,
    *,
    is_socket: bool,
) -> web.AppRunner:
    token = None if is_socket else ensure_token(config.data_dir / ADMIN_TOKEN_FILE)
    app = admin_app(provisioning=provisioning, system=system, store=clickhouse, token=token)
    return admin_runner(app, shutdown_timeout_s=_connections_timeout_s(config))


def _connections_timeout_s(config: Config) -> float:
    return config.shutdown_deadline_s * (1 - DRAIN_SHARE) / LISTENERS


def _geo_type(path: Path | None) -> str:
    """Name the database of locations by the type that it gives itself."""
    if path is None:
        return "(not configured)"
    with maxminddb.open_database(path) as database:
        return database.metadata().database_type


def _load_tables(config: Config) -> Tables:
    return load_tables(
        geo_database=config.geo_database,
        spam_list=config.spam_list,
        exchange_rates=config.exchange_rates,
    )


def _system_settings(config: Config) -> SystemSettings:
    return SystemSettings(
        max_in_flight=config.max_in_flight,
        ask_timeout_s=config.ask_timeout_s,
        site_idle_s=config.site_idle_s,
        site_refresh_s=config.site_refresh_s,
        max_sessions=config.max_sessions,
        block=BlockLimits(
            max_rows=config.block_max_rows,
            max_bytes=config.block_max_bytes,
            max_age_s=config.block_max_age_s,
        ),
    )
