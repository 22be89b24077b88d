"""The targets of the benchmark: what is met, what is short, and what is compared."""

from math import inf
from pathlib import Path

import pytest
from msgspec import structs

from benchmarks import targets
from benchmarks.load import Load, Window
from benchmarks.open_load import OpenLoad, Times
from benchmarks.scenarios import Counted, Crowded, Held, Replayed
from benchmarks.targets import Figure, Result, judge, last_result, show


def load(answered: int, cpu_s: float = 1.0) -> Load:
    """Give a load of so many events, answered in so much CPU time."""
    return Load(Window(10.0, answered, 1.0, 2.0, cpu_s), answered, 0, {"202": answered}, 0)


COUNTED = Counted(1, 1)
HELD = Held(longest_s=0.0125, longest_cpu_s=0.01, over_bound=1, flush_s=1.0, rate=5_000.0, counted=COUNTED)
CROWDED = Crowded(
    ready_s=2.5,
    idle_site_bytes=250.0,
    awake_site_bytes=6_500.0,
    session_bytes=900.0,
    few=load(20_000),
    many=load(19_000),
    beside=load(19_000),
    few_sessions=1_000,
    many_sessions=1_000_000,
    counted=COUNTED,
)
REPLAYED = Replayed(seconds=2.0, events=190_000, session_rows=20_000, counted=COUNTED)


def open_load(accepted: int, *, refused: int = 0) -> OpenLoad:
    """Give a load of senders that do not wait."""
    return OpenLoad(
        seconds=1.0,
        sent=accepted + refused,
        accepted=Times(accepted, 1.0, 8.0),
        refused=Times(refused, 1.0, 2.0),
        dropped=0,
        without_retry_after=0,
        statuses={},
        unanswered=0,
        late_ms=1.0,
    )


@pytest.mark.parametrize(
    ("figure", "is_met"),
    [
        (Figure("more", 1.4, 1.4), True),
        (Figure("more", 1.39, 1.4), False),
        (Figure("less", 30.0, 30.0, at_most=True), True),
        (Figure("less", 30.1, 30.0, at_most=True), False),
        (Figure("exact", 1.0, 1.0, exactly=True), True),
        (Figure("exact", 1.000001, 1.0, exactly=True), False),
        (Figure("exact", 0.999999, 1.0, exactly=True), False),
    ],
)
def test_a_figure_is_met_or_short(figure: Figure, is_met: bool) -> None:
    """At the bound it is met."""
    assert figure.is_met is is_met


def test_speeds_are_compared_by_cpu_time() -> None:
    """A process that was given half of its core is not half as fast."""
    figures = judge(
        silent=load(25_000),
        telling=load(24_000),
        new=load(12_000),
        batched=load(24_000, 0.5),
        bare=load(10_000, 0.5),
        calm=open_load(5_000),
        held=HELD,
        crowded=CROWDED,
        replayed=REPLAYED,
        stored_share=1.0,
    )
    values = [round(figure.value, 2) for figure in figures]
    assert values == [1.2, 0.6, 41.67, 1.0, 8.0, 12.5, 2.0, 0.9, 0.25, 6.5, 0.95, 2.5, 105_000.0, 0.96]
    short = [figure.name for figure in figures if not figure.is_met]
    assert short == [
        "single events, times the bare handler",
        "every visitor new, times the bare handler",
        "CPU µs per event, everything included",
        "longest hold while a block is flushed, ms",
        "KB per awake site without sessions",
    ]


def test_a_calm_load_that_was_refused_in_part_has_no_p99() -> None:
    """Who refuses the slow ones is not fast; and a store that cannot be away has no replay."""
    figures = judge(
        silent=load(1),
        telling=load(1),
        new=load(1),
        batched=load(1),
        bare=load(1),
        calm=open_load(4_999, refused=1),
        held=HELD,
        crowded=CROWDED,
        replayed=None,
        stored_share=1.0,
    )
    by_name = {figure.name: figure for figure in figures}
    assert not by_name["p99 ms at half of the maximum rate"].is_met
    assert not any("journal" in name for name in by_name)


def test_what_was_not_measured_is_short() -> None:
    """No figure divides by nothing."""
    nothing = load(0, 0.0)
    figures = judge(
        silent=nothing,
        telling=nothing,
        new=nothing,
        batched=nothing,
        bare=nothing,
        calm=open_load(0),
        held=HELD,
        crowded=structs.replace(CROWDED, few=load(0, 0.0), beside=load(0, 0.0)),
        replayed=structs.replace(REPLAYED, events=0, session_rows=0),
        stored_share=0.0,
    )
    met = {figure.name for figure in figures if figure.is_met}
    assert met == {"KB per live session", "KB per known idle site", "seconds to ready with 100,000 sites"}


def test_the_last_run_stands_beside() -> None:
    """Each line ends with its verdict; a figure that is new has nothing beside it."""
    before = Result("2026-11-01", "a machine", (), [Figure("old", 1.25, 1.0)])
    figures = [
        Figure("old", 1.5, 1.0),
        Figure("new", 31.0, 30.0, at_most=True),
        Figure("many", 99_999.6, 1e5),
    ]
    lines = show(figures, before)
    assert [line.split() for line in lines[1:4]] == [
        ["old", "1.50", "≥", "1", "1.25", "met"],
        ["new", "31.00", "≤", "30", "short"],
        ["many", "100,000", "≥", "100,000", "short"],
    ]
    assert "2026-11-01" in lines[0]
    assert "a machine" in lines[-1]


def test_recorded_runs_can_be_read() -> None:
    """Whatever is in the folder of results is a run, or there is none yet."""
    result = last_result()
    assert result is None or result.figures


def test_a_run_without_a_figure_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was refused has no 99th percentile; the rest of such a run is kept."""
    monkeypatch.setattr(targets, "RESULTS", tmp_path)
    targets.save("run", "a machine", (), [Figure("p99", inf, 10.0, at_most=True), Figure("ratio", 1.2, 1.4)])

    result = last_result()
    assert result is not None
    assert [figure.name for figure in result.figures] == ["ratio"]
