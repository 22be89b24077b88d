"""Courtesy: work in the background that lets everybody else go first.

Whoever does a long piece of work inside the loop cuts it into small ones and gives way after each: first one
turn of the loop, and when that comes late, which is how long a sender would have waited too, a rest that
grows up to several times the work before it. A thread of its own rests for nobody: it asks for the
interpreter again after each system call of the loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Final, TypeVar, cast

from service.clock import stopwatch

LATE_S: Final = 0.003
"""A turn that comes later than this has a rest doubled; others halve it."""
LONGEST_REST: Final = 9.0
"""Times the work before it: a tenth of the time is left for it at the least."""
SHORTEST_REST: Final = 0.25
"""Less is none."""


R = TypeVar("R")


class Courtesy:
    """Tells how long one task rests between its pieces of work."""

    __slots__ = ("_began", "_clock", "_longest", "_rest", "_sleep", "_waiting")

    def __init__(
        self,
        *,
        clock: Callable[[], float] = stopwatch,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._began = 0.0
        """When the present piece began, on the stopwatch."""
        self._rest = 0.0
        """Times the work."""
        self._longest = LONGEST_REST
        self._waiting = 0

    def begin(self, waiting: int) -> None:
        """Begin to work; ``waiting`` says how much there is to be done in all.

        When it has grown since the last time, courtesy is halved: what never gets done helps nobody.
        """
        grown = waiting > self._waiting > 0
        self._longest = self._longest / 2 if grown else min(max(self._longest * 2, 1.0), LONGEST_REST)
        self._waiting = waiting
        self._began = self._clock()

    async def walk(self, steps: Generator[None, None, R]) -> R:
        """Take the steps, give way after each, and give what they lead to."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast(R, end.value)
            await self.give_way()

    async def give_way(self) -> None:
        """Let others go on, for as long as they need."""
        ended = self._clock()
        rest_s = min(self._rest, self._longest) * (ended - self._began)
        await self._sleep(rest_s)
        self._began = self._clock()
        late_s = self._began - ended - rest_s
        self._rest = next_rest(self._rest, is_late=late_s > LATE_S)


def next_rest(rest: float, *, is_late: bool) -> float:
    """Give the next rest, in times of the work."""
    if is_late:
        return min(max(rest * 2, 1.0), LONGEST_REST)
    return rest / 2 if rest > SHORTEST_REST else 0.0
