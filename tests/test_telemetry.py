"""What is counted, and how it leaves the service."""

import ast
import logging
import math
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from service.ingestion.event import Event
from service.ingestion.verdict import DropReason, RetryReason
from service.telemetry import (
    MAX_TALLY_KEYS,
    OTHER_DOMAIN,
    Measured,
    Telemetry,
    catalogue,
    telemetry_event_buffered,
    telemetry_event_dropped,
    telemetry_event_refused,
)
from service.telemetry.export import COMPLAIN_EVERY_S, MetricsExport
from service.telemetry.figures import Histogram
from service.telemetry.metric import Metric
from service.telemetry.origin import describe_origin
from service.telemetry.prometheus import PrometheusText
from tests.support.events import make_request
from tests.support.installing import ROOT

Key = tuple[str, tuple[tuple[str, Any], ...]]


class InMemoryExporter(MetricExporter):
    """Keeps what it is given; answers what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.exported: list[MetricsData] = []
        self.result = MetricExportResult.SUCCESS
        self.is_shut_down = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = None, **kwargs: Any
    ) -> MetricExportResult:
        """Keep it."""
        self.exported.append(metrics_data)
        return self.result

    def force_flush(self, timeout_millis: float = 0) -> bool:
        """Nothing waits here."""
        return True

    def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
        """Note the end."""
        self.is_shut_down = True

    def points(self) -> dict[Key, NumberDataPoint | HistogramDataPoint]:
        """Give the last export's points by name and attributes."""
        return {
            (metric.name, tuple((point.attributes or {}).items())): point
            for resource in self.exported[-1].resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if isinstance(point, (NumberDataPoint, HistogramDataPoint))
        }

    def value(self, name: str, **attributes: str) -> float:
        """Give the last exported value of a series that is a number."""
        point = self.points()[name, tuple(attributes.items())]
        assert isinstance(point, NumberDataPoint)
        return point.value


def busy_telemetry() -> Telemetry:
    """Give telemetry that has counted one of everything."""
    telemetry = Telemetry()
    event = Event(domain="example.com", request=make_request())
    telemetry.emit_telemetry_buffered(event)
    telemetry.emit_telemetry_buffered(event)
    telemetry.emit_telemetry_dropped(event, DropReason.BOT)
    telemetry.emit_telemetry_refused(RetryReason.OVERLOADED)
    telemetry.record_request("POST", "/api/event", 202, 0.02)
    telemetry.record_request("BREW", "", 404, 0.001)
    telemetry.record_step("put_props", 3e-6)
    telemetry.record_block("age", events=7)
    telemetry.record_confirmed(1.2, events=7)
    telemetry.record_insert("failed", 0.3)
    telemetry.record_loop_lag(0.004)
    telemetry.record_sync(0.003)
    error = OSError("broken")
    error.__cause__ = ConnectionRefusedError("away")
    telemetry.count_insert_retry(error)
    telemetry.count_rows("events_v2", 7)
    telemetry.count_quarantined("events_v2", 1)
    return telemetry


class TestCollector:
    def test_the_collector_gets_what_was_counted(self) -> None:
        """Counters carry the verdicts by reason and are monotonic totals."""
        exporter = InMemoryExporter()
        MetricsExport(exporter, [busy_telemetry().measure], version="1", instance="one").export()

        assert exporter.value(telemetry_event_buffered()) == 2
        assert exporter.value(telemetry_event_dropped(), reason="bot") == 1
        assert exporter.value(telemetry_event_dropped(), reason="throttle") == 0
        assert exporter.value(telemetry_event_refused(), reason="overloaded") == 1
        assert exporter.value("gatehouse.insert.retries", **{"error.type": "ConnectionRefusedError"}) == 1
        sums = [metric.data for metric in _metrics(exporter) if isinstance(metric.data, Sum)]
        assert sums
        assert all(data.is_monotonic for data in sums)

    def test_histograms_arrive_with_their_buckets(self) -> None:
        """Pre-aggregated: bounds, counts and sum are those of the plain value."""
        exporter = InMemoryExporter()
        MetricsExport(exporter, [busy_telemetry().measure], version="1", instance="one").export()
        point = exporter.points()["gatehouse.event.delay", ()]

        assert isinstance(point, HistogramDataPoint)
        assert point.count == 7
        assert point.sum == pytest.approx(8.4)
        assert point.bucket_counts[point.explicit_bounds.index(1.5)] == 7

    def test_a_request_has_the_attributes_of_the_conventions(self) -> None:
        """Method, route and status; a made-up method is _OTHER, and what is not there has no route."""
        exporter = InMemoryExporter()
        MetricsExport(exporter, [busy_telemetry().measure], version="1", instance="one").export()
        attributes = [dict(key[1]) for key in exporter.points() if key[0] == "http.server.request.duration"]

        assert attributes == [
            {
                "http.request.method": "POST",
                "url.scheme": "http",
                "http.response.status_code": 202,
                "http.route": "/api/event",
            },
            {"http.request.method": "_OTHER", "url.scheme": "http", "http.response.status_code": 404},
        ]

    def test_a_collector_that_is_away_is_told_once_a_minute(self, caplog: pytest.LogCaptureFixture) -> None:
        """Each failure is counted, few are logged, and nothing is lost."""
        now = 0.0
        exporter = InMemoryExporter()
        exporter.result = MetricExportResult.FAILURE
        export = MetricsExport(
            exporter, [busy_telemetry().measure], version="1", instance="one", monotonic=lambda: now
        )
        with caplog.at_level(logging.INFO, logger="service.telemetry.export"):
            for _ in range(13):
                export.export()
                now += COMPLAIN_EVERY_S / 6
            exporter.result = MetricExportResult.SUCCESS
            export.export()

        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3 + ["INFO"]
        assert exporter.value("gatehouse.telemetry.exports.failed") == 13
        assert exporter.value(telemetry_event_buffered()) == 2

    def test_the_end_exports_what_is_left(self) -> None:
        """Within the time that it is given."""
        exporter = InMemoryExporter()
        export = MetricsExport(
            exporter, [busy_telemetry().measure], version="1", instance="one", interval_s=3600
        )
        export.start()
        export.stop(timeout_s=20)

        assert exporter.value(telemetry_event_buffered()) == 2
        assert exporter.is_shut_down


