"""Log lines on their way to the collector: what they hold, and that sending them causes none."""

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry._logs import SeverityNumber
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from service.otlp_logs import OtlpHandler, open_otlp_logs


def in_memory() -> InMemoryLogRecordExporter:
    """Give an exporter that keeps what it gets."""
    return InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]


def sent(*records: logging.LogRecord) -> InMemoryLogRecordExporter:
    """Hand records to the handler and close it; gives what the collector got."""
    exporter = in_memory()
    handler = OtlpHandler(exporter, version="1.2.3", instance="one")
    for record in records:
        handler.handle(record)
    handler.close()
    return exporter


def record(**fields: object) -> logging.LogRecord:
    """Make a log record of a fixed time with extra fields."""
    base = {"name": "service.x", "levelno": logging.WARNING, "levelname": "WARNING", "created": 1.5}
    return logging.makeLogRecord({**base, "msg": "%d blocks", "args": (2,), **fields})


def test_line_has_its_severity_fields_and_trace() -> None:
    """The message is filled in, extra fields are attributes, the trace is the current one."""
    with use_span(NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False))):
        (line,) = sent(record(block="abc", path=OSError("a\udc80"))).get_finished_logs()

    told = line.log_record
    assert (told.body, told.severity_number, told.timestamp) == (
        "2 blocks",
        SeverityNumber.WARN,
        1_500_000_000,
    )
    assert told.attributes is not None
    assert dict(told.attributes) == {"block": "abc", "path": "a?"}
    assert (told.trace_id, told.span_id) == (0xABC, 0xDEF)
    assert line.resource.attributes["service.name"] == "gatehouse"


def test_exception_goes_along() -> None:
    """Its kind and its traceback."""
    try:
        raise KeyError("k")
    except KeyError as error:
        caught = record(exc_info=(KeyError, error, error.__traceback__))
    (line,) = sent(caught).get_finished_logs()

    assert line.log_record.attributes is not None
    assert line.log_record.attributes["exception.type"] == "KeyError"
    assert "test_otlp_logs" in str(line.log_record.attributes["exception.stacktrace"])


def test_lines_of_the_sender_are_not_sent() -> None:
    """A line about a line that was not sent would never end."""
    left = sent(record(name="opentelemetry.sdk"), record(name="urllib3.connectionpool"))

    assert left.get_finished_logs() == ()


def test_after_the_end_lines_are_ignored() -> None:
    """What is logged while the process ends fails nobody."""
    handler = OtlpHandler(exporter := in_memory(), version="1.2.3", instance="one")
    handler.close()
    handler.close()
    handler.handle(record())

    assert exporter.get_finished_logs() == ()


class Receiver(logs_service_pb2_grpc.LogsServiceServicer):
    """Takes lines by gRPC and keeps their texts."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        """Take log lines."""
        for resource in request.resource_logs:
            lines = [line for scope in resource.scope_logs for line in scope.log_records]
            self.bodies += [line.body.string_value for line in lines]
        return logs_service_pb2.ExportLogsServiceResponse()


def test_lines_arrive_by_grpc() -> None:
    """With ``otlp_protocol`` "grpc" lines take the way of metrics and spans."""
    receiver, server = Receiver(), grpc.server(ThreadPoolExecutor(1))
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        handler = open_otlp_logs(f"http://127.0.0.1:{port}", "grpc", version="1.2.3", instance="one")
        handler.handle(record())
        handler.close()
    finally:
        server.stop(None).wait()

    assert receiver.bodies == ["2 blocks"]
