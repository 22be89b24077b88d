"""The receiving end of OTLP over HTTP: keeps spans and log lines as they came over the wire."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Received:
    """What has come so far."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Message] = []
        """The head of each, also of those that were refused."""
        self.refusals: list[int] = []
        """What the next requests are answered; they are not kept."""
        self._spans: list[bytes] = []
        self._logs: list[bytes] = []

    def keep(self, path: str, body: bytes) -> None:
        """Keep a request by its path; metrics are not kept."""
        if path == "/v1/traces":
            self._spans.append(body)
        elif path == "/v1/logs":
            self._logs.append(body)

    def spans(self) -> list[Span]:
        """Give all spans."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in list(self._spans)]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def logs(self) -> list[LogRecord]:
        """Give all log lines."""
        requests = [ExportLogsServiceRequest.FromString(body) for body in list(self._logs)]
        return [
            line
            for request in requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for line in scope.log_records
        ]

    def raw(self) -> bytes:
        """Give all bytes of spans and lines."""
        return b"".join(self._spans + self._logs)


@contextmanager
def otlp_receiver() -> Iterator[Received]:
    """Receive on a free port of this machine."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.requests.append(self.headers)
            if received.refusals:
                self.send_response(received.refusals.pop(0))
            else:
                received.keep(self.path, body)
                self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Say nothing: a test's output is for its failures."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        received.url = f"http://127.0.0.1:{server.server_port}"
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
