"""Log lines: one JSON object each, or readable text; nothing but what was passed on purpose."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from service.logs import JsonFormatter, PrettyFormatter, configure_logging


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    logging.captureWarnings(capture=False)
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


class TestConfigure:
    def test_auto_writes_json_where_nobody_looks(self, root_logger: logging.Logger) -> None:
        """A stream that is no terminal gets JSON."""
        stream = io.StringIO()
        configure_logging(level="info", output_format="auto", stream=stream)
        root_logger.info("hello")

        assert json.loads(stream.getvalue())["message"] == "hello"

    def test_lines_below_the_level_are_not_written(self, root_logger: logging.Logger) -> None:
        """``log_level`` is the least important level that is written."""
        stream = io.StringIO()
        configure_logging(level="warning", output_format="pretty", stream=stream)
        root_logger.info("hidden")
        root_logger.warning("shown")

        assert "hidden" not in stream.getvalue()
        assert "shown" in stream.getvalue()
