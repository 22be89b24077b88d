"""Sends metrics to a collector (OTLP): reads plain values and makes OpenTelemetry's data of them.

One thread does it at an interval, so that the event loop never waits for a collector. Counters are totals
since the start: an export that fails loses nothing, the next one that works has all of it. The SDK's
instruments are left out, because Python's have no observable histogram and cost microseconds a call; its data
classes and its exporters are used. Reference: libraries.md, section 10.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final, Literal

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    HistogramDataPoint,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.metrics.export import Histogram as OtlpHistogram
from opentelemetry.sdk.metrics.export import Metric as OtlpMetric
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from service.errors import ConfigError
from service.telemetry import catalogue
from service.telemetry.figures import Distribution, Measured, Source
from service.telemetry.metric import Metric
from service.telemetry.origin import SERVICE, describe_origin

EXPORT_INTERVAL_S: Final = 10.0
EXPORT_TIMEOUT_S: Final = 8.0
"""What one export may take, repeated tries included: less than the interval."""
COMPLAIN_EVERY_S: Final = 60.0

Protocol = Literal["http/protobuf", "grpc"]

log: Final = logging.getLogger(__name__)


class MetricsExport:
    """Exports what the sources give; ``start`` it, and ``stop`` it once."""

    def __init__(
        self,
        exporter: MetricExporter,
        sources: Sequence[Source],
        *,
        version: str,
        instance: str,
        interval_s: float = EXPORT_INTERVAL_S,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exporter = exporter
        self._sources = sources
        self._resource = describe_origin(version=version, instance=instance)
        self._scope = InstrumentationScope(SERVICE, version)
        self._interval_s = interval_s
        self._wall = wall
        self._monotonic = monotonic
        self._started_ns = wall()
        self._stopping = threading.Event()
        # A daemon: a collector that takes a connection and never answers must not keep the process.
        self._thread = threading.Thread(target=self._run, name="metrics-export", daemon=True)
        self._failed = 0
        self._complained_at: float | None = None
        """When the log last heard of a failure; None while all is well."""

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def stop(self, *, timeout_s: float) -> None:
        """Export what is left, and end within the time."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._exporter.shutdown()

    def measure(self) -> Iterable[Measured]:
        """Give what the export itself counts."""
        return [Measured(catalogue.EXPORTS_FAILED, self._failed)]

    def export(self) -> None:
        """Export once, and note how it went; the log hears of a failure once a minute."""
        try:
            result = self._exporter.export(self._read(), timeout_millis=EXPORT_TIMEOUT_S * 1000)
        except Exception:  # noqa: BLE001 - an exporter may raise what its libraries do; the next try is the answer
            result = MetricExportResult.FAILURE
        if result is MetricExportResult.SUCCESS:
            if self._complained_at is not None:
                log.info("The collector takes metrics again; no count was lost")
                self._complained_at = None
            return
        self._failed += 1
        now = self._monotonic()
        if self._complained_at is None or now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            log.warning(
                "The collector takes no metrics (%d exports failed). Events are taken as ever and counts are "
                "kept; see that it runs at otlp_endpoint",
                self._failed,
            )

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.export()
        self.export()

    def _read(self) -> MetricsData:
        measured = [figure for source in (*self._sources, self.measure) for figure in source()]
        metrics = to_otlp(measured, started_ns=self._started_ns, now_ns=self._wall())
        scope = ScopeMetrics(self._scope, metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])


def open_exporter(endpoint: str, protocol: Protocol) -> MetricExporter:
    """Give an exporter to the collector at ``endpoint``, a URL without a path.

    Raises ConfigError when gRPC is asked for and its package is not installed.
    """
    if protocol == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
                OTLPMetricExporter as GrpcExporter,
            )
        except ImportError:
            raise ConfigError(
                'otlp_protocol is "grpc", which needs a package: pip install "gatehouse[grpc]".'
            ) from None
        return GrpcExporter(
            endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=EXPORT_TIMEOUT_S
        )
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter

    return HttpExporter(endpoint=f"{endpoint.rstrip('/')}/v1/metrics", timeout=EXPORT_TIMEOUT_S)


def to_otlp(measured: Sequence[Measured], *, started_ns: int, now_ns: int) -> list[OtlpMetric]:
    """Give OpenTelemetry's data of figures; counters are totals since ``started_ns``."""
    in_order = sorted(measured, key=lambda figure: figure.metric.name)
    return [
        OtlpMetric(metric.name, metric.meaning, metric.unit, _data(metric, list(figures), started_ns, now_ns))
        for metric, figures in groupby(in_order, key=lambda figure: figure.metric)
    ]


def _data(
    metric: Metric, figures: list[Measured], started_ns: int, now_ns: int
) -> Sum | Gauge | OtlpHistogram:
    if metric.kind == "histogram":
        return OtlpHistogram(
            [
                _histogram_point(figure, figure.value, started_ns, now_ns)
                for figure in figures
                if isinstance(figure.value, Distribution)
            ],
            AggregationTemporality.CUMULATIVE,
        )
    points = [
        NumberDataPoint(dict(figure.attributes), started_ns, now_ns, figure.value)
        for figure in figures
        if not isinstance(figure.value, Distribution)
    ]
    if metric.kind == "counter":
        return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
    return Gauge(points)


def _histogram_point(
    figure: Measured, value: Distribution, started_ns: int, now_ns: int
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=dict(figure.attributes),
        start_time_unix_nano=started_ns,
        time_unix_nano=now_ns,
        count=value.total,
        sum=value.sum,
        bucket_counts=value.counts,
        explicit_bounds=value.bounds,
        # Optional in OTLP; of totals since the start they would say nothing about the moment.
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
    )
