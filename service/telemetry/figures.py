"""The plain values of the hot path: integers, and histograms of integers; read by the exporter's thread.

A value is changed by one owner and copied in one step by the reader, so neither needs a lock.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Final, NamedTuple

from service.telemetry.metric import Metric

SECOND_NS: Final = 1_000_000_000

NO_ATTRIBUTES: Final[Mapping[str, str | int]] = {}


class Histogram:
    """How often values fell into each of the fixed buckets; ``bounds`` are their upper ends, inclusive."""

    __slots__ = ("_bounds", "_bounds_ns", "_counts", "_sum", "_sum_ns")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        # The same for who counts nanoseconds where the bounds are seconds.
        self._bounds_ns = [round(bound * SECOND_NS) for bound in bounds]
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._sum_ns = 0

    def record(self, value: float, times: int = 1) -> None:
        """Count a value, so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def record_ns(self, duration_ns: int) -> None:
        """Count a duration, where the bounds are seconds; for what is counted with every event."""
        self._counts[bisect_left(self._bounds_ns, duration_ns)] += 1
        self._sum_ns += duration_ns

    def read(self) -> "Distribution":
        """Give a copy of this moment."""
        return Distribution(self._bounds, tuple(self._counts), self._sum + self._sum_ns / SECOND_NS)


class Distribution(NamedTuple):
    """What a histogram held when it was read."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """One a bucket, and one for what lies above the last bound."""
    sum: float

    @property
    def total(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    @property
    def cumulative(self) -> tuple[int, ...]:
        """How many values were at or below each bound, and in all."""
        return tuple(accumulate(self.counts))


class Measured(NamedTuple):
    """The value of one series at one moment."""

    metric: Metric
    value: float | Distribution
    attributes: Mapping[str, str | int] = NO_ATTRIBUTES


Source = Callable[[], Iterable[Measured]]
"""Gives figures when the exporter asks, in the exporter's thread: it copies before it walks through."""


class HistogramFamily:
    """The histograms of one metric by the value of its attribute, made when first needed."""

    __slots__ = ("_attribute", "_by_value", "_metric")

    def __init__(self, metric: Metric) -> None:
        (self._attribute,) = metric.attributes
        self._metric = metric
        self._by_value: dict[str, Histogram] = {}

    def record(self, which: str, value: float, *, times: int = 1) -> None:
        """Count a value under one of the few values of the attribute."""
        histogram = self._by_value.get(which)
        if histogram is None:
            histogram = self._by_value[which] = Histogram(self._metric.bounds)
        histogram.record(value, times=times)

    def read(self) -> list[Measured]:
        """Give a copy of each."""
        return [
            Measured(self._metric, histogram.read(), {self._attribute: which})
            for which, histogram in list(self._by_value.items())
        ]
