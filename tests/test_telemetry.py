from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from service.ingestion.event import Event
from service.ingestion.verdict import DropReason, RetryReason
from service.telemetry import (
    GAUGES,
    MAX_TALLY_KEYS,
    OTHER_DOMAIN,
    TallyKey,
    Telemetry,
    telemetry_event_buffered,
    telemetry_event_dropped,
    telemetry_event_refused,
)
from tests.support.events import make_request


def test_the_exporter_sees_what_was_counted() -> None:
    """Counters carry the verdicts by reason, gauges the system's figures."""
    telemetry = Telemetry()
    reader = InMemoryMetricReader()
    telemetry.start_reader(reader, version="1", statistics=lambda: {gauge.figure: 7 for gauge in GAUGES})
    event = Event(domain="example.com", request=make_request())
    telemetry.emit_telemetry_buffered(event)
    telemetry.emit_telemetry_buffered(event)
    telemetry.emit_telemetry_dropped(event, DropReason.BOT)
    telemetry.emit_telemetry_refused(RetryReason.OVERLOADED)
    points = _points(reader)
    telemetry.stop()

    assert points[telemetry_event_buffered(), ()] == 2
    assert points[telemetry_event_dropped(), (("reason", "bot"),)] == 1
    assert points[telemetry_event_refused(), (("reason", "overloaded"),)] == 1
    assert all(points[gauge.name, ()] == 7 for gauge in GAUGES)


def test_a_taken_tally_starts_afresh() -> None:
    """The tally is by minute, domain, metric and script version, and is handed over once."""
    telemetry = Telemetry()
    event = Event(domain="example.com", request=make_request(timestamp=125))
    telemetry.emit_telemetry_dropped(event, DropReason.BOT)

    assert telemetry.take_tally() == {TallyKey(120, "example.com", "dropped_bot", 0): 1}
    assert telemetry.take_tally() == {}


def test_a_flood_of_domains_keeps_the_total() -> None:
    """Beyond the bound, made-up domains are counted together."""
    telemetry = Telemetry()
    request = make_request(timestamp=0)
    for number in range(MAX_TALLY_KEYS + 500):
        telemetry.emit_telemetry_dropped(
            Event(domain=f"{number}.example", request=request), DropReason.NOT_FOUND
        )
    tally = telemetry.take_tally()

    assert len(tally) == MAX_TALLY_KEYS + 1
    assert tally[TallyKey(0, OTHER_DOMAIN, "dropped_not_found", 0)] == 500
    assert telemetry.tally_overflow == 500


def _points(reader: InMemoryMetricReader) -> dict[tuple[str, tuple[tuple[str, object], ...]], float]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        (metric.name, tuple((point.attributes or {}).items())): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    }
