"""The targets of the benchmark: what is met, what is short, and what is compared."""

import pytest

from benchmarks.load import Load, Window
from benchmarks.targets import Figure, Result, judge, last_result, show


def load(answered: int, cpu_s: float = 1.0) -> Load:
    """Give a load of so many events, answered in so much CPU time."""
    return Load(Window(10.0, answered, 1.0, 2.0, cpu_s), answered, 0, {"202": answered}, 0)


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
    """A process that was given half of its core is not half as fast; the median round counts."""
    figures = judge(
        silent=[load(25_000)],
        telling=[load(1), load(24_000), load(50_000)],
        new=[load(12_000)],
        batched=[load(24_000, 0.5)],
        bare=[load(10_000, 0.5)],
        stored_share=1.0,
    )
    values = [round(figure.value, 2) for figure in figures]
    assert values == [1.2, 0.6, 41.67, 1.0, 2.0, 0.96]
    assert [figure.is_met for figure in figures] == [False, False, False, True, True, True]


def test_what_was_not_measured_is_short() -> None:
    """No figure divides by nothing."""
    nothing = [load(0, 0.0)]
    figures = judge(
        silent=nothing, telling=nothing, new=nothing, batched=nothing, bare=nothing, stored_share=0.0
    )
    assert not any(figure.is_met for figure in figures)


def test_the_last_run_stands_beside() -> None:
    """Each line ends with its verdict; a figure that is new has nothing beside it."""
    before = Result("2026-11-01", "a machine", (), [Figure("old", 1.25, 1.0)])
    lines = show([Figure("old", 1.5, 1.0), Figure("new", 31.0, 30.0, at_most=True)], before)
    assert [line.split() for line in lines[1:3]] == [
        ["old", "1.50", "≥", "1", "1.25", "met"],
        ["new", "31.00", "≤", "30", "short"],
    ]
    assert "2026-11-01" in lines[0]
    assert "a machine" in lines[-1]


def test_recorded_runs_can_be_read() -> None:
    """Whatever is in the folder of results is a run, or there is none yet."""
    result = last_result()
    assert result is None or result.figures
