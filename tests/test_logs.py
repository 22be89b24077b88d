"""Log lines: one JSON object each, or readable text; nothing but what was passed on purpose."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from service.logs import (
    OWN_PACKAGES,
    REPEATING,
    JsonFormatter,
    OnceInAWhile,
    PrettyFormatter,
    configure_logging,
)


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    logging.captureWarnings(capture=False)
    for package in (*OWN_PACKAGES, *REPEATING):
        logging.getLogger(package).setLevel(logging.NOTSET)
    root.handlers[:] = handlers
    root.setLevel(level)


def record(**fields: object) -> logging.LogRecord:
    """Make a log record of a fixed time with extra fields."""
    return logging.makeLogRecord(
        {"name": "gatehouse", "levelname": "INFO", "msg": "%d blocks", "args": (2,), "created": 1.5, **fields}
    )


class TestJson:
    def test_line_is_one_object_with_the_extra_fields(self) -> None:
        """Time in UTC, level, logger and message come first, then what the caller passed."""
        line = JsonFormatter().format(record(block="abc"))

        assert json.loads(line) == {
            "time": "1970-01-01T00:00:01.500Z",
            "level": "info",
            "logger": "gatehouse",
            "message": "2 blocks",
            "block": "abc",
        }

    def test_value_that_is_no_json_becomes_text(self) -> None:
        """A log line never fails because of what it is about."""
        assert json.loads(JsonFormatter().format(record(error=ValueError("x"))))["error"] == "x"

    def test_text_that_is_no_valid_unicode_is_escaped(self) -> None:
        """A lone surrogate, as in a file name of the system, does not cost the line."""
        assert json.loads(JsonFormatter().format(record(path="a\udc80")))["path"] == "a\udc80"

    def test_line_break_in_a_message_does_not_break_the_line(self) -> None:
        """Who controls a text cannot forge a second line."""
        assert "\n" not in JsonFormatter().format(record(msg="a\nb", args=()))

    def test_traceback_is_a_field(self) -> None:
        """An exception keeps its traceback, still on one line."""
        try:
            raise KeyError("k")
        except KeyError as error:
            caught = error
        line = JsonFormatter().format(record(exc_info=(KeyError, caught, caught.__traceback__)))

        assert "KeyError: 'k'" in json.loads(line)["traceback"]


class TestPretty:
    def test_line_has_time_level_message_and_fields(self) -> None:
        """For the eye: time of day first, name=value last."""
        assert (
            PrettyFormatter(colour=False).format(record(block="abc"))
            == "00:00:01.500 INFO    2 blocks block=abc"
        )

    def test_colour_is_switched_off_after_the_level(self) -> None:
        """Only the level is coloured."""
        line = PrettyFormatter(colour=True).format(record())

        assert line == "00:00:01.500 \x1b[32mINFO   \x1b[0m 2 blocks"


class TestOnceInAWhile:
    def test_the_same_trouble_is_told_once_in_an_interval(self) -> None:
        """What came in between is only counted; every other line passes."""
        now = 0.0
        rule = OnceInAWhile(("opentelemetry", "service.telemetry"), 60.0, clock=lambda: now)

        def passes(name: str, level: int = logging.WARNING) -> bool:
            return bool(rule.filter(record(name=name, levelno=level)))

        assert passes("opentelemetry.exporter.otlp")
        now = 59.9
        assert not passes("opentelemetry.exporter.otlp")
        assert not passes("service.telemetry", logging.ERROR)
        assert passes("service.telemetry.export", logging.INFO)
        assert passes("service.telemetry_of_others")
        assert passes("actors.inserter")
        now = 60.0
        last = record(name="opentelemetry.sdk", levelno=logging.ERROR)
        assert rule.filter(last)
        assert json.loads(JsonFormatter().format(last))["left_out"] == 2

    @pytest.mark.usefixtures("root_logger")
    def test_the_collector_is_one_trouble(self) -> None:
        """However many parts of the exporter fail, it is one line."""
        stream = io.StringIO()
        configure_logging(level="info", output_format="json", stream=stream)
        for name in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk", "asyncio"):
            logging.getLogger(name).error("away")

        assert [json.loads(line)["logger"] for line in stream.getvalue().splitlines()] == [
            "opentelemetry.exporter.otlp.proto.http.trace_exporter",
            "asyncio",
        ]


class TestConfigure:
    @pytest.mark.usefixtures("root_logger")
    def test_auto_writes_json_where_nobody_looks(self) -> None:
        """A stream that is no terminal gets JSON."""
        stream = io.StringIO()
        configure_logging(level="info", output_format="auto", stream=stream)
        logging.getLogger("service.x").info("hello")

        assert json.loads(stream.getvalue())["message"] == "hello"

    @pytest.mark.usefixtures("root_logger")
    def test_library_details_are_never_written(self) -> None:
        """One of them would write the salts: a level of ours does not make libraries talk."""
        stream = io.StringIO()
        configure_logging(level="debug", output_format="pretty", stream=stream)
        logging.getLogger("aiosqlite").info("hidden")
        logging.getLogger("service.x").debug("shown")

        assert "hidden" not in stream.getvalue()
        assert "shown" in stream.getvalue()

    @pytest.mark.usefixtures("root_logger")
    def test_lines_below_the_level_are_not_written(self) -> None:
        """``log_level`` is the least important level that is written."""
        stream = io.StringIO()
        configure_logging(level="warning", output_format="pretty", stream=stream)
        logging.getLogger("actors.x").info("hidden")
        logging.getLogger("actors.x").warning("shown")

        assert "hidden" not in stream.getvalue()
        assert "shown" in stream.getvalue()
