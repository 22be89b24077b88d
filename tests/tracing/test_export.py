"""The way to the collector: bounded, counted, and never in the way of a stop."""

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from service.telemetry import catalogue
from service.tracing.export import MAX_QUEUED_SPANS, SpanQueue
from service.tracing.otlp import SpanEncoder
from service.tracing.senders import TRY_AFTER_S, HttpSender, SpanSender
from service.tracing.span import Span
from service.tracing.spans import Sampling, Tracing
from tests.support.otlp_receiver import otlp_receiver

ENCODER = SpanEncoder(Resource({}), InstrumentationScope("gatehouse", "1.2.3"))


def tracing_into(queue: SpanQueue) -> Tracing:
    """Give a Tracing that keeps everything and puts it into the queue."""
    return Tracing(queue.put, sampling=Sampling(ratio=1.0, slow_s=60.0))


def started_queue(sender: SpanSender) -> SpanQueue:
    """Give a queue in front of the sender."""
    queue = SpanQueue(sender)
    queue.start()
    return queue


class Taking:
    """A collector that takes everything."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def send(self, spans: Sequence[Span]) -> bool:
        """Keep the spans."""
        self.spans += spans
        return True

    def shutdown(self) -> None:
        """Do nothing."""


class Refusing(Taking):
    """A collector that takes nothing."""

    def send(self, spans: Sequence[Span]) -> bool:
        """Fail."""
        return False


class Breaking(Refusing):
    """A sender with a bug."""

    def send(self, spans: Sequence[Span]) -> bool:
        """Raise."""
        raise RuntimeError("as the test wants it")


class Hanging(Refusing):
    """A collector that accepts and never answers, until the sender is shut down."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = threading.Event()
        self.ended = threading.Event()

    def send(self, spans: Sequence[Span]) -> bool:
        """Wait."""
        self.taken.set()
        self.ended.wait()
        return False

    def shutdown(self) -> None:
        """End the wait."""
        self.ended.set()


def test_what_is_left_is_sent_at_the_end() -> None:
    """A stop sends the spans that still wait."""
    sender = Taking()
    queue = started_queue(sender)
    for _ in range(10):
        tracing_into(queue).begin("/api/event").finish(202)
    queue.stop(timeout_s=30)

    assert len(sender.spans) == 10
    assert queue.lost == 0


@pytest.mark.parametrize("sender", [Refusing(), Breaking()])
def test_what_the_collector_does_not_take_is_counted(
    sender: SpanSender, caplog: pytest.LogCaptureFixture
) -> None:
    """Lost spans are counted, however the export failed."""
    queue = started_queue(sender)
    for _ in range(10):
        tracing_into(queue).begin("/api/event").finish(202)
    queue.stop(timeout_s=30)
    caplog.clear()

    assert queue.lost == 10
    assert [(figure.metric, figure.value) for figure in queue.measure()] == [(catalogue.SPANS_LOST, 10)]


def test_collector_that_hangs_delays_nothing() -> None:
    """Behind it the queue fills up to its bound, what is more is counted, and a stop does not wait for it."""
    sender = Hanging()
    queue = started_queue(sender)
    tracing = tracing_into(queue)
    for _ in range(2 * MAX_QUEUED_SPANS):
        tracing.begin("/api/event").finish(202)
    cut = tracing.traces_cut
    sender.taken.wait()
    queue.stop(timeout_s=0.01)

    assert cut >= MAX_QUEUED_SPANS - 512
    assert {figure.metric: figure.value for figure in tracing.measure()} == {
        catalogue.TRACES_CUT: cut,
        catalogue.SPAN_LINKS_CUT: 0,
    }
    assert sender.ended.is_set()


def lost_of_ten(url: str) -> int:
    """Send ten spans to a collector, and tell how many it did not get."""
    queue = started_queue(HttpSender(f"{url}/v1/traces", ENCODER))
    for _ in range(10):
        tracing_into(queue).begin("/api/event").finish(202)
    queue.stop(timeout_s=60)
    return queue.lost


def test_spans_arrive_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the headers that the environment asks for; those for traces go before those for all."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=all")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-tenant=traces,authorization=Basic%20YTpi")
    with otlp_receiver() as received:
        assert lost_of_ten(received.url) == 0

    assert [span.name for span in received.spans()] == ["POST /api/event"] * 10
    (head,) = received.requests
    assert head["content-type"] == "application/x-protobuf"
    assert head["x-tenant"] == "traces"
    assert head["authorization"] == "Basic YTpi"


@pytest.mark.parametrize("status", [429, 503])
def test_collector_that_is_busy_is_asked_again(status: int) -> None:
    """What it takes then is not lost."""
    with otlp_receiver() as received:
        received.refusals = [status] * (len(TRY_AFTER_S) - 1)
        assert lost_of_ten(received.url) == 0

    assert len(received.spans()) == 10


@pytest.mark.parametrize(("status", "tries"), [(400, 1), (308, 1), (502, len(TRY_AFTER_S))])
def test_what_the_collector_refuses_is_lost(
    status: int, tries: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is asked again only where that can help, some times; the log says what it answered."""
    with otlp_receiver() as received:
        received.refusals = [status] * 10
        assert lost_of_ten(received.url) == 10

    assert len(received.requests) == tries
    assert f"takes no spans: it answered {status}." in caplog.text


def test_collector_that_is_not_there_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the kind of error."""
    with otlp_receiver() as received:
        url = received.url

    assert lost_of_ten(url) == 10
    assert "takes no spans: ConnectionError." in caplog.text