class TestOrigin:
    def test_restarts_are_the_same_instance(self) -> None:
        """What is exported says which service it is of, and on which data folder."""
        exporter = InMemoryExporter()
        MetricsExport(exporter, [busy_telemetry().measure], version="1", instance="one").export()
        (resource,) = [found.resource.attributes for found in exporter.exported[-1].resource_metrics]

        assert resource["service.name"] == "gatehouse"
        assert resource["service.version"] == "1"
        assert resource["service.instance.id"] == "one"

    def test_the_standard_variable_is_obeyed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who names instances from outside, as Kubernetes operators do, is not overruled."""
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7,team=web")
        attributes = describe_origin(version="1", instance="one").attributes

        assert attributes["service.instance.id"] == "pod-7"
        assert attributes["team"] == "web"
        assert attributes["service.name"] == "gatehouse"

    def test_its_hash_is_known(self) -> None:
        """It is equal to the SDK's own, and stands for the same in a dictionary."""
        origin = describe_origin(version="1", instance="one")
        own = Resource(dict(origin.attributes), origin.schema_url)

        assert origin == own
        assert hash(origin) == hash(own)
        assert origin != describe_origin(version="1", instance="two")


class TestPrometheus:
    def test_its_own_parser_reads_the_text(self) -> None:
        """Counters, gauges and histograms are found under the names of the catalogue."""
        gauge = Measured(catalogue.SITES_KNOWN, 3)
        text = PrometheusText([busy_telemetry().measure, lambda: [gauge]]).render().decode()
        families = {family.name: family for family in text_string_to_metric_families(text)}
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families.values()
            for sample in family.samples
        }

        assert samples["gatehouse_events_dropped_total", (("reason", "bot"),)] == 1
        assert samples["gatehouse_sites_known", ()] == 3
        assert samples["gatehouse_event_delay_seconds_count", ()] == 7
        assert samples["gatehouse_event_delay_seconds_bucket", (("le", "1.5"),)] == 7
        assert samples["gatehouse_event_delay_seconds_bucket", (("le", "1.0"),)] == 0
        assert families["http_server_request_duration_seconds"].type == "histogram"

    @pytest.mark.parametrize(
        ("metric", "expected"),
        [
            (catalogue.EVENTS_BUFFERED, "gatehouse_events_buffered_total"),
            (catalogue.EVENT_DELAY, "gatehouse_event_delay_seconds"),
            (catalogue.JOURNAL_SIZE, "gatehouse_journal_size_bytes"),
            (catalogue.JOURNAL_WRITTEN, "gatehouse_journal_written_bytes_total"),
            (catalogue.REQUEST_DURATION, "http_server_request_duration_seconds"),
            (catalogue.BUILD_INFO, "gatehouse_build_info"),
        ],
    )
    def test_names_are_those_of_the_collector(self, metric: Metric, expected: str) -> None:
        """The unit is spelt out and a counter ends in total."""
        assert metric.prometheus_name == expected


class TestCatalogue:
    def test_every_metric_is_in_the_catalogue_once(self) -> None:
        """And under one name, here and in Prometheus."""
        declared = [value for value in vars(catalogue).values() if isinstance(value, Metric)]

        assert sorted(metric.name for metric in declared) == sorted(
            metric.name for metric in catalogue.CATALOGUE
        )
        assert len({metric.prometheus_name for metric in declared}) == len(declared)

    @pytest.mark.parametrize("metric", catalogue.CATALOGUE, ids=lambda metric: metric.name)
    def test_a_metric_says_what_it_means_and_what_to_do(self, metric: Metric) -> None:
        """Both are sentences; only histograms have bounds, which ascend."""
        assert metric.meaning.endswith(".")
        assert metric.advice.endswith(".")
        assert bool(metric.bounds) == (metric.kind == "histogram")
        assert list(metric.bounds) == sorted(set(metric.bounds))


