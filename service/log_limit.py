"""How often the same log line may come: a few times a minute, and then a count of those left out.

What goes wrong a thousand times a second must fill neither a disk nor a screen, and must still be said. The
same line is: the same logger, level and text before its values are filled in. Time is each record's own.
"""

import logging
from typing import Final

WINDOW_S: Final = 60.0
LINES: Final = 10
"""Of the same line in a window."""
MAX_KEYS: Final = 1_000
"""Different lines that are told apart in a window; those beyond count as one."""

ABOUT_THE_COLLECTOR: Final = ("opentelemetry", "service.telemetry", "service.tracing")
"""Who warns when the collector of telemetry is away, some of them at every try: one line a window for all."""

LEFT_OUT: Final = "%d more lines like this were left out, the last: %s"

Key = tuple[str, int, str]
_COLLECTOR: Final[Key] = ("the collector", 0, "")
_OTHERS: Final[Key] = ("", 0, "")


class _Window:
    """What came of one line since it first came."""

    __slots__ = ("began", "last", "left_out", "lines")

    def __init__(self, record: logging.LogRecord) -> None:
        self.began = record.created
        self.last = record
        self.lines = 1
        self.left_out = 0


class LogLimit:
    """Tells which records become lines; for one thread at a time."""

    def __init__(self) -> None:
        self._windows: dict[Key, _Window] = {}  # in the order of their beginning

    def pass_on(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        """Give what is to be written now: counts of windows that have ended, then the record if it may."""
        lines = self._end_windows(record.created)
        key = self._key(record)
        window = self._windows.get(key)
        if window is None:
            self._windows[key] = _Window(record)
            return [*lines, record]
        window.last = record
        if window.lines < (1 if key == _COLLECTOR else LINES):
            window.lines += 1
            return [*lines, record]
        window.left_out += 1
        return lines

    def end(self) -> list[logging.LogRecord]:
        """Give the counts of all windows; of the collector one line has been said already."""
        lines = []
        for key, window in self._windows.items():
            if window.left_out and key != _COLLECTOR:
                lines.append(_count(window))
                window.left_out = 0
        return lines

    def _end_windows(self, now: float) -> list[logging.LogRecord]:
        lines = []
        while self._windows:
            key, window = next(iter(self._windows.items()))
            # A clock that was set back begins all windows anew.
            if 0 <= now - window.began < WINDOW_S:
                break
            del self._windows[key]
            if window.left_out:
                line = _count(window)
                line.created = now
                self._windows[key] = _Window(line)  # the count is a line too
                self._windows[key].last = window.last
                lines.append(line)
        return lines

    def _key(self, record: logging.LogRecord) -> Key:
        if record.levelno >= logging.WARNING and _is_below(record.name, ABOUT_THE_COLLECTOR):
            return _COLLECTOR
        key = (record.name, record.levelno, str(record.msg))
        return key if key in self._windows or len(self._windows) < MAX_KEYS else _OTHERS


def _is_below(name: str, loggers: tuple[str, ...]) -> bool:
    return any(name == logger or name.startswith(f"{logger}.") for logger in loggers)


def _count(window: _Window) -> logging.LogRecord:
    last = window.last
    return logging.LogRecord(
        last.name, last.levelno, last.pathname, last.lineno, LEFT_OUT, (window.left_out, _text(last)), None
    )


def _text(record: logging.LogRecord) -> str:
    """Give the line with its values, or without them where they do not fit."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - values are anybody's objects
        return str(record.msg)
