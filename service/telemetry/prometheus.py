"""The same figures in Prometheus' text form, for an installation without a collector (``GET /metrics``).

Names are those that the OpenTelemetry Collector gives, so that a dashboard fits both.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from service.telemetry.figures import Distribution, Measured, Source
from service.telemetry.metric import Metric, prometheus_label

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class PrometheusText:
    """Gives the text; costs nothing until it is asked."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(sources))

    def render(self) -> bytes:
        """Read all figures and give them as text."""
        return generate_latest(self._registry)


class _Figures(Collector):
    """What the client library asks for figures."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    def describe(self) -> list[Family]:
        """Give nothing: asked for names, the library would else read all figures once at the start."""
        return []

    def collect(self) -> Iterator[Family]:
        """Give every metric with its series."""
        measured = sorted(
            (figure for source in self._sources for figure in source()), key=lambda figure: figure.metric.name
        )
        for metric, figures in groupby(measured, key=lambda figure: figure.metric):
            yield _family(metric, list(figures))


def _family(metric: Metric, figures: list[Measured]) -> Family:
    # An attribute that a series does not have is an empty label, which is the same to Prometheus.
    labels = [prometheus_label(attribute) for attribute in metric.attributes]
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.prometheus_name, metric.meaning, labels=labels)
        for figure in figures:
            if isinstance(figure.value, Distribution):
                buckets = _buckets(figure.value)
                histogram.add_metric(_values(metric, figure), buckets, figure.value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.prometheus_name, metric.meaning, labels=labels)
    for figure in figures:
        if not isinstance(figure.value, Distribution):
            family.add_metric(_values(metric, figure), figure.value)
    return family


def _values(metric: Metric, figure: Measured) -> list[str]:
    return [str(figure.attributes.get(attribute, "")) for attribute in metric.attributes]


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    ends = [*map(str, distribution.bounds), "+Inf"]
    return list(zip(ends, map(float, distribution.cumulative), strict=True))
