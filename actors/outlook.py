"""How long the journal will hold while ClickHouse is away, from how fast it was filled lately."""

from collections import deque
from typing import Final

WINDOW_S: Final = 60.0
"""How far back "the present rate" looks."""
MINUTE_S: Final = 60
HOUR_S: Final = 60 * MINUTE_S
DAY_S: Final = 24 * HOUR_S
UNITS: Final = ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min"), (1, "s"))


class GrowthRate:
    """How fast a total grows, over the last minute; told of it about once a second."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, total: int, now: float) -> None:
        """Note the total at ``now``, in seconds; a clock that was set back begins afresh."""
        seen = self._seen
        if seen and now <= seen[-1][0]:
            seen.clear()
        seen.append((now, total))
        while now - seen[0][0] > WINDOW_S:
            seen.popleft()

    @property
    def per_second(self) -> float:
        """The growth per second; 0 until it was told twice."""
        if len(self._seen) < 2:
            return 0.0
        (since, before), (now, total) = self._seen[0], self._seen[-1]
        return (total - before) / (now - since)


def describe_outage(away_s: float, *, free_bytes: int, bytes_per_s: float) -> str:
    """Say how long the database has been away, and how long there will be room for what comes meanwhile."""
    outage = f"away for {describe_duration(away_s)}, events wait in the journal"
    if free_bytes <= 0:
        return f"{outage}, which is full"
    if bytes_per_s <= 0:
        return f"{outage}, which has room for {free_bytes:,} bytes more"
    return f"{outage}, which holds {describe_duration(free_bytes / bytes_per_s)} more at the present rate"


def describe_duration(seconds: float) -> str:
    """Give a duration in the largest unit of which it has two, rounded down, so that it promises nothing."""
    for size, name in UNITS:
        if seconds >= 2 * size or size == 1:
            return f"{int(seconds / size)} {name}"
    raise AssertionError("the last unit takes everything")
