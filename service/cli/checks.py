"""The checks of ``gatehouse check``: each looks at one thing and says how it stands and what to do.

A check changes nothing. It gives findings and does not raise: what goes wrong is what it was asked to find.
"""

import errno
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from service.cli.folder import is_running
from service.cli.stores import open_clickhouse
from service.clickhouse.contract import Severity, check_contract
from service.clickhouse.store import ClickhouseStore
from service.clock import Clock
from service.config import Config, split_address
from service.errors import GatehouseError
from service.ingestion.user_agent import NoUserAgents
from service.tables import load_tables
from service.tables.addresses import watch_addresses
from service.tables.geo import WatchedGeolocator

DAY_S: Final = 86_400
EARLIEST_CLOCK: Final = datetime(2026, 11, 1, tzinfo=UTC).timestamp()
"""Before this version was made: a clock that says so is wrong."""
CLOCK_TOLERANCE_S: Final = 5.0
GEO_STALE_DAYS: Final = 180
LOOPBACK: Final = ("127.", "::1", "localhost")


Level = Literal["ok", "warning", "problem"]


class Finding(Struct, frozen=True):
    """One thing that was looked at. ``sentence`` says how it stands and, unless it is ok, what to do."""

    about: str
    level: Level
    sentence: str


async def run_checks(config: Config, *, clock: Clock) -> AsyncIterator[Finding]:
    """Look at everything that a start with this configuration would need."""
    now = clock()
    running = is_running(config.data_dir)
    for finding in (
        *check_folder(config),
        *check_port("listen", config.listen, running=running),
        *check_port("admin_listen", config.admin_listen, running=running),
        *check_exposure(config),
        check_clock(now),
        *check_files(config, now=now),
    ):
        yield finding
    async for finding in check_database(config, running=running, clock=clock):
        yield finding


def check_folder(config: Config) -> Iterator[Finding]:
    """Look at the data folder: is it there, ours, closed to others, and is there room for the journal."""
    folder = config.data_dir
    try:
        state = folder.stat()
    except FileNotFoundError:
        yield Finding("data folder", "ok", f"{folder} is not there yet; the first start makes it.")
        return
    except OSError as error:
        yield Finding("data folder", "problem", f"{folder} cannot be looked into: {error.strerror}.")
        return
    if not stat.S_ISDIR(state.st_mode):
        yield Finding("data folder", "problem", f"{folder} is no folder; choose another data_dir.")
        return
    if state.st_mode & 0o077:
        sentence = f"Others on this machine may look into {folder}; `chmod 700 {folder}` ends that."
        yield Finding("data folder", "warning", sentence)
    else:
        yield Finding("data folder", "ok", f"{folder} is there and closed to others.")
    free = shutil.disk_usage(folder).free
    if free < config.journal_max_bytes:
        sentence = (
            f"{free:,} bytes are free, but the journal may grow to {config.journal_max_bytes:,}; "
            "lower journal_max_bytes, so that it is full before the disk is."
        )
        yield Finding("disk", "warning", sentence)
    else:
        yield Finding("disk", "ok", f"{free:,} bytes are free, enough for a full journal.")


def check_port(setting: str, address: str, *, running: bool) -> Iterator[Finding]:
    """Try to take the address; when our own service has it that is as it should be."""
    host, port = split_address(address)
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and running:
            yield Finding(setting, "ok", f"{address} is taken, and the service is running.")
        elif error.errno == errno.EADDRINUSE:
            sentence = f"{address} is taken by another program; stop that or choose another {setting}."
            yield Finding(setting, "problem", sentence)
        else:
            reason = error.strerror or str(error)
            yield Finding(
                setting, "problem", f"Nobody can listen at {address}: {reason}; choose another {setting}."
            )
    else:
        yield Finding(setting, "ok", f"{address} is free.")


def check_exposure(config: Config) -> Iterator[Finding]:
    """Warn when the admin API can be reached from elsewhere: its token would travel in clear text."""
    host, _ = split_address(config.admin_listen)
    if not host.startswith(LOOPBACK):
        sentence = (
            f"{config.admin_listen} may be reached from other machines, and its token travels unencrypted; "
            "keep it behind a proxy with TLS or a firewall."
        )
        yield Finding("admin_listen", "warning", sentence)


