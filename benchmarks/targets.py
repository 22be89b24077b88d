"""What the benchmark is to reach, figure by figure, and what the last recorded run had."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf, isfinite
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.load import Load
from benchmarks.open_load import OpenLoad
from benchmarks.scenarios import Crowded, Held, Replayed

RESULTS = Path(__file__).with_name("results")
MANY = 1000
"""From here on figures have no decimals."""


class Figure(Struct, frozen=True):
    """One figure beside its bound."""

    name: str
    value: float
    bound: float
    at_most: bool = False
    """Whether the bound is the largest value that is good, not the smallest."""
    exactly: bool = False
    """Whether only the bound itself is good."""

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        if self.exactly:
            return self.value == self.bound
        return self.value <= self.bound if self.at_most else self.value >= self.bound


class Result(Struct, frozen=True):
    """A recorded run."""

    day: str
    """And minute, UTC: the latest one is compared with."""
    machine: str
    settings: Sequence[str]
    figures: Sequence[Figure]


def events_per_cpu_second(load: Load) -> float:
    """Give how many events a second of CPU time was enough for: events a second, on a core of its own."""
    return load.window.answered / load.window.cpu_s if load.window.cpu_s else 0.0


def judge(
    *,
    silent: Load,
    telling: Load,
    new: Load,
    batched: Load,
    bare: Load,
    calm: OpenLoad,
    held: Held,
    crowded: Crowded,
    replayed: Replayed | None,
    stored_share: float,
) -> list[Figure]:
    """Give the figures. ``silent`` sends no telemetry; all else of the service was with it."""
    yardstick, single, in_batches, few, beside = map(
        events_per_cpu_second, (bare, telling, batched, crowded.few, crowded.beside)
    )
    figures = [
        Figure("single events, times the bare handler", _share(single, yardstick), 1.4),
        Figure(
            "every visitor new, times the bare handler", _share(events_per_cpu_second(new), yardstick), 1.0
        ),
        Figure("CPU µs per event, everything included", 1e6 / single if single else inf, 30.0, at_most=True),
        Figure("stored / acknowledged", stored_share, 1.0, exactly=True),
        Figure("p99 ms at half of the maximum rate", _answered_p99_ms(calm), 10.0, at_most=True),
        Figure("longest hold while a block is flushed, ms", held.longest_s * 1000, 10.0, at_most=True),
        Figure("events in batches of 500, times single ones", _share(in_batches, single), 1.5),
        Figure("KB per live session", crowded.session_bytes / 1000, 1.0, at_most=True),
        Figure("KB per known idle site", crowded.idle_site_bytes / 1000, 0.3, at_most=True),
        Figure("KB per awake site without sessions", crowded.awake_site_bytes / 1000, 6.0, at_most=True),
        Figure("beside a million sessions, times with 1,000", _share(beside, few), 0.9),
        Figure("seconds to ready with 100,000 sites", crowded.ready_s, 3.0, at_most=True),
    ]
    if replayed is not None:
        rows = replayed.events + replayed.session_rows
        figures.append(Figure("rows/s from the journal into the store", rows / replayed.seconds, 100_000.0))
    figures.append(
        Figure("with telemetry, times without", _share(single, events_per_cpu_second(silent)), 0.92)
    )
    return figures


def _answered_p99_ms(calm: OpenLoad) -> float:
    """Give the p99 of what was accepted; a load that was not accepted as a whole has none."""
    return calm.accepted.p99_ms if calm.sent and calm.accepted.count == calm.sent else inf


def show(figures: Sequence[Figure], before: Result | None) -> list[str]:
    """Give a line for each figure: its value, its bound, ``met`` or ``short``, and what it was before."""
    known = {figure.name: figure.value for figure in before.figures} if before is not None else {}
    lines = [f"{'target':46}{'':>9}{'bound':>12}{f'  {before.day[:10]}' if before else '':>14}"]
    for figure in figures:
        sign = "=" if figure.exactly else "≤" if figure.at_most else "≥"
        was = _shown(known[figure.name]) if figure.name in known else ""
        bound, verdict = f"{sign} {_shown_bound(figure.bound)}", "met" if figure.is_met else "short"
        lines.append(f"{figure.name:46}{_shown(figure.value):>9}{bound:>12}{was:>14}  {verdict}")
    if before is not None:
        lines.append(f"The dated column was recorded on: {before.machine}.")
    return lines


def _shown(value: float) -> str:
    return f"{value:,.0f}" if MANY <= value < inf else f"{value:.2f}"


def _shown_bound(bound: float) -> str:
    return f"{bound:,.0f}" if bound >= MANY else f"{bound:g}"


def last_result() -> Result | None:
    """Give the latest recorded run; None when there is none."""
    results = [msgspec.json.decode(path.read_bytes(), type=Result) for path in RESULTS.glob("*.json")]
    return max(results, key=lambda result: result.day, default=None)


def save(name: str, machine: str, settings: Sequence[str], figures: Sequence[Figure]) -> None:
    """Record a run as ``benchmarks/results/NAME.json``, but for figures that are no number: JSON has none."""
    figures = [figure for figure in figures if isfinite(figure.value)]
    result = Result(datetime.now(UTC).isoformat(timespec="minutes"), machine, settings, figures)
    RESULTS.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(result)).decode()
    (RESULTS / f"{name}.json").write_text(text + "\n")


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
