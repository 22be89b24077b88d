"""The way of spans to the collector: a bounded queue, a thread that makes and sends them, what was lost.

The loop never waits for it. A trace for which there is no room is left out as a whole, never torn apart. The
SDK's processor is left out, because it takes spans that are made already.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final, Literal

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers
from requests import RequestException, Session

from service.errors import ConfigError
from service.telemetry import Measured, catalogue
from service.telemetry.origin import describe_origin
from service.tracing.making import SpanMaker
from service.tracing.otlp import encode_request
from service.tracing.records import Ended
from service.tracing.spans import Sampling, Tracing

log: Final = logging.getLogger(__name__)

MAX_QUEUED_SPANS: Final = 4096
BATCH_SPANS: Final = 512
EXPORT_INTERVAL_S: Final = 2.0
EXPORT_TIMEOUT_S: Final = 5.0
TRY_TIMEOUT_S: Final = 2.0
"""For the connection, and again for the answer, of one of the tries over HTTP."""
TRY_AFTER_S: Final = (0.0, 0.0, 1.0)
"""That the collector has closed a kept connection is found out at once; one that starts needs longer."""
LATER: Final = frozenset({429, 502, 503, 504})
"""What OTLP has for "try again"."""

Protocol = Literal["http/protobuf", "grpc"]


class HttpSpanExporter(SpanExporter):
    """Sends spans to a URL by OTLP over HTTP.

    Of the environment it takes what the SDK's exporter does: ``OTEL_EXPORTER_OTLP_HEADERS``,
    ``OTEL_EXPORTER_OTLP_CERTIFICATE``, ``_CLIENT_CERTIFICATE`` and ``_CLIENT_KEY``, also with ``_TRACES_``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self._session = session = Session()
        session.headers["content-type"] = "application/x-protobuf"
        session.headers.update(parse_env_headers(_from_environment("HEADERS") or "", liberal=True))
        session.verify = _from_environment("CERTIFICATE") or True
        certificate, key = _from_environment("CLIENT_CERTIFICATE"), _from_environment("CLIENT_KEY")
        session.cert = (certificate, key) if certificate and key else certificate

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; tries again what may come to be taken, for some seconds."""
        request = encode_request(spans)
        problem = "it is too late"
        for wait_s in TRY_AFTER_S:
            if self._ended.wait(wait_s):
                break
            try:
                status = self._session.post(
                    self._url, data=request, timeout=TRY_TIMEOUT_S, allow_redirects=False
                ).status_code
            except RequestException as error:
                problem = type(error).__name__
                continue
            if status < HTTPStatus.MULTIPLE_CHOICES:
                return SpanExportResult.SUCCESS
            problem = f"it answered {status}"
            if status not in LATER:
                break
        log.warning(
            "The collector takes no spans: %s. Events are taken as ever; see that it runs at otlp_endpoint",
            problem,
        )
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Try nothing again, from now on."""
        self._ended.set()
        self._session.close()


class SpanQueue:
    """What is kept and waits for its spans to be made and sent; ``start`` it, and ``stop`` it once."""

    def __init__(self, exporter: SpanExporter, maker: SpanMaker) -> None:
        self._exporter = exporter
        self._maker = maker
        self._waiting: deque[tuple[Ended, int]] = deque()
        self._awake = threading.Event()
        self._is_stopping = False
        # A daemon: a collector that takes a connection and never answers must not keep the process.
        self._thread = threading.Thread(target=self._run, name="spans-export", daemon=True)
        # Each of the numbers is written by one thread alone: the first by that of the loop.
        self._put = 0
        self._taken = 0
        """Spans that have left the queue."""
        self.lost = 0
        """Those of them that the collector did not get."""

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, ended: Ended) -> bool:
        """Have its spans made and sent; False when there is no room for them."""
        size = ended.spans
        waiting = self._put - self._taken + size
        if waiting > MAX_QUEUED_SPANS:
            return False
        self._put += size
        # With its size, because an event whose sender got tired of waiting may get a journal write yet.
        self._waiting.append((ended, size))
        if waiting >= BATCH_SPANS and not self._awake.is_set():
            self._awake.set()
        return True

    def measure(self) -> Iterable[Measured]:
        """Give how many spans the collector did not get."""
        yield Measured(catalogue.SPANS_LOST, self.lost)

    def stop(self, *, timeout_s: float) -> None:
        """Send what is left, within the time; what a collector does not take by then is lost."""
        self._is_stopping = True
        self._awake.set()
        self._thread.join(timeout_s)
        self._exporter.shutdown()

    def _run(self) -> None:
        while not self._is_stopping:
            self._awake.wait(EXPORT_INTERVAL_S)
            self._awake.clear()
            while self._waiting:
                self._send_batch()

    def _send_batch(self) -> None:
        batch: list[Ended] = []
        size = 0
        while self._waiting and size < BATCH_SPANS:
            ended, spans = self._waiting.popleft()
            batch.append(ended)
            size += spans
        self._taken += size
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export([span for ended in batch for span in self._maker.make(ended)])
        except Exception:  # the thread must live on
            log.exception("Spans cannot be sent")
        if result is not SpanExportResult.SUCCESS:
            self.lost += size
            log.warning(
                "The collector takes no spans (%d are lost). Events are taken as ever; "
                "see that it runs at otlp_endpoint",
                self.lost,
            )


def stop_within(shutdown: Callable[[], object], cut_off: Callable[[], object], *, timeout_s: float) -> None:
    """Shut a queue of OpenTelemetry's down, whose own way waits for 30 s; cut its exporter off in the end."""
    ending = threading.Thread(target=shutdown, name="telemetry-end", daemon=True)
    ending.start()
    ending.join(timeout_s)
    if ending.is_alive():
        cut_off()


def start_tracing(
    endpoint: str, protocol: Protocol, *, sampling: Sampling, version: str, instance: str
) -> tuple[SpanQueue, Tracing]:
    """Begin to send spans to the collector at ``endpoint``, a URL without a path.

    ``stop`` the queue in the end. Raises ConfigError when gRPC is asked for and its package is not installed.
    """
    maker = SpanMaker(describe_origin(version=version, instance=instance), version=version)
    queue = SpanQueue(_open_exporter(endpoint, protocol), maker)
    queue.start()
    return queue, Tracing(queue.put, sampling=sampling)


def _open_exporter(endpoint: str, protocol: Protocol) -> SpanExporter:
    if protocol == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
        except ImportError:
            raise ConfigError(
                'otlp_protocol is "grpc", which needs a package: pip install "gatehouse[grpc]".'
            ) from None
        insecure = endpoint.startswith("http://")
        return GrpcExporter(endpoint=endpoint, insecure=insecure, timeout=EXPORT_TIMEOUT_S)
    return HttpSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")


def _from_environment(name: str) -> str | None:
    """Give what OpenTelemetry's variable of this name says of traces, or of all."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")
