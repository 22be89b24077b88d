"""Log lines: one JSON object each, or readable text; nothing but what was passed on purpose."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from service.log_limit import LINES
from service.logs import OWN_PACKAGES, REPEATING, JsonFormatter, PrettyFormatter, configure_logging
from tests.support.public_server import EVENT, ScriptedSystem, public_server
from tests.support.spans import Spans


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


class TestCollector:
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


def logged(stream: io.StringIO) -> list[dict[str, object]]:
    """Give the JSON lines of a stream."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestLines:
    @pytest.mark.usefixtures("root_logger")
    def test_line_within_a_span_names_its_trace(self) -> None:
        """Ids as OpenTelemetry writes them; none where there is no span."""
        stream = io.StringIO()
        configure_logging(level="info", output_format="json", stream=stream)
        with use_span(NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False))):
            logging.getLogger("service.x").info("within")
        logging.getLogger("service.x").info("outside")

        within, outside = logged(stream)
        assert (within["trace_id"], within["span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
        assert "trace_id" not in outside

    @pytest.mark.usefixtures("root_logger")
    def test_same_line_is_limited_and_counted_at_the_end(self) -> None:
        """What was left out is told when logging is closed."""
        stream = io.StringIO()
        handler = configure_logging(level="info", output_format="json", stream=stream)
        for number in range(100):
            logging.getLogger("service.x").warning("again %d", number)
        handler.close()

        lines = logged(stream)
        assert len(lines) == LINES + 1
        assert lines[-1]["message"] == "90 more lines like this were left out, the last: again 99"

    @pytest.mark.usefixtures("root_logger")
    def test_others_get_the_same_lines(self) -> None:
        """A second handler is given what the stream is given, and closed with it."""
        other = logging.StreamHandler(io.StringIO())
        handler = configure_logging(level="info", output_format="json", stream=io.StringIO(), also=[other])
        for number in range(100):
            logging.getLogger("service.x").warning("again %d", number)
        handler.close()

        assert len(other.stream.getvalue().splitlines()) == LINES + 1


class TestVisitors:
    @pytest.mark.usefixtures("root_logger")
    async def test_request_that_cannot_be_read_tells_nothing_of_its_sender(self) -> None:
        """Neither the address nor what was sent is in the line; that there was something is."""
        stream = io.StringIO()
        configure_logging(level="debug", output_format="json", stream=stream)
        async with public_server(ScriptedSystem()) as server:
            for sent in (
                b"POST /api/event HTTP/1.1\r\nHost: x\r\nplanted header: planted\r\n\r\n",
                b"POST /api/event?planted HTTP/9.planted\r\n\r\n",
                b"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: planted\r\n\r\n",
                b"POST /" + b"planted" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            ):
                await server.exchange(sent)

        assert logged(stream)
        assert "planted" not in stream.getvalue()
        assert "127.0.0.1" not in stream.getvalue()

    @pytest.mark.usefixtures("root_logger")
    async def test_bug_of_ours_keeps_its_traceback_and_names_the_trace(self) -> None:
        """A request that ends in an exception can be found by its trace; whose it was is not told."""
        stream = io.StringIO()
        configure_logging(level="info", output_format="json", stream=stream)
        spans, system = Spans(ratio=0.0), ScriptedSystem()
        system.error = RuntimeError("a bug, as the test wants it")
        async with public_server(system, tracing=spans.tracing) as server:
            await server.post(EVENT, x_forwarded_for="203.0.113.77", user_agent="planted")

        (line,) = logged(stream)
        assert "RuntimeError" in str(line["traceback"])
        assert line["trace_id"] == f"{spans.one('POST /api/event').trace_id:032x}"
        assert "127.0.0.1" not in stream.getvalue()
        assert "203.0.113" not in stream.getvalue()
        assert "planted" not in stream.getvalue()
