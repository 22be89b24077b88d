"""The only place that reads a clock; everywhere else time is an argument."""

import time
from collections.abc import Callable
from typing import Final

Clock = Callable[[], float]
"""Gives UTC seconds since 1970, with fractions. Tests pass their own."""

ClockNs = Callable[[], int]
"""Gives nanoseconds."""

monotonic_ns: Final[ClockNs] = time.monotonic_ns
"""Gives nanoseconds since some moment; never goes back, so it is for durations."""


wall: Final[Clock] = time.time  # noqa: TID251 - this is the one place
"""Gives UTC seconds since 1970, with fractions, from the machine's clock."""


def wall_ns() -> int:
    """Give UTC nanoseconds since 1970, from the machine's clock."""
    return time.time_ns()


def stopwatch() -> float:
    """Give seconds since some moment, for measuring how long something took; nothing sets it back."""
    return time.perf_counter()
