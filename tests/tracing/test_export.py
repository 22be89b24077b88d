"""The way to the collector: bounded, counted, and never in the way of a stop."""

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.telemetry import catalogue
from service.tracing.export import MAX_QUEUED_SPANS, SpanQueue
from service.tracing.spans import Sampling, Tracing


def tracing_into(queue: SpanQueue) -> Tracing:
    """Give a Tracing that keeps everything and puts it into the queue."""
    return Tracing(
        queue,
        sampling=Sampling(ratio=1.0, slow_s=60.0),
        resource=Resource({}),
        version="1.2.3",
        has_room=queue.has_room,
    )


class Refusing(SpanExporter):
    """A collector that takes nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Fail."""
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Do nothing."""


class Breaking(Refusing):
    """An exporter with a bug."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raise."""
        raise RuntimeError("as the test wants it")


class Hanging(Refusing):
    """A collector that accepts and never answers, until the exporter is shut down."""

    def __init__(self) -> None:
        self.taken = threading.Event()
        self.ended = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait."""
        self.taken.set()
        self.ended.wait()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """End the wait."""
        self.ended.set()


def test_what_is_left_is_sent_at_the_end() -> None:
    """A stop sends the spans that still wait."""
    exporter = InMemorySpanExporter()
    queue = SpanQueue(exporter)
    for _ in range(10):
        tracing_into(queue).begin("/api/event").finish(202)
    queue.stop(timeout_s=30)

    assert len(exporter.get_finished_spans()) == 10
    assert queue.lost == 0


@pytest.mark.parametrize("exporter", [Refusing(), Breaking()])
def test_what_the_collector_does_not_take_is_counted(
    exporter: SpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """Lost spans are counted, however the export failed."""
    queue = SpanQueue(exporter)
    for _ in range(10):
        tracing_into(queue).begin("/api/event").finish(202)
    queue.stop(timeout_s=30)
    caplog.clear()

    assert queue.lost == 10
    assert [(figure.metric, figure.value) for figure in queue.measure()] == [(catalogue.SPANS_LOST, 10)]


def test_collector_that_hangs_delays_nothing() -> None:
    """Behind it the queue fills up to its bound, what is more is counted, and a stop does not wait for it."""
    exporter = Hanging()
    queue = SpanQueue(exporter)
    tracing = tracing_into(queue)
    for _ in range(2 * MAX_QUEUED_SPANS):
        tracing.begin("/api/event").finish(202)
    cut = tracing.traces_cut
    exporter.taken.wait()
    queue.stop(timeout_s=0.01)

    assert cut >= MAX_QUEUED_SPANS - 512
    assert {figure.metric: figure.value for figure in tracing.measure()} == {
        catalogue.TRACES_CUT: cut,
        catalogue.SPAN_LINKS_CUT: 0,
    }
    assert exporter.ended.is_set()
