"""What a service of its own is measured for: many sites and sessions, a large flush, a replay.

Each scenario has an installation to itself, so that none finds the traces of another.
"""

import sqlite3
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from benchmarks.fill import fill
from benchmarks.load import Lane, Load, Plan
from benchmarks.open_load import CONNECTIONS
from benchmarks.processes import (
    DOMAIN,
    Cores,
    Installation,
    Service,
    installed,
    open_load,
    plan_lane,
    take_loads,
)
from benchmarks.traffic import (
    BATCH_EVENTS,
    make_batches,
    make_first_engagements,
    make_spread_batches,
    spread_domain,
)
from benchmarks.watched import read_holds
from service.cli.context import SITES_FILE

LARGE_BLOCK: Final = ("block_max_rows=1000000", "block_max_bytes=1073741824", "block_max_age_s=3600")
"""Only a flush closes a block with these limits."""
FLUSH_AFTER_S: Final = 1.0
BOUND_S: Final = 0.010
SHORTEST_REPLAY_S: Final = 0.001


class Scale(Struct, frozen=True):
    """How large everything is."""

    rounds: int = 200
    starts: int = 3
    """Processes of each kind that are compared, which take its turns in turn."""
    turn_s: float = 0.1
    """Of each load that is compared with others; one turn a round."""
    warm_up_s: float = 2.0
    idle_s: float = 10.0
    """How long it is measured what a service needs when nothing comes in; it sends metrics that often."""
    seconds: float = 10.0
    """Of each load that is compared with none."""
    sites: int = 100_000
    awake_sites: int = 10_000
    few_sites: int = 1_000
    """With one visitor each."""
    visitors: int = 100
    """Of each awake site: the sessions are so many times the sites."""
    flushed_events: int = 100_000
    replayed_events: int = 300_000
    settles: bool = True
    """Whether to wait until a started service has nothing else to do."""


SHORT: Final = Scale(
    settles=False,
    rounds=2,
    starts=2,
    turn_s=0.1,
    warm_up_s=0.2,
    idle_s=0.5,
    seconds=0.5,
    sites=2_000,
    awake_sites=100,
    few_sites=10,
    visitors=20,
    flushed_events=3_000,
    replayed_events=3_000,
)
"""Shows that the benchmark works; its figures say nothing."""


def plan_turns(scale: Scale, lanes: Sequence[Lane]) -> Plan:
    """Give the plan for loads that are compared with each other."""
    return Plan(
        lanes=lanes,
        rounds=scale.rounds,
        turn_s=scale.turn_s,
        warm_up_s=scale.warm_up_s,
        idle_s=scale.idle_s,
    )


def age_for_turns(processes: int) -> str:
    """Give the setting with which blocks are as large as under a load that is always there.

    A service at its limit closes them by their size, long before they are a second old. One that has its turn
    with others would close them by their age, with fewer rows in them, and be charged with more inserts.
    """
    return f"block_max_age_s={processes}"


class Counted(Struct, frozen=True):
    """Of how many events it was said that they are kept, and how many are."""

    acknowledged: int
    stored: int


class Crowded(Struct, frozen=True):
    """A service with many sites and sessions."""

    ready_s: float
    """From the start of the process to ready, with all sites and an empty journal."""
    idle_site_bytes: float
    awake_site_bytes: float
    session_bytes: float
    few: Load
    """With a session for each visitor of the few sites, in a service that has no others."""
    beside: Load
    """The same load, in a service with a session for each visitor of all awake sites."""
    many: Load
    """There too, but all of them send, in turn."""
    few_sessions: int
    many_sessions: int
    counted: Counted


class Held(Struct, frozen=True):
    """How long the loop was held while a large block was flushed under load."""

    longest_s: float
    longest_cpu_s: float
    """The longest, when only the time counts in which the process had its core."""
    over_bound: int
    """How many were longer than ``BOUND_S``, by the wall."""
    flush_s: float
    """How long the flush took."""
    rate: float
    """Events a second that came in meanwhile."""
    counted: Counted


class Replayed(Struct, frozen=True):
    """The journal of a killed service, inserted by ``gatehouse journal replay``."""

    seconds: float
    """From the start of that process to its end, less what one takes that finds nothing to insert."""
    events: int
    session_rows: int
    counted: Counted


