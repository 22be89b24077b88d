"""What Gatehouse does with more than it can carry: four scenarios, each figure beside its bound.

- ``burst``: three times what one core can carry, from senders that do not wait for answers.
- ``neighbour``: one site with a hundred times the events of another; what the other one notices.
- ``crowd``: 10,000 idle connections, slow and half-open ones; what everybody else notices.
- ``backlog``: the database goes away, events come in, it returns; what senders notice of the catching up.

The service has one core, the database and the senders another, as in ``make bench``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.load import Plan, cpu_seconds
from benchmarks.open_load import CONNECTIONS, OpenLoad
from benchmarks.processes import DOMAIN, Cores, Service, open_load, plan_lane, running_service, take_loads
from benchmarks.run import events_per_second

NEIGHBOUR = "neighbour.example"
FINDING_RATE_S = 5.0
WARM_UP_S = 2.0
OVERLOAD = 3.0
CALM_SHARE = 0.1
ACCEPTED_P99_MS = 250.0
REFUSED_P99_MS = 250.0
GROWTH_BOUND_MB = 64.0
"""What caches, sessions and buffers may add to the memory of a service that had its first load."""
NOTICED_MS = 25.0
"""A p99 that grew by less is not noticed."""
NOTICED_TIMES = 2.0
SHARE = 100
QUIET_CONNECTIONS = 16
CROWD_IDLE = 10_000
CROWD_SLOW = 250
LIVE_SHARE = 0.3
"""Of what one core can carry: the live traffic of a service with room to spare."""
WATCH_S = 0.1
DRAIN_LIMIT_S = 600.0
MEBIBYTE = 2**20


class Line(msgspec.Struct, frozen=True):
    """One figure; ``met`` is None when there is nothing that it must be."""

    name: str
    figure: str
    bound: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        verdict = "" if self.met is None else ("met" if self.met else "short")
        return f"  {self.name:44}{self.figure:>24}   {self.bound:22}{verdict}".rstrip()


class Memory:
    """Watches the memory of a process while a scenario runs."""

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/statm")
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)
        self.before_mb = self.peak_mb = self.now_mb

    @property
    def now_mb(self) -> float:
        """What it holds now, in MiB."""
        return int(self._file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE

    @contextmanager
    def watching(self) -> Iterator["Memory"]:
        """Keep the peak until the block ends."""
        self._watching.start()
        try:
            yield self
        finally:
            self._ended.set()
            self._watching.join()

    def line(self) -> Line:
        """Say how it grew."""
        figure = f"{self.before_mb:.0f} / {self.peak_mb:.0f} / {self.now_mb:.0f} MiB"
        grown = self.peak_mb - self.before_mb
        return Line(
            "memory before / peak / after",
            figure,
            f"growth < {GROWTH_BOUND_MB:.0f} MiB",
            grown < GROWTH_BOUND_MB,
        )

    def _watch(self) -> None:
        while not self._ended.wait(WATCH_S):
            self.peak_mb = max(self.peak_mb, self.now_mb)


class Bench:
    """A running service, how much it can carry, and the loads that it was given."""

    def __init__(self, service: Service, seconds: float) -> None:
        self.service = service
        self.seconds = seconds
        plan = Plan(lanes=[plan_lane([service])], rounds=1, turn_s=FINDING_RATE_S, warm_up_s=WARM_UP_S)
        (first,) = take_loads(plan)
        service.flush()
        self.sustainable = events_per_second(first)
        self._acknowledged = first.acknowledged
        self._unanswered = first.unanswered

    @contextmanager
    def load(
        self,
        rate: float,
        *,
        domain: str = DOMAIN,
        connections: int = CONNECTIONS,
    ) -> Iterator[Callable[[], OpenLoad]]:
        """Send so many events a second while the block lasts; gives what waits for the end of the load."""
        with open_load(
            self.service, domain=domain, rate=rate, connections=connections, seconds=self.seconds
        ) as wait:

            def count() -> OpenLoad:
                result = wait()
                self._acknowledged += result.acknowledged
                self._unanswered += result.unanswered
                return result

            yield count

    def take(self, rate: float, *, domain: str = DOMAIN, connections: int = CONNECTIONS) -> OpenLoad:
        """Send so many events a second, and wait for the end."""
        with self.load(rate, domain=domain, connections=connections) as wait:
            return wait()

    def stored_line(self) -> Line:
        """Compare what is stored with all that was acknowledged until now.

        What the load had no answer for when it gave up may be stored or not.
        """
        self.service.flush()
        stored, least = self.service.stored_events(), self._acknowledged
        bound = "equal" if not self._unanswered else f"<= {least + self._unanswered:,}"
        met = least <= stored <= least + self._unanswered
        return Line("stored / acknowledged", f"{stored:,} / {least:,}", bound, met)


def burst(bench: Bench) -> Iterator[Line]:
    """Send three times what can be carried."""
    calm = bench.take(CALM_SHARE * bench.sustainable)
    with Memory(bench.service.pid).watching() as memory:
        cpu_s, waited_s = cpu_seconds(bench.service.pid), _waited_s(bench.service.pid)
        load = bench.take(OVERLOAD * bench.sustainable)
        cpu_s = cpu_seconds(bench.service.pid) - cpu_s
        waited_s = _waited_s(bench.service.pid) - waited_s
    yield _times("a tenth of it, p50 / p99: the machine's own", calm, accepted=True)
    yield Line("the service had of its core", f"{cpu_s / load.seconds:.0%}")
    yield Line("and waited for it, because others had it", f"{waited_s / load.seconds:.0%}")
    yield Line("sustainable, events/s (closed loop)", f"{bench.sustainable:,.0f}")
    yield Line("sent, events/s", f"{load.sent / load.seconds:,.0f}", f"{OVERLOAD:g}x")
    yield Line("accepted, refused", f"{load.accepted.count:,}, {load.refused.count:,}")
    accepted_well = load.accepted.p99_ms < ACCEPTED_P99_MS
    yield _times("accepted p50 / p99", load, accepted=True, bound=ACCEPTED_P99_MS, met=accepted_well)
    refused_well = load.refused.p99_ms < REFUSED_P99_MS
    yield _times("refused p50 / p99", load, accepted=False, bound=REFUSED_P99_MS, met=refused_well)
    others = load.sent - load.accepted.count - load.refused.count
    yield Line("neither 202 nor 503, or no answer", f"{others:,}", "0", others == 0)
    yield Line("503 without Retry-After", f"{load.without_retry_after:,}", "0", load.without_retry_after == 0)
    yield Line("sender behind its schedule, p99", f"{load.late_ms:.1f} ms")
    yield memory.line()
    yield bench.stored_line()


def neighbour(bench: Bench) -> Iterator[Line]:
    """Give one site a hundred times the events of another."""
    bench.service.add_site(NEIGHBOUR)
    rate = bench.sustainable / 2 / SHARE
    alone = bench.take(rate, domain=NEIGHBOUR, connections=QUIET_CONNECTIONS)
    with bench.load(rate * SHARE) as noisy:
        beside = bench.take(rate, domain=NEIGHBOUR, connections=QUIET_CONNECTIONS)
        loud = noisy()
    yield Line("events/s of the quiet and the loud site", f"{rate:,.0f}, {rate * SHARE:,.0f}")
    yield from _compared(alone, beside, "the quiet site alone", "the quiet site beside the loud one")
    yield _times("the loud site itself", loud, accepted=True)
    yield bench.stored_line()


def crowd(bench: Bench) -> Iterator[Line]:
    """Open thousands of connections that ask for nothing."""
    rate = bench.sustainable * LIVE_SHARE
    alone = bench.take(rate)
    bench.service.add_site(NEIGHBOUR)
    command = [sys.executable, "-m", "benchmarks.crowd", "--port", str(bench.service.port)]
    command += ["--domain", "nobody.example", "--idle", str(CROWD_IDLE), "--slow", str(CROWD_SLOW)]
    with Memory(bench.service.pid).watching() as memory:
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None, "it is a pipe"
            opened = process.stdout.readline().decode().strip()
            beside = bench.take(rate)
        finally:
            process.kill()
            process.wait()
    yield Line("connections", opened)
    yield from _compared(alone, beside, "others, without the crowd", "others, with it")
    yield memory.line()
    yield bench.stored_line()


def backlog(bench: Bench) -> Iterator[Line]:
    """Take the database away, let events come in, give it back."""
    service, rate = bench.service, bench.sustainable * LIVE_SHARE
    assert service.database is not None, "this scenario is for the native store"
    before = bench.take(rate)
    service.flush()
    with Memory(service.pid).watching() as memory:
        service.database.kill()
        away = bench.take(rate)
        waiting = service.statistics()["events_waiting"]
        service.database.restart()
        with bench.load(rate) as live:
            drained, drain_s = _watch_drain(service, waiting)
            during = live()
    service.flush()
    yield Line("events that waited", f"{waiting:,}")
    yield Line("drained, events/s", f"{drained / drain_s:,.0f}", f"live {rate:,.0f}")
    yield _times("live before the outage p50 / p99", before, accepted=True)
    yield _times("live while the database is away", away, accepted=True)
    yield from _compared(before, during, "before", "live while the backlog drains")[1:]
    refused = away.refused.count + during.refused.count
    yield Line("refused, away and meanwhile", f"{refused:,}", "0", refused == 0)
    yield memory.line()
    yield bench.stored_line()


def _watch_drain(service: Service, waiting: int) -> tuple[int, float]:
    """Give how many events were inserted from the first insert until only live ones wait, and the seconds."""
    began_with = service.statistics()["events_inserted"]
    deadline = time.monotonic() + DRAIN_LIMIT_S
    while (inserted := service.statistics()["events_inserted"]) == began_with:
        if time.monotonic() > deadline:
            raise SystemExit("The database came back and nothing was inserted.")
        time.sleep(WATCH_S)
    began, first = time.monotonic(), inserted
    while inserted - began_with < waiting and time.monotonic() < deadline:
        time.sleep(WATCH_S)
        inserted = service.statistics()["events_inserted"]
    return inserted - first, max(time.monotonic() - began, WATCH_S)


def _waited_s(pid: int) -> float:
    """Give for how long the main thread could have run and another process had its core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _compared(before: OpenLoad, after: OpenLoad, name: str, other: str) -> list[Line]:
    bound = max(before.accepted.p99_ms * NOTICED_TIMES, before.accepted.p99_ms + NOTICED_MS)
    met = after.accepted.p99_ms < bound and after.refused.count <= before.refused.count
    return [
        _times(f"{name}, p50 / p99", before, accepted=True),
        _times(f"{other}, p50 / p99", after, accepted=True, bound=bound, met=met),
    ]


