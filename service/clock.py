"""The only place that reads a clock; everywhere else time is an argument."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Gives UTC seconds since 1970, with fractions. Tests pass their own."""


def wall() -> float:
    """Give UTC seconds since 1970, with fractions, from the machine's clock."""
    return time.time()  # noqa: TID251 - this is the one place
