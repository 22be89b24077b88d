"""Every metric of the service, in one file: plain integers on the hot path, OpenTelemetry at the edge.

Call sites hand in values (an event, a verdict); only this file knows names. The integers are read by
observable counters when the exporter asks, so an event costs an addition and never an OpenTelemetry call.
Reference: section 11.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from msgspec import Struct
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from service.ingestion.request import Request
from service.ingestion.verdict import DropReason, RetryReason

EXPORT_INTERVAL_MS: Final = 10_000
MAX_TALLY_KEYS: Final = 20_000
"""Different (minute, domain, metric, version) keys held between two takings.

Beyond it keys are folded, see ``_count``.
"""
OTHER_DOMAIN: Final = "(other)"


def telemetry_event_buffered() -> str:
    """Give the name under which buffered events are counted."""
    return "gatehouse.events.buffered"


def telemetry_event_dropped() -> str:
    """Give the name under which dropped events are counted, by attribute ``reason``."""
    return "gatehouse.events.dropped"


def telemetry_event_refused() -> str:
    """Give the name under which events are counted that were not judged, by attribute ``reason``."""
    return "gatehouse.events.refused"


Statistics = Callable[[], Mapping[str, int]]
"""Gives the figures of the moment by name."""


class CountedEvent(Protocol):
    """What counting needs to know of an event.

    The domain as sent, and its request's time and script version.
    """

    @property
    def domain(self) -> str:
        """The domain as sent."""
        ...

    @property
    def request(self) -> Request:
        """The request the event is part of."""
        ...


class TallyKey(Struct, frozen=True):
    """What ``ingest_counters`` sums over; ``minute`` is UTC epoch seconds at the start of the minute."""

    minute: int
    domain: str
    metric: str
    tracker_script_version: int


class Gauge(Struct, frozen=True):
    """A figure of the system that is read when the exporter asks; ``figure`` is its key in the statistics."""

    name: str
    figure: str
    unit: str
    description: str


GAUGES: Final = (
    Gauge("gatehouse.sites.known", "sites_known", "{site}", "Domains whose events are taken"),
    Gauge("gatehouse.sites.awake", "sites_awake", "{site}", "Sites that have an actor"),
    Gauge("gatehouse.sessions.live", "sessions", "{session}", "Sessions in memory"),
    Gauge("gatehouse.sessions.evicted", "sessions_evicted", "{session}", "Sessions ended early by the bound"),
    Gauge("gatehouse.events.waiting", "events_waiting", "{event}", "In the journal, not yet in ClickHouse"),
    Gauge("gatehouse.events.inserted", "events_inserted", "{event}", "In ClickHouse, since the start"),
    Gauge("gatehouse.blocks.rejected", "blocks_rejected", "{block}", "Blocks with rows ClickHouse refused"),
    Gauge("gatehouse.blocks.postponed", "blocks_postponed", "{block}", "Waiting for room in quarantine"),
    Gauge("gatehouse.rows.quarantined", "rows_quarantined", "{row}", "Refused since the start"),
    Gauge("gatehouse.quarantine.rows", "quarantine_rows", "{row}", "Refused rows on disk"),
    Gauge("gatehouse.quarantine.size", "quarantine_bytes", "By", "Refused rows on disk"),
    Gauge("gatehouse.inserts.failed", "insert_tries_failed", "{try}", "Tries that ClickHouse did not take"),
    Gauge("gatehouse.tables.stale", "tables_stale", "{table}", "Tables whose last refresh failed"),
    Gauge("gatehouse.geo.database_age", "geo_database_age_s", "s", "Age of the database of locations"),
    Gauge(
        "gatehouse.geo.lookups_failed",
        "geo_lookups_failed",
        "{lookup}",
        "Look-ups in it that found it damaged",
    ),
)


class Telemetry:
    """Counts what becomes of events; owns the numbers until the exporter or the counters actor takes them."""

    def __init__(self) -> None:
        self.buffered = 0
        self.dropped: dict[DropReason, int] = dict.fromkeys(DropReason, 0)
        self.refused: dict[RetryReason, int] = dict.fromkeys(RetryReason, 0)
        self.tally_overflow = 0
        """Counts that were folded into ``(other)`` because there were too many different keys."""
        self._tally: dict[tuple[int, str, str, int], int] = {}
        self._provider: MeterProvider | None = None

    def emit_telemetry_buffered(self, event: CountedEvent) -> None:
        """Count one event of one domain that is in the journal."""
        self.buffered += 1
        self._count(event, "buffered")

    def emit_telemetry_dropped(self, event: CountedEvent, reason: DropReason) -> None:
        """Count one event of one domain that was judged and will not be stored."""
        self.dropped[reason] += 1
        self._count(event, f"dropped_{reason}")

    def emit_telemetry_refused(self, reason: RetryReason) -> None:
        """Count one event of one domain that was not judged; it is in no site's statistics."""
        self.refused[reason] += 1

    def take_tally(self) -> dict[TallyKey, int]:
        """Hand over the counts since the last taking and start afresh."""
        taken, self._tally = self._tally, {}
        return {TallyKey(*key): value for key, value in taken.items()}

    def _count(self, event: CountedEvent, metric: str) -> None:
        request = event.request
        minute = request.timestamp - request.timestamp % 60
        key = (minute, event.domain, metric, request.tracker_script_version)
        tally = self._tally
        if key not in tally and len(tally) >= MAX_TALLY_KEYS:
            # A flood of made-up domains or versions must not grow memory: the total stays right, the names
            # are given up.
            self.tally_overflow += 1
            key = (minute, OTHER_DOMAIN, metric, 0)
        tally[key] = tally.get(key, 0) + 1

    def start(self, *, version: str, otlp_endpoint: str | None, statistics: Statistics) -> None:
        """Begin to export to the collector at ``otlp_endpoint`` (OTLP over HTTP).

        None = count without exporting.
        """
        if otlp_endpoint is None:
            return
        exporter = OTLPMetricExporter(endpoint=f"{otlp_endpoint.rstrip('/')}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=EXPORT_INTERVAL_MS)
        self.start_reader(reader, version=version, statistics=statistics)

    def start_reader(self, reader: MetricReader, *, version: str, statistics: Statistics) -> None:
        """Begin to answer the reader.

        What ``start`` does with the OTLP exporter, tests do with one in memory.
        """
        resource = Resource.create({"service.name": "gatehouse", "service.version": version})
        self._provider = MeterProvider(metric_readers=[reader], resource=resource)
        meter = self._provider.get_meter("gatehouse", version)
        self._register_counters(meter)
        for gauge in GAUGES:
            meter.create_observable_gauge(
                gauge.name,
                callbacks=[_observer(_reading(statistics, gauge.figure))],
                unit=gauge.unit,
                description=gauge.description,
            )

    def stop(self, *, timeout_s: float = 30.0) -> None:
        """Export what is left and end the exporter, within the time; safe to call when it never started."""
        if self._provider is not None:
            self._provider.shutdown(timeout_millis=timeout_s * 1000)
            self._provider = None

    def _register_counters(self, meter: Meter) -> None:
        def by_reason(
            counts: Mapping[DropReason, int] | Mapping[RetryReason, int],
        ) -> Callable[[], Iterable[tuple[Mapping[str, str], float]]]:
            return lambda: [({"reason": str(reason)}, value) for reason, value in counts.items() if value]

        meter.create_observable_counter(
            telemetry_event_buffered(),
            callbacks=[_observer(lambda: [({}, self.buffered)])],
            unit="{event}",
            description="Events that are in the journal, so that they will be in ClickHouse",
        )
        meter.create_observable_counter(
            telemetry_event_dropped(),
            callbacks=[_observer(by_reason(self.dropped))],
            unit="{event}",
            description="Events that were judged and not stored",
        )
        meter.create_observable_counter(
            telemetry_event_refused(),
            callbacks=[_observer(by_reason(self.refused))],
            unit="{event}",
            description="Events that were not judged; the sender was told to try again",
        )


def _reading(statistics: Statistics, figure: str) -> Callable[[], list[tuple[Mapping[str, str], float]]]:
    return lambda: [({}, statistics()[figure])]


def _observer(
    observe: Callable[[], Iterable[tuple[Mapping[str, str], float]]],
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _options: [Observation(value, dict(labels)) for labels, value in observe()]
