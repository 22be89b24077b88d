"""``make bench``: the real service and a bare handler under the same load, in turns, and their ratio.

The measured process has one core to itself, load and database have another. Files are written only if asked.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from benchmarks import targets
from benchmarks.load import CONNECTIONS, WARM_UP_S, Load
from benchmarks.processes import Cores, running_bare, running_service, running_sink

OWN_CORE_SHARE = 0.9
"""A full process that gets less of its core than this shares it with somebody."""


class Report(Struct, frozen=True):
    """All that a run of the benchmark found out."""

    machine: str
    cores: int
    store: str
    settings: Sequence[str]
    service: list[Load]
    telling: list[Load]
    """The service with telemetry at its defaults, sent to a collector; the other one sends none."""
    new: list[Load]
    """The latter, every visitor new."""
    batched: list[Load]
    """The latter, in batches."""
    bare: list[Load]
    stored: int
    """Events in ClickHouse at the end."""

    @property
    def acknowledged(self) -> int:
        """Events that the service said it has, over all rounds and warm-ups."""
        return sum(load.acknowledged for load in (*self.service, *self.telling, *self.new, *self.batched))

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
            stored_share=self.stored_share,
        )


def run(*, seconds: float, rounds: int, store: str, settings: Sequence[str]) -> Report:
    """Measure all in turns, so that what else the machine does hits all."""
    cores = Cores()
    cores.pin_others()
    service_loads: list[Load] = []
    telling_loads: list[Load] = []
    new_loads: list[Load] = []
    batched_loads: list[Load] = []
    bare_loads: list[Load] = []
    with tempfile.TemporaryDirectory(prefix="gatehouse-bench-") as name:
        folder = Path(name)
        _say("starting ClickHouse, the service with and without telemetry, and the bare handler ...")
        with (
            running_sink(cores, folder) as collector,
            running_service(cores, folder / "off", store=store, settings=settings) as service,
            running_service(
                cores, folder / "on", store=store, settings=[*settings, f"otlp_endpoint={collector}"]
            ) as telling,
            running_bare(cores, folder) as bare,
        ):
            for number in range(1, rounds + 1):
                _say(f"round {number} of {rounds}: the service, {WARM_UP_S:g} + {seconds:g} s ...")
                service_loads.append(service.take_load(seconds))
                service.flush()
                _say(f"round {number} of {rounds}: with telemetry, {WARM_UP_S:g} + {seconds:g} s ...")
                telling_loads.append(telling.take_load(seconds))
                telling.flush()
                _say(f"round {number} of {rounds}: every visitor new, {WARM_UP_S:g} + {seconds:g} s ...")
                new_loads.append(telling.take_load(seconds, "new"))
                telling.flush()
                _say(f"round {number} of {rounds}: in batches, {WARM_UP_S:g} + {seconds:g} s ...")
                batched_loads.append(telling.take_load(seconds, "batches"))
                telling.flush()
                _say(f"round {number} of {rounds}: the bare handler, {WARM_UP_S:g} + {seconds:g} s ...")
                bare_loads.append(bare.take_load(seconds))
            stored = service.stored_events() + telling.stored_events()
    return Report(
        machine=f"{_processor()}, {_memory_gib():.0f} GiB, Python {platform.python_version()}",
        cores=len({cores.measured, cores.others}),
        store=store,
        settings=settings,
        service=service_loads,
        telling=telling_loads,
        new=new_loads,
        batched=batched_loads,
        bare=bare_loads,
        stored=stored,
    )


def events_per_second(load: Load) -> float:
    """Give the answers a second."""
    return load.window.answered / load.window.seconds


def cpu_us_per_event(load: Load) -> float:
    """Give the CPU time of the measured process for one event."""
    return load.window.cpu_s * 1e6 / load.window.answered if load.window.answered else 0.0


def table(report: Report) -> str:
    """Put the medians of the rounds side by side."""
    rows: list[tuple[str, str, Callable[[Load], float]]] = [
        ("events/s", ",.0f", events_per_second),
        ("p50 ms", ".2f", lambda load: load.window.p50_ms),
        ("p99 ms", ".2f", lambda load: load.window.p99_ms),
        ("CPU µs per event", ".1f", cpu_us_per_event),
    ]
    lines = [
        f"{report.machine}; {report.cores} core(s), {report.store} store, {CONNECTIONS} connections,"
        f" median of {len(report.service)} round(s)",
        "",
        f"{'':18}{'gatehouse':>12}{'telemetry on':>14}{'bare':>12}{'ratio':>9}",
    ]
    for name, shape, figure in rows:
        ours, telling, theirs = (
            median(map(figure, loads)) for loads in (report.service, report.telling, report.bare)
        )
        ratio = f"{ours / theirs:.2f}" if theirs else "-"
        lines.append(f"{name:18}{ours:>12{shape}}{telling:>14{shape}}{theirs:>12{shape}}{ratio:>9}")
    lines += ["", *_conclusions(report), "", *targets.show(report.figures, targets.last_result())]
    return "\n".join(lines)


def _conclusions(report: Report) -> list[str]:
    """Say what became of the events, and what makes the figures doubtful."""
    lines = [
        f"stored / acknowledged: {report.stored:,} / {report.acknowledged:,} = {report.stored_share:.6f}"
    ]
    for name, loads in (
        ("gatehouse", report.service),
        ("telemetry on", report.telling),
        ("new visitors", report.new),
        ("batches", report.batched),
        ("bare", report.bare),
    ):
        odd = {status: count for load in loads for status, count in load.statuses.items() if status != "202"}
        dropped, unanswered = sum(load.dropped for load in loads), sum(load.unanswered for load in loads)
        if odd or dropped or unanswered:
            lines.append(
                f"{name}: {dropped} dropped, {unanswered} unanswered, other statuses: {odd or 'none'}"
            )
        core_share = median(load.window.cpu_s / load.window.seconds for load in loads)
        if core_share < OWN_CORE_SHARE:
            lines.append(f"{name} had {core_share:.0%} of its core: trust the CPU time, not the events/s.")
    return lines


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
    parser.add_argument("--seconds", type=float, default=10.0, help="measured time of one round (default 10)")
    parser.add_argument("--rounds", type=int, default=1, help="rounds of both; the table shows medians")
    parser.add_argument("--store", choices=("native", "embedded"), default="native")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting to try")
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead of the table")
    parser.add_argument("--save", metavar="NAME", help="also write benchmarks/results/NAME.json")
    options = parser.parse_args()
    report = run(seconds=options.seconds, rounds=options.rounds, store=options.store, settings=options.set)
    as_json = msgspec.json.format(msgspec.json.encode(report)).decode()
    print(as_json if options.json else table(report))
    if options.save:
        targets.save(options.save, report.machine, report.settings, report.figures)


if __name__ == "__main__":
    main()