def _times(name: str, load: OpenLoad, *, accepted: bool, bound: float = 0.0, met: bool | None = None) -> Line:
    times = load.accepted if accepted else load.refused
    figure = f"{times.p50_ms:.1f} / {times.p99_ms:.1f} ms"
    return Line(name, figure, f"p99 < {bound:.0f} ms" if bound else "", met)


SCENARIOS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "burst": burst,
    "neighbour": neighbour,
    "crowd": crowd,
    "backlog": backlog,
}


def run(scenarios: Sequence[str], *, seconds: float, settings: Sequence[str]) -> None:
    """Run scenarios one after the other, each with a service and a database of its own, and print."""
    cores = Cores()
    cores.pin_others()
    for name in scenarios:
        with (
            tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as folder,
            running_service(cores, Path(folder) / "on", store="native", settings=settings) as service,
        ):
            print(f"{name} ({seconds:g} s)", flush=True)
            for line in SCENARIOS[name](Bench(service, seconds)):
                print(line, flush=True)


def main() -> None:
    """Parse, run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each load (default 60)")
    parser.add_argument(
        "--scenario", action="append", choices=tuple(SCENARIOS), help="only this one; may be repeated"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting to try")
    options = parser.parse_args()
    run(options.scenario or tuple(SCENARIOS), seconds=options.seconds, settings=options.set)


if __name__ == "__main__":
    main()