def check_clock(now: float) -> Finding:
    """Compare the clock with the time when this version was made."""
    moment = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if now < EARLIEST_CLOCK:
        return Finding(
            "clock", "problem", f"The clock says {moment}, which is past; set it, events bear its time."
        )
    return Finding("clock", "ok", f"The clock says {moment}.")


def check_files(config: Config, *, now: float) -> Iterator[Finding]:
    """Read each file that the rules look things up in, as a start would."""
    yield _check_geo(config, now=now)
    yield _check_file("spam list", "the one built in or last updated is used", spam_list=config.spam_list)
    yield _check_file("sources", "the built-in table names them", sources=config.sources)
    yield _check_ip_lists(config)
    yield _check_file(
        "exchange rates",
        "revenue in another currency than its goal's has no reporting amount",
        exchange_rates=config.exchange_rates,
    )


def _check_geo(config: Config, *, now: float) -> Finding:
    try:
        database = WatchedGeolocator(config.geo_database, config.data_dir)
    except GatehouseError as error:
        return Finding("geo database", "problem", f"{str(error)[0].upper()}{str(error)[1:]}.")
    geo = database.published.value
    if database.path is None:
        return Finding(
            "geo database", "ok", f"None is configured; {geo.kind} gives countries, but no cities."
        )
    age_days = 0 if geo.built_at is None else int((now - geo.built_at) // DAY_S)
    if age_days > GEO_STALE_DAYS:
        sentence = (
            f"{database.path} was made {age_days} days ago; addresses have moved since, fetch a newer one."
        )
        return Finding("geo database", "warning", sentence)
    return Finding("geo database", "ok", f"{database.path} can be read ({geo.kind}, {age_days} days old).")


def _check_ip_lists(config: Config) -> Finding:
    if not config.ip_lists:
        return Finding("ip lists", "ok", "None are configured, so no address is taken for a data centre's.")
    try:
        watched = watch_addresses(config.ip_lists, config.asn_database)
    except GatehouseError as error:
        return Finding("ip lists", "problem", f"{str(error)[0].upper()}{str(error)[1:]}.")
    intervals = watched.published.value.intervals
    return Finding("ip lists", "ok", f"All {len(config.ip_lists)} can be read: {intervals:,} intervals.")


def _check_file(about: str, without: str, **files: Path | None) -> Finding:
    (path,) = files.values()
    if path is None:
        return Finding(about, "ok", f"None is configured, so {without}.")
    none: dict[str, Any] = dict.fromkeys(("geo_database", "spam_list", "exchange_rates", "sources"))
    try:
        load_tables(user_agents=NoUserAgents(), **(none | files))
    except GatehouseError as error:
        return Finding(about, "problem", f"{str(error)[0].upper()}{str(error)[1:]}.")
    return Finding(about, "ok", f"{path} can be read.")


async def check_database(config: Config, *, running: bool, clock: Clock) -> AsyncIterator[Finding]:
    """Look at the tables and at the database's clock; an embedded store only while no service has it open."""
    if config.store == "embedded":
        if running:
            yield Finding(
                "database", "ok", "The running service has it open and looked at it when it started."
            )
            return
        if not (config.data_dir / "clickhouse").exists():
            yield Finding("database", "ok", "The embedded store is not there yet; the first start makes it.")
            return
    try:
        async with open_clickhouse(config) as store:
            for finding in [
                *await _check_tables(store, config),
                await _check_database_clock(store, clock),
            ]:
                yield finding
    except GatehouseError as error:
        yield Finding("database", "problem", str(error))


async def _check_tables(store: ClickhouseStore, config: Config) -> list[Finding]:
    problems = await check_contract(store, cluster=config.clickhouse_cluster)
    if not problems:
        return [Finding("database", "ok", f"All tables are there and take what is written ({config.store}).")]
    levels: dict[Severity, Level] = {Severity.ERROR: "problem", Severity.WARNING: "warning"}
    return [Finding("database", levels[problem.severity], problem.sentence) for problem in problems]


async def _check_database_clock(store: ClickhouseStore, clock: Clock) -> Finding:
    (row,) = await store.query("SELECT toString(toUnixTimestamp(now())) AS seconds")
    apart = abs(clock() - int(str(row["seconds"])))
    if apart > CLOCK_TOLERANCE_S:
        sentence = (
            f"ClickHouse's clock is {apart:.0f} seconds away from this machine's; let both be set by NTP."
        )
        return Finding("database clock", "warning", sentence)
    return Finding("database clock", "ok", "ClickHouse's clock and this machine's agree.")
