"""Log lines, as one JSON object each for machines or as coloured text for people.

Standard ``logging`` underneath, so that libraries speak through it too. No line is written per event, and
none may hold an address, a user agent or a URL of a visitor: pass counts, names and ids as ``extra``.
"""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

OWN_PACKAGES: Final = ("service", "actors")

REPEATING: Final = ("asynch",)
"""Libraries that warn of every failed connection what the error that they raise says as well."""

ABOUT_THE_COLLECTOR: Final = ("opentelemetry", "service.telemetry", "service.tracing")
"""Who warns when the collector of telemetry is away, some of them at every try."""
COLLECTOR_INTERVAL_S: Final = 60.0

COLOURS: Final = {"DEBUG": "\x1b[2m", "INFO": "\x1b[32m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m"}
RESET: Final = "\x1b[0m"

STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(
    *,
    level: Literal["debug", "info", "warning", "error"],
    output_format: Literal["auto", "json", "pretty"],
    stream: TextIO = sys.stderr,
) -> None:
    """Send all log lines to the stream, instead of where they went; ``auto`` is pretty on a terminal.

    ``level`` is for Gatehouse's own lines; of libraries only warnings and errors are written.
    """
    terminal = stream.isatty()
    pretty = output_format == "pretty" or (output_format == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrettyFormatter(colour=terminal) if pretty else JsonFormatter())
    handler.addFilter(OnceInAWhile(ABOUT_THE_COLLECTOR, COLLECTOR_INTERVAL_S))
    # Libraries tell what they do in detail, aiosqlite even the values that it is given: warnings are enough.
    logging.basicConfig(level=max(logging.WARNING, LEVELS[level]), handlers=[handler], force=True)
    for package in OWN_PACKAGES:
        logging.getLogger(package).setLevel(LEVELS[level])
    for library in REPEATING:
        logging.getLogger(library).setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


class OnceInAWhile(logging.Filter):
    """Lets one warning of all these loggers through in an interval; it says how many were left out before it.

    For a handler, because a logger's own filter does not see what the loggers below it say.
    """

    def __init__(
        self, loggers: tuple[str, ...], interval_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._loggers = loggers
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()  # libraries warn from threads of their own
        self._next = float("-inf")
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line is written."""
        if record.levelno < logging.WARNING or not any(
            record.name == name or record.name.startswith(f"{name}.") for name in self._loggers
        ):
            return True
        with self._lock:
            now = self._clock()
            if now < self._next:
                self._left_out += 1
                return False
            self._next = now + self._interval_s
            if self._left_out:
                record.left_out = self._left_out
                self._left_out = 0
            return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC, RFC 3339), level, logger, message, then what came as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without its end."""
        fields: dict[str, object] = {
            "time": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= dict(_extras(record))
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        # The standard library's, because it also takes texts that are no valid Unicode.
        return json.dumps(fields, default=str)


class PrettyFormatter(logging.Formatter):
    """``12:00:00.123 WARNING message  name=value`` for the eye."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, followed by a traceback if there is one."""
        moment = _moment(record).strftime("%H:%M:%S.%f")[:-3]
        level = f"{record.levelname:<7}"
        if self._colour:
            level = COLOURS.get(record.levelname, "") + level + RESET
        line = " ".join(
            [f"{moment} {level} {record.getMessage()}", *(f"{k}={v}" for k, v in _extras(record))]
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extras(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in vars(record).items() if name not in STANDARD_ATTRIBUTES)
