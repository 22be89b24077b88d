"""OTLP over gRPC, against a real gRPC server that keeps what it is sent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

from service.telemetry import Telemetry
from service.telemetry.export import MetricsExport, open_exporter
from service.tracing.export import start_tracing
from service.tracing.spans import Sampling


class Sink(metrics_grpc.MetricsServiceServicer, trace_grpc.TraceServiceServicer):
    """Keeps requests; each service has a method of that name, told apart by its request."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Take it."""
        self.requests.append(request)
        if isinstance(request, metrics.ExportMetricsServiceRequest):
            return metrics.ExportMetricsServiceResponse()
        return trace.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[str, Sink]]:
    """A server's URL, and what it took."""
    sink = Sink()
    server = grpc.server(ThreadPoolExecutor(2))
    metrics_grpc.add_MetricsServiceServicer_to_server(sink, server)  # type: ignore[no-untyped-call]
    trace_grpc.add_TraceServiceServicer_to_server(sink, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"http://127.0.0.1:{port}", sink
    server.stop(None).wait()


def test_metrics_arrive(collector: tuple[str, Sink]) -> None:
    """Under their names."""
    url, sink = collector
    telemetry = Telemetry()
    export = MetricsExport(open_exporter(url, "grpc"), [telemetry.measure], version="1", instance="one")
    export.export()
    export.stop(timeout_s=10)

    (request,) = sink.requests
    names = [metric.name for metric in request.resource_metrics[0].scope_metrics[0].metrics]
    assert "gatehouse.events.buffered" in names


def test_spans_arrive(collector: tuple[str, Sink]) -> None:
    """At the end at the latest."""
    url, sink = collector
    queue, tracing = start_tracing(
        url, "grpc", sampling=Sampling(ratio=1.0, slow_s=1.0), version="1", instance="one"
    )
    tracing.begin("/api/event").finish(202)
    queue.stop(timeout_s=10)

    (request,) = sink.requests
    assert request.resource_spans[0].scope_spans[0].spans
    assert queue.lost == 0
