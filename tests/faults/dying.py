"""``gatehouse serve`` that ends itself with SIGKILL when it has come to a chosen step of a block's way.

Run as ``python -c "from tests.faults.dying import main; main()" STEP VISIT <arguments of gatehouse>``: it
dies before or after the step's function when that is called for the VISIT-th time.
"""

import inspect
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final

from service.cli.main import main as run_gatehouse
from service.clickhouse.native import NativeStore
from service.clickhouse.schema import EVENTS_TABLE, SESSIONS_TABLE, Table
from service.journal import Journal
from service.segment import FileSegment
from service.session_log import SessionLog

_Step = tuple[type, str, Table | None]
_STEPS: Final[Mapping[str, _Step]] = {
    "begin": (FileSegment, "__init__", None),
    "write": (FileSegment, "write", None),
    "rotate": (Journal, "rotate", None),
    "insert-events": (NativeStore, "_send", EVENTS_TABLE),
    "insert-sessions": (NativeStore, "_send", SESSIONS_TABLE),
    "note-sessions": (SessionLog, "note", None),
    "delete": (Journal, "remove", None),
}
STEPS: Final = tuple(f"{when}-{name}" for name in _STEPS for when in ("before", "after"))
"""The names of all steps, in the order in which a block comes to them."""


def main() -> None:
    """Serve until the step is reached."""
    step, visit = sys.argv[1:3]
    del sys.argv[1:3]
    arm(step, int(visit))
    run_gatehouse()


def arm(step: str, visit: int) -> None:
    """Make this process end itself when it comes to the step for the ``visit``-th time."""
    when, _, name = step.partition("-")
    owner, function, table = _STEPS[name]
    original = getattr(owner, function)
    fatal = _Fatal(visit, table)
    replacement = (
        _dying_coroutine(original, fatal, before=when == "before")
        if inspect.iscoroutinefunction(original)
        else _dying_function(original, fatal, before=when == "before")
    )
    setattr(owner, function, replacement)


class _Fatal:
    """Counts the calls that matter; the last one is fatal."""

    def __init__(self, visit: int, table: Table | None) -> None:
        self._left = visit
        self._table = table

    def is_this(self, arguments: tuple[Any, ...]) -> bool:
        if self._table is not None and self._table not in arguments:
            return False
        self._left -= 1
        return self._left == 0


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying_function(original: Callable[..., Any], fatal: _Fatal, *, before: bool) -> Callable[..., Any]:
    @wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        is_fatal = fatal.is_this(arguments)
        if is_fatal and before:
            _die()
        result = original(*arguments, **named)
        if is_fatal:
            _die()
        return result

    return call


def _dying_coroutine(original: Callable[..., Any], fatal: _Fatal, *, before: bool) -> Callable[..., Any]:
    @wraps(original)
    async def call(*arguments: Any, **named: Any) -> Any:
        is_fatal = fatal.is_this(arguments)
        if is_fatal and before:
            _die()
        result = await original(*arguments, **named)
        if is_fatal:
            _die()
        return result

    return call
