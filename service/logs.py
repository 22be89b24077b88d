"""Log lines, as one JSON object each for machines or as coloured text for people.

Standard ``logging`` underneath, so that libraries speak through it too. No line is written per event, the
same line comes a few times a minute at most (``log_limit``), and a line about something that has a span names
its trace. None may hold an address, a user agent or a URL of a visitor: pass counts, names and ids as
``extra``. What aiohttp says of requests is kept from telling them.
"""

import copy
import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from service.log_limit import LogLimit

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

OWN_PACKAGES: Final = ("service", "actors")

REPEATING: Final = ("asynch",)
"""Libraries that warn of every failed connection what the error that they raise says as well."""

HTTP_SERVER: Final = "aiohttp"
"""Logs the address of a sender, and with what it could not read a part of the request."""
_PLACE: Final = re.compile(r"%[-#0-9.]*[a-zA-Z]")

COLOURS: Final = {"DEBUG": "\x1b[2m", "INFO": "\x1b[32m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m"}
RESET: Final = "\x1b[0m"

STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(
    *,
    level: Literal["debug", "info", "warning", "error"],
    output_format: Literal["auto", "json", "pretty"],
    stream: TextIO = sys.stderr,
    also: Sequence[logging.Handler] = (),
) -> "LimitedHandler":
    """Send all log lines to the stream, instead of where they went; ``auto`` is pretty on a terminal.

    ``level`` is for Gatehouse's own lines; of libraries only warnings and errors are written. ``also`` get
    the same lines. Close what is returned in the end, and with it them.
    """
    terminal = stream.isatty()
    pretty = output_format == "pretty" or (output_format == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrettyFormatter(colour=terminal) if pretty else JsonFormatter())
    # Libraries tell what they do in detail, aiosqlite even the values that it is given: warnings are enough.
    limited = LimitedHandler([handler, *also])
    logging.basicConfig(level=max(logging.WARNING, LEVELS[level]), handlers=[limited], force=True)
    for package in OWN_PACKAGES:
        logging.getLogger(package).setLevel(LEVELS[level])
    for library in REPEATING:
        logging.getLogger(library).setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    return limited


class LimitedHandler(logging.Handler):
    """Hands lines on: not too many, with their trace, without what visitors sent."""

    def __init__(self, targets: Sequence[logging.Handler]) -> None:
        super().__init__()
        self._targets = targets
        self._limit = LogLimit()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on what may be written now."""
        record = _discreet(record)
        for line in self._limit.pass_on(record):
            self._write(_with_trace(line) if line is record else line)

    def close(self) -> None:
        """Say how many lines were left out that were not told yet, and close the targets."""
        self.acquire()  # threads of libraries may still log
        try:
            for line in self._limit.end():
                self._write(line)
        finally:
            self.release()
        for target in self._targets:
            target.close()
        super().close()

    def _write(self, line: logging.LogRecord) -> None:
        for target in self._targets:
            target.handle(line)


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
        fields |= dict(extras(record))
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
        line = " ".join([f"{moment} {level} {record.getMessage()}", *(f"{k}={v}" for k, v in extras(record))])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def extras(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """Give what the caller passed as ``extra``, and the trace, by name."""
    return ((name, value) for name, value in vars(record).items() if name not in STANDARD_ATTRIBUTES)


def _with_trace(record: logging.LogRecord) -> logging.LogRecord:
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return record
    record = copy.copy(record)
    record.trace_id = format_trace_id(context.trace_id)
    record.span_id = format_span_id(context.span_id)
    return record


def _discreet(record: logging.LogRecord) -> logging.LogRecord:
    """Give aiohttp's records without values, and without errors whose text is a part of a request."""
    if not record.name.startswith(HTTP_SERVER):
        return record
    record = copy.copy(record)
    record.msg, record.args = _PLACE.sub("…", str(record.msg)), ()
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and type(error).__module__.startswith(HTTP_SERVER):
        record.exc_info, record.exc_text = None, None
        record.error = type(error).__name__
    return record
