"""``make bench``: the real service and a bare handler under the same load, in turns, and their ratio.

The measured process has one core to itself, load and database have another. Files are written only if asked.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from statistics import median
from time import perf_counter

import msgspec
from msgspec import Struct, structs

from benchmarks import targets
from benchmarks.load import CONNECTIONS, Load, Traffic
from benchmarks.open_load import OpenLoad
from benchmarks.processes import (
    DOMAIN,
    Cores,
    open_load,
    plan_lane,
    running_bare,
    running_database,
    running_service,
    running_sink,
    take_loads,
)
from benchmarks.scenarios import (
    SHORT,
    Crowded,
    Held,
    Replayed,
    Scale,
    age_for_turns,
    crowd_sites,
    hold_flush,
    plan_turns,
    replay,
)

OWN_CORE_SHARE = 0.9
"""A full process that gets less of its core than this shares it with somebody."""
CALM_CONNECTIONS = 256
CREATED_FILES = 50
SLOW_CREATION_S = 0.0002
"""A quiet ext4 makes a file in 0.03 ms."""


class Report(Struct, frozen=True):
    """All that a run of the benchmark found out."""

    machine: str
    cores: int
    file_creation_s: float
    """How long it took to make a file before anything was measured, where all files of this run are."""
    store: str
    settings: Sequence[str]
    scale: Scale
    service: Load
    telling: Load
    """The service with telemetry at its defaults, sent to a collector; the other one sends none."""
    batched: Load
    """With telemetry, in batches."""
    new: Load
    """With telemetry, every visitor new."""
    bare: Load
    calm: OpenLoad
    """The service with telemetry, at half of what it can carry."""
    held: Held
    crowded: Crowded
    replayed: Replayed | None
    """None with the embedded store, which cannot be away while the service runs."""
    stored: int
    """Events in ClickHouse at the end, of all services."""

    @property
    def acknowledged(self) -> int:
        """Events that the services said they have, over all rounds and warm-ups."""
        loads = (self.service, self.telling, self.new, self.batched)
        counted = [self.held.counted, self.crowded.counted]
        if self.replayed is not None:
            counted.append(self.replayed.counted)
        return (
            sum(load.acknowledged for load in loads)
            + self.calm.acknowledged
            + sum(each.acknowledged for each in counted)
        )

    @property
    def stored_share(self) -> float:
        """Stored events over acknowledged ones."""
        return self.stored / self.acknowledged if self.acknowledged else 0.0

    @property
    def figures(self) -> list[targets.Figure]:
        """What there are targets for."""
        return targets.judge(
            silent=self.service,
            telling=self.telling,
            new=self.new,
            batched=self.batched,
            bare=self.bare,
            calm=self.calm,
            held=self.held,
            crowded=self.crowded,
            replayed=self.replayed,
            stored_share=self.stored_share,
        )


def run(*, scale: Scale, store: str, settings: Sequence[str]) -> Report:
    """Measure all in turns, so that what else the machine does hits all."""
    cores = Cores()
    cores.pin_others()
    with (
        tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name,
        running_sink(cores, Path(name)) as collector,
    ):
        folder = Path(name)
        file_creation_s = _time_file_creation(folder)
        told = [*settings, f"otlp_endpoint={collector}"]
        kinds: dict[str, tuple[Traffic, Sequence[str]]] = {
            "silent": ("known", settings),
            "telling": ("known", told),
            "new": ("new", told),
            "batched": ("batches", told),
        }
        processes = (len(kinds) + 1) * scale.starts
        _say(f"starting ClickHouse, {processes - scale.starts} services and {scale.starts} bare handlers ...")
        with ExitStack() as stack:
            database = None
            if store == "native":
                database = stack.enter_context(running_database(folder / "clickhouse"))
            others = stack.enter_context(ExitStack())
            # Each load has services of its own: CPU time is known of whole processes, and the sessions of
            # ever new visitors would be a burden to the others.
            services = {
                name: [
                    (stack if name == "telling" and not number else others).enter_context(
                        running_service(
                            cores,
                            folder / f"{name}{number}",
                            store=store,
                            settings=[age_for_turns(processes), *chosen],
                            database=database,
                        )
                    )
                    for number in range(scale.starts)
                ]
                for name, (_, chosen) in kinds.items()
            }
            bare = [
                others.enter_context(running_bare(cores, folder / f"bare{number}.log"))
                for number in range(scale.starts)
            ]
            everyone = list(chain.from_iterable(services.values()))
            if scale.settles:
                _say("a minute or two, until what a start brings with it is done ...")
                for each in everyone:
                    each.settle()
            lanes = [plan_lane(services[name], traffic) for name, (traffic, _) in kinds.items()]
            _say(f"{len(lanes) + 1} loads in turns, {scale.rounds} rounds of {scale.turn_s:g} s each ...")
            loads = take_loads(plan_turns(scale, [*lanes, plan_lane(bare)]))
            rate = events_per_second(loads[1]) / 2
            for each in everyone:
                each.flush()
            telling = services["telling"].pop(0)
            stored = sum(each.stored_events() for each in chain.from_iterable(services.values()))
            others.close()
            _say(f"half of the maximum rate, {rate:,.0f} events/s for {scale.seconds:g} s ...")
            with open_load(
                telling, domain=DOMAIN, rate=rate, connections=CALM_CONNECTIONS, seconds=scale.seconds
            ) as wait:
                calm = wait()
            telling.flush()
            stored += telling.stored_events()
        _say(f"{scale.flushed_events:,} events flushed at {rate:,.0f} events/s ...")
        held = hold_flush(cores, folder / "held", store=store, settings=told, scale=scale, rate=rate)
        _say(f"{scale.sites:,} sites, {scale.awake_sites * scale.visitors:,} sessions ...")
        crowded = crowd_sites(cores, folder / "crowded", store=store, settings=told, scale=scale)
        stored += held.counted.stored + crowded.counted.stored
        replayed = None
        if store == "native":
            _say(f"a killed service's journal of {scale.replayed_events:,} events ...")
            replayed = replay(cores, folder / "replayed", settings=settings, scale=scale)
            stored += replayed.counted.stored
    return Report(
        machine=f"{_processor()}, {_memory_gib():.0f} GiB, Python {platform.python_version()}",
        cores=len({cores.measured, cores.others}),
        file_creation_s=file_creation_s,
        store=store,
        settings=settings,
        scale=scale,
        service=loads[0],
        telling=loads[1],
        new=loads[2],
        batched=loads[3],
        bare=loads[4],
        calm=calm,
        held=held,
        crowded=crowded,
        replayed=replayed,
        stored=stored,
    )


def events_per_second(load: Load) -> float:
    """Give the answers a second."""
    return load.window.answered / load.window.seconds


def cpu_us_per_event(load: Load) -> float:
    """Give the CPU time of the measured process for one event."""
    return load.window.cpu_s * 1e6 / load.window.answered if load.window.answered else 0.0


def table(report: Report) -> str:
    """Put the loads side by side."""
    rows: list[tuple[str, str, Callable[[Load], float]]] = [
        ("events/s", ",.0f", events_per_second),
        ("p50 ms", ".2f", lambda load: load.window.p50_ms),
        ("p99 ms", ".2f", lambda load: load.window.p99_ms),
        ("CPU µs per event", ".1f", cpu_us_per_event),
    ]
    scale = report.scale
    lines = [
        f"{report.machine}; {report.cores} core(s), {report.store} store, {CONNECTIONS} connections,"
        f" {scale.rounds} turns of {scale.turn_s:g} s each",
        "",
        f"{'':18}{'gatehouse':>12}{'telemetry on':>14}{'bare':>12}{'ratio':>9}",
    ]
    for name, shape, figure in rows:
        ours, telling, theirs = map(figure, (report.service, report.telling, report.bare))
        ratio = f"{ours / theirs:.2f}" if theirs else "-"
        lines.append(f"{name:18}{ours:>12{shape}}{telling:>14{shape}}{theirs:>12{shape}}{ratio:>9}")
    lines += ["", *_conclusions(report), "", *targets.show(report.figures, targets.last_result())]
    return "\n".join(lines)


def _conclusions(report: Report) -> list[str]:
    """Say what became of the events, and what makes the figures doubtful."""
    lines = [
        f"stored / acknowledged: {report.stored:,} / {report.acknowledged:,} = {report.stored_share:.6f}"
    ]
    for name, load in (
        ("gatehouse", report.service),
        ("telemetry on", report.telling),
        ("new visitors", report.new),
        ("batches", report.batched),
        ("bare", report.bare),
        ("few sessions", report.crowded.few),
        ("few beside many", report.crowded.beside),
        ("many sessions", report.crowded.many),
    ):
        odd = {status: count for status, count in load.statuses.items() if status != "202"}
        if odd or load.dropped or load.unanswered:
            lines.append(
                f"{name}: {load.dropped} dropped, {load.unanswered} unanswered,"
                f" other statuses: {odd or 'none'}"
            )
        core_share = load.window.cpu_s / load.window.seconds
        if core_share < OWN_CORE_SHARE:
            lines.append(f"{name} had {core_share:.0%} of its core: trust the CPU time, not the events/s.")
    if report.file_creation_s > SLOW_CREATION_S:
        lines.append(
            f"making a file took {report.file_creation_s * 1000:.1f} ms, and ClickHouse makes many: ext4 "
            "without a journal is slow for five minutes after many were deleted. Run this again then."
        )
    return lines + _notes(report)


def _notes(report: Report) -> list[str]:
    """Say what stands behind the figures of the scenarios."""
    calm, held, crowded, replayed = report.calm, report.held, report.crowded, report.replayed
    few, beside, many = map(cpu_us_per_event, (crowded.few, crowded.beside, crowded.many))
    lines = [
        f"half rate: {calm.accepted.count / calm.seconds:,.0f} events/s, p50 {calm.accepted.p50_ms:.2f} ms,"
        f" {calm.refused.count} refused, {calm.unanswered} unanswered;"
        f" the sender was {calm.late_ms:.1f} ms late at its own p99",
        f"flush: {held.flush_s:.2f} s beside {held.rate:,.0f} events/s; {held.over_bound} holds over 10 ms;"
        f" the longest in CPU time {held.longest_cpu_s * 1000:.1f} ms",
        f"sessions: {crowded.few_sessions:,} at {few:.1f} µs an event, the same ones beside"
        f" {crowded.many_sessions:,} at {beside:.1f}; when all of these send in turn {many:.1f}",
    ]
    if replayed is not None:
        lines.append(
            f"replay: {replayed.events:,} rows of events_v2 and {replayed.session_rows:,} of sessions_v2"
            f" in {replayed.seconds:.2f} s, without the start of the process"
        )
    return lines


def _time_file_creation(folder: Path) -> float:
    def create(number: int) -> float:
        began = perf_counter()
        path = folder / f"probe{number}"
        path.touch()
        took_s = perf_counter() - began
        path.unlink()
        return took_s

    return median(map(create, range(CREATED_FILES)))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} ({os.cpu_count()} cores)"
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, help="of one turn (default 0.1)")
    parser.add_argument(
        "--short", action="store_true", help="only show that it works: small, and its figures say nothing"
    )
    parser.add_argument("--rounds", type=int, help="turns of each load that is compared (default 200)")
    parser.add_argument("--store", choices=("native", "embedded"), default="native")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting to try")
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead of the table")
    parser.add_argument("--save", metavar="NAME", help="also write benchmarks/results/NAME.json")
    options = parser.parse_args()
    scale = SHORT if options.short else Scale()
    if options.seconds is not None:
        scale = structs.replace(scale, turn_s=options.seconds)
    if options.rounds is not None:
        scale = structs.replace(scale, rounds=options.rounds)
    report = run(scale=scale, store=options.store, settings=options.set)
    as_json = msgspec.json.format(msgspec.json.encode(report)).decode()
    print(as_json if options.json else table(report))
    if options.save:
        targets.save(options.save, report.machine, report.settings, report.figures)
    if report.stored != report.acknowledged:
        raise SystemExit("Not all that was acknowledged is stored once.")


if __name__ == "__main__":
    main()
