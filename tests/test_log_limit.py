"""How often the same line comes, and that what is left out is told."""

import logging

from hypothesis import given
from hypothesis import strategies as st

from service.log_limit import LEFT_OUT, LINES, MAX_KEYS, WINDOW_S, LogLimit


def record(
    text: str = "no %s", at: float = 0.0, name: str = "service.x", value: object = 1
) -> logging.LogRecord:
    """Make a record of a moment."""
    made = logging.LogRecord(name, logging.WARNING, "file", 1, text, (value,), None)
    made.created = at
    return made


def texts(lines: list[logging.LogRecord]) -> list[str]:
    """Give the lines as they are written."""
    return [line.getMessage() for line in lines]


def test_same_line_comes_a_few_times_and_then_its_count() -> None:
    """Beyond the limit nothing is written until the minute is over; then how many it were."""
    limit = LogLimit()
    written = [len(limit.pass_on(record(at=i * 0.1, value=i))) for i in range(LINES + 25)]
    later = limit.pass_on(record("another %s", at=WINDOW_S + 1))

    assert written == [1] * LINES + [0] * 25
    assert texts(later) == [f"25 more lines like this were left out, the last: no {LINES + 24}", "another 1"]
    assert later[0].name == "service.x"
    assert later[0].levelno == logging.WARNING


def test_lines_are_told_apart_by_logger_level_and_text() -> None:
    """One that repeats does not silence another."""
    limit = LogLimit()
    for _ in range(LINES + 1):
        limit.pass_on(record())

    assert texts(limit.pass_on(record("other %s"))) == ["other 1"]
    assert texts(limit.pass_on(record(name="service.y"))) == ["no 1"]
    assert texts(limit.pass_on(record())) == []


def test_end_tells_what_was_not_told() -> None:
    """What a minute that never ended left out is said at the end."""
    limit = LogLimit()
    for _ in range(LINES + 3):
        limit.pass_on(record())

    assert texts(limit.end()) == ["3 more lines like this were left out, the last: no 1"]
    assert limit.end() == []


def test_values_that_do_not_fit_cost_no_line() -> None:
    """A library's mistake in what it logs is no trouble to who logs next."""
    limit = LogLimit()
    for _ in range(LINES + 1):
        limit.pass_on(record("no %d", value="number"))

    assert texts(limit.end()) == ["1 more lines like this were left out, the last: no %d"]


def test_collector_is_one_line_a_minute_whoever_complains() -> None:
    """The exporters of the library and our own complaints share one line, its count included."""
    limit = LogLimit()
    names = ("service.tracing.export", "opentelemetry.exporter.otlp", "opentelemetry.sdk.trace")
    moments = [
        sum(len(limit.pass_on(record(f"{name} %s", at=second, name=name))) for name in names)
        for second in range(600)
    ]

    for begin in range(540):
        assert sum(moments[begin : begin + 60]) <= 1 + 1, begin  # a window's edge lies somewhere in between
    assert 8 <= sum(moments) <= 11


def test_end_says_nothing_more_of_the_collector() -> None:
    """Its one line a minute has been said."""
    limit = LogLimit()
    for _ in range(3):
        limit.pass_on(record(name="opentelemetry.sdk"))

    assert limit.end() == []
    assert limit.pass_on(record(name="opentelemetry.sdk")) == []


def test_only_warnings_of_the_collector_share_a_line() -> None:
    """Good news of it, and loggers whose names merely begin like its, are lines of their own."""
    limit = LogLimit()
    limit.pass_on(record(name="opentelemetry.sdk"))
    news = record(name="service.telemetry.export")
    news.levelno = logging.INFO

    assert texts(limit.pass_on(record(name="service.telemetry"))) == []
    assert texts(limit.pass_on(news)) == ["no 1"]
    assert texts(limit.pass_on(record(name="service.telemetry_of_others"))) == ["no 1"]


def test_clock_set_back_does_not_silence() -> None:
    """After a jump of the clock lines are written again."""
    limit = LogLimit()
    for _ in range(LINES + 1):
        limit.pass_on(record(at=1e9))

    assert "no 1" in texts(limit.pass_on(record(at=1e9 - 3600)))


def test_memory_is_bounded() -> None:
    """Texts that are all different share one window beyond the bound."""
    limit = LogLimit()
    written = sum(len(limit.pass_on(record(f"text {number} %s"))) for number in range(MAX_KEYS + 500))

    assert written == MAX_KEYS + LINES
    assert texts(limit.end())[0].startswith(f"{500 - LINES} more lines")


@given(st.lists(st.tuples(st.floats(0, 300), st.sampled_from(["a %s", "b %s", "c %s"]))))
def test_every_record_is_written_or_counted(sent: list[tuple[float, str]]) -> None:
    """Lines and counts together are as many as came, whatever the order of times."""
    limit = LogLimit()
    lines = [line for at, text in sent for line in limit.pass_on(record(text, at=at))] + limit.end()
    counted = sum(line.args[0] for line in lines if line.msg == LEFT_OUT and isinstance(line.args, tuple))  # type: ignore[misc]

    assert sum(line.msg != LEFT_OUT for line in lines) + counted == len(sent)