def crowd_sites(cores: Cores, folder: Path, *, store: str, settings: Sequence[str], scale: Scale) -> Crowded:
    """Start with many sites, wake some, and fill them with sessions."""
    chosen = [*settings, age_for_turns(2), f"max_sessions={2 * scale.awake_sites * scale.visitors}"]
    chosen.append(
        "drain_max_events_per_s=1e6"
    )  # so that what comes in faster than ClickHouse takes it does not lie there
    with (
        installed(cores, folder / "few", store=store, settings=chosen) as spacious,
        installed(cores, folder / "many", store=store, settings=chosen) as installation,
    ):
        with installation.serving() as service:
            alone = service.memory_bytes()
        add_sites(spacious, scale.sites)
        add_sites(installation, scale.sites)
        with spacious.serving() as quiet, installation.serving() as service:
            known = service.memory_bytes()
            host, token = f"127.0.0.1:{service.port}", service.find_token()
            fill(service.port, make_first_engagements(host=host, sites=scale.awake_sites, token=token))
            awake = service.memory_bytes()
            awake_sites = service.statistics()["sites_awake"]
            sent = fill(
                service.port,
                make_spread_batches(host=host, sites=scale.awake_sites, visitors=scale.visitors, token=token),
            )
            service.flush()
            filled = service.memory_bytes()
            many_sessions = service.statistics()["sessions"]
            few, beside = take_loads(
                plan_turns(
                    scale,
                    [plan_lane([each], "spread", sites=scale.few_sites) for each in (quiet, service)],
                )
            )
            lane = plan_lane([service], "spread", sites=scale.awake_sites, visitors=scale.visitors)
            (many,) = take_loads(
                Plan(lanes=[lane], rounds=1, turn_s=scale.seconds, warm_up_s=scale.warm_up_s)
            )
            for each in (quiet, service):
                each.flush()
            return Crowded(
                ready_s=service.ready_s,
                idle_site_bytes=(known - alone) / scale.sites,
                awake_site_bytes=(awake - known) / max(1, awake_sites),
                session_bytes=(filled - awake) / max(1, many_sessions),
                few=few,
                many=many,
                beside=beside,
                few_sessions=quiet.statistics()["sessions"],
                many_sessions=many_sessions,
                counted=Counted(
                    sent.acknowledged + few.acknowledged + beside.acknowledged + many.acknowledged,
                    quiet.stored_events() + service.stored_events(),
                ),
            )


def add_sites(installation: Installation, count: int) -> None:
    """Make many sites known, each like the one that is there; nobody waits for so many commands."""
    with sqlite3.connect(installation.data_dir / SITES_FILE) as database:
        columns = [
            row[1] for row in database.execute("PRAGMA table_info(sites)") if row[1] not in {"id", "domain"}
        ]
        copied = ", ".join(columns)
        database.executemany(
            f"INSERT INTO sites (domain, {copied}) SELECT ?, {copied} FROM sites WHERE domain = ?",
            ((spread_domain(number), DOMAIN) for number in range(count)),
        )
    database.close()


def hold_flush(
    cores: Cores, folder: Path, *, store: str, settings: Sequence[str], scale: Scale, rate: float
) -> Held:
    """Let one large block wait, and flush it while events come in."""
    chosen = [*settings, *LARGE_BLOCK]
    watched = folder / "holds.json"
    with installed(cores, folder, store=store, settings=chosen) as installation:
        with installation.serving([sys.executable, "-m", "benchmarks.watched", str(watched)]) as service:
            if scale.settles:
                service.settle()
            sent = fill(service.port, _known_batches(service, scale.flushed_events))
            with open_load(
                service,
                domain=DOMAIN,
                rate=rate,
                connections=CONNECTIONS,
                seconds=FLUSH_AFTER_S + scale.seconds,
            ) as wait:
                time.sleep(FLUSH_AFTER_S)
                began = time.monotonic()
                service.flush()
                ended = time.monotonic()
                live = wait()
            service.flush()
            stored = service.stored_events()
        holds = read_holds(watched, since=began, until=ended)
    return Held(
        longest_s=max((hold.seconds for hold in holds), default=0.0),
        longest_cpu_s=max((min(hold.seconds, hold.cpu_s) for hold in holds), default=0.0),
        over_bound=sum(hold.seconds > BOUND_S for hold in holds),
        flush_s=ended - began,
        rate=live.accepted.count / live.seconds,
        counted=Counted(sent.acknowledged + live.acknowledged, stored),
    )


def replay(cores: Cores, folder: Path, *, settings: Sequence[str], scale: Scale) -> Replayed:
    """Take events while the database is away, kill the service, and insert what it left."""
    with installed(cores, folder, store="native", settings=settings) as installation:
        database = installation.database
        assert database is not None, "it is the native store"
        with installation.serving() as service:
            database.kill()
            sent = fill(service.port, _known_batches(service, scale.replayed_events))
            service.kill()
        database.restart()
        seconds, inserted = _time_replay(installation)
        # Of nothing: what the process needs to begin and to end. A very short replay can be lost in that.
        idle_s, _ = _time_replay(installation)
        seconds = max(SHORTEST_REPLAY_S, seconds - idle_s)
        stored = installation.count_rows("events_v2")
    return Replayed(seconds, inserted.events, inserted.session_rows, Counted(sent.acknowledged, stored))


class _Inserted(Struct):
    """What the command says that ClickHouse took; later some states will have been merged."""

    events: int
    session_rows: int


def _time_replay(installation: Installation) -> tuple[float, _Inserted]:
    began = time.monotonic()
    printed = installation.run("journal", "replay", "--json", measured=True)
    return time.monotonic() - began, msgspec.json.decode(printed, type=_Inserted)


def _known_batches(service: Service, events: int) -> "islice[bytes]":
    batches = make_batches(host=f"127.0.0.1:{service.port}", domain=DOMAIN, token=service.find_token())
    return islice(cycle(batches), events // BATCH_EVENTS)