class TestOnePlace:
    """Whoever reads one place knows what is counted, and when."""

    @pytest.mark.parametrize("name", ["emit_telemetry_buffered", "emit_telemetry_dropped"])
    def test_every_verdict_is_counted_by_the_front(self, name: str) -> None:
        """Nobody else calls what counts an event."""
        assert places(rf"\.{name}\(") == {"actors/front.py": "count"}

    @pytest.mark.parametrize(
        ("number", "emit"), [("buffered", "emit_telemetry_buffered"), ("dropped", "emit_telemetry_dropped")]
    )
    def test_only_emitting_counts(self, number: str, emit: str) -> None:
        """The number of an event, and the minute total of its site, grow nowhere else."""
        assert places(rf"\.{number}(\[\w+\])? \+= ") == {"service/telemetry/counting.py": emit}
        assert emit in functions_with(r"self\._count\(key\)", ROOT / "service/telemetry/counting.py")

    @pytest.mark.parametrize("name", [telemetry_event_buffered(), telemetry_event_dropped()])
    def test_names_are_written_once(self, name: str) -> None:
        """By the functions that give them."""
        assert list(places(f'"{re.escape(name)}"')) == ["service/telemetry/catalogue.py"]


class TestHistogram:
    @given(st.lists(st.floats(0, 100), max_size=50))
    def test_every_value_is_in_the_bucket_below_whose_end_it_lies(self, values: Sequence[float]) -> None:
        """Ends are inclusive, as OpenTelemetry and Prometheus have it."""
        bounds = (0.5, 1.0, 10.0)
        histogram = Histogram(bounds)
        for value in values:
            histogram.record(value)
        read = histogram.read()

        assert read.total == len(values)
        assert read.sum == pytest.approx(math.fsum(values))
        assert read.cumulative == tuple(
            sum(value <= bound for value in values) for bound in (*bounds, math.inf)
        )

    @given(st.lists(st.integers(0, 20 * 10**9), max_size=50))
    def test_nanoseconds_are_counted_as_seconds_are(self, durations: Sequence[int]) -> None:
        """To the nanosecond at the ends of the buckets."""
        bounds = catalogue.REQUEST_DURATION.bounds
        ends = [round(bound * 1e9) + offset for bound in bounds for offset in (-1, 0, 1)]
        histogram = Histogram(bounds)
        for duration in (*durations, *ends):
            histogram.record_ns(duration)
        read = histogram.read()

        assert read.sum == pytest.approx(math.fsum((*durations, *ends)) / 1e9)
        assert read.total == len(durations) + len(ends)
        assert list(read.cumulative[:-1]) == [
            sum(Fraction(duration, 10**9) <= Fraction(str(bound)) for duration in (*durations, *ends))
            for bound in bounds
        ]


class TestTally:
    def test_a_taken_tally_starts_afresh(self) -> None:
        """The tally is by minute, domain, metric and script version, and is handed over once."""
        telemetry = Telemetry()
        event = Event(domain="example.com", request=make_request(timestamp=125))
        telemetry.emit_telemetry_dropped(event, DropReason.BOT)

        assert telemetry.take_tally() == {(120, "example.com", "dropped_bot", 0): 1}
        assert telemetry.take_tally() == {}

    def test_a_flood_of_domains_keeps_the_total(self) -> None:
        """Beyond the bound, made-up domains are counted together."""
        telemetry = Telemetry()
        request = make_request(timestamp=0)
        for number in range(MAX_TALLY_KEYS + 500):
            telemetry.emit_telemetry_dropped(
                Event(domain=f"{number}.example", request=request), DropReason.NOT_FOUND
            )
        tally = telemetry.take_tally()

        assert len(tally) == MAX_TALLY_KEYS + 1
        assert tally[0, OTHER_DOMAIN, "dropped_not_found", 0] == 500
        assert telemetry.tally_overflow == 500


def places(pattern: str) -> dict[str, str]:
    """Give the files of the service that the pattern is found in, with the functions around it."""
    found = {
        str(path.relative_to(ROOT)): functions_with(pattern, path)
        for room in ("service", "actors")
        for path in sorted((ROOT / room).rglob("*.py"))
    }
    return {path: ", ".join(sorted(set(functions))) for path, functions in found.items() if functions}


def functions_with(pattern: str, path: Path) -> list[str]:
    """Give the functions of a file in whose code the pattern is found."""
    code = ast.parse(path.read_text())
    functions = (node for node in ast.walk(code) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    # Written out again, so that how the lines are broken does not matter.
    return [node.name for node in functions if re.search(pattern, ast.unparse(node).replace("'", '"'))]


def _metrics(exporter: InMemoryExporter) -> Iterable[Any]:
    return [
        metric
        for resource in exporter.exported[-1].resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
