"""What goes wrong among actors, as counts and as a limited number of log lines.

Rules it keeps (reference/actors.md, section 4):

- Every lost message is counted with the kind of actor it was meant for and the reason; a few are logged.
- Every crash is logged; its call stack comes once for each place in the code, then it is one line.
- Lines name kinds, types and places in the code, never what a message or an error says: both may quote a
  visitor's address.
- Nothing here raises.
"""

import logging
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Mapping

from actors.runtime import Undelivered

LINES_PER_MINUTE = 10
MINUTE_S = 60.0
PLACES_REMEMBERED = 100

_log = logging.getLogger(__name__)


class DeadLetters:
    """Counts messages that nobody will handle."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts: Counter[tuple[str, Undelivered]] = Counter()
        self._lines = _LineLimit(clock)

    def record(self, kind: str, reason: Undelivered, message: object) -> None:
        """Count one lost message; the log gets its type, never its contents."""
        self._counts[kind, reason] += 1
        suffix = self._lines.admit()
        if suffix is not None:
            _log.warning("dead letter: %s to %s (%s)%s", type(message).__name__, kind, reason.value, suffix)

    def statistics(self) -> Mapping[tuple[str, Undelivered], int]:
        """Give the number of lost messages by actor kind and reason."""
        return dict(self._counts)


class CrashLog:
    """Writes down what crashed, where, and over what kind of message."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = _LineLimit(clock)
        # Whose call stack is in the log already; bounded, the oldest may come again.
        self._known_places: deque[str] = deque(maxlen=PLACES_REMEMBERED)

    def record(self, who: str, doing: str, error: Exception) -> None:
        """Log one crash of ``who`` over ``doing``."""
        place = _place(error)
        if place not in self._known_places:
            self._known_places.append(place)
            _log.error("%s crashed on %s: %s\n%s", who, doing, place, _call_stack(error))
            return
        suffix = self._lines.admit()
        if suffix is not None:
            _log.error("%s crashed on %s: %s%s", who, doing, place, suffix)


class _LineLimit:
    """Admits so many log lines a minute, and says how many it held back."""

    __slots__ = ("_admitted", "_clock", "_held_back", "_minute_start")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._minute_start = clock()
        self._admitted = 0
        self._held_back = 0

    def admit(self) -> str | None:
        """Give what to add to the line that may be logged, or None when it may not."""
        now = self._clock()
        if now - self._minute_start >= MINUTE_S:
            self._minute_start = now
            self._admitted = 0
        if self._admitted >= LINES_PER_MINUTE:
            self._held_back += 1
            return None
        self._admitted += 1
        held_back, self._held_back = self._held_back, 0
        return f" [{held_back} lines like this held back]" if held_back else ""


def _place(error: BaseException) -> str:
    """Name the type of an error and where it was raised, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    return f"{type(error).__name__} at {where}"


def _call_stack(error: BaseException) -> str:
    """Give the call stack of an error and of its causes; no texts of errors, no values."""
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        parts.append("".join(traceback.format_tb(link.__traceback__)) + type(link).__name__)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\ncaused by:\n".join(parts)
