"""What sends spans to a collector: over HTTP by our own encoder, by gRPC through the SDK's exporter."""

import logging
import os
import threading
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Literal, Protocol

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode
from opentelemetry.util.re import parse_env_headers
from requests import Request, RequestException, Session

from service.errors import ConfigError
from service.tracing.otlp import SpanEncoder
from service.tracing.span import Span

log: Final = logging.getLogger(__name__)

EXPORT_TIMEOUT_S: Final = 5.0
TRY_TIMEOUT_S: Final = 2.0
"""For the connection, and again for the answer, of one of the tries over HTTP."""
TRY_AFTER_S: Final = (0.0, 0.0, 1.0)
"""That the collector has closed a kept connection is found out at once; one that starts needs longer."""
LATER: Final = frozenset({429, 502, 503, 504})
"""What OTLP has for "try again"."""

OtlpProtocol = Literal["http/protobuf", "grpc"]


class SpanSender(Protocol):
    """Sends spans; belongs to one thread, but for its end."""

    def send(self, spans: Sequence[Span]) -> bool:
        """Send a batch, within some seconds; False when the collector did not get it."""

    def shutdown(self) -> None:
        """End what is under way, and try nothing again."""


class HttpSender:
    """Sends spans to a URL by OTLP over HTTP.

    Of the environment it takes what the SDK's exporter does: ``OTEL_EXPORTER_OTLP_HEADERS``,
    ``OTEL_EXPORTER_OTLP_CERTIFICATE``, ``_CLIENT_CERTIFICATE`` and ``_CLIENT_KEY``, also with ``_TRACES_``,
    and what ``requests`` knows of proxies.
    """

    def __init__(self, url: str, encoder: SpanEncoder) -> None:
        self._encoder = encoder
        self._ended = threading.Event()
        self._session = session = Session()
        session.headers["content-type"] = "application/x-protobuf"
        session.headers.update(parse_env_headers(_from_environment("HEADERS") or "", liberal=True))
        certificate, key = _from_environment("CLIENT_CERTIFICATE"), _from_environment("CLIENT_KEY")
        # The environment is asked once: it would take a third of each request's time.
        self._request = session.prepare_request(Request("POST", url))
        self._settings = session.merge_environment_settings(
            url,
            {},
            stream=None,
            verify=_from_environment("CERTIFICATE"),
            cert=(certificate, key) if certificate and key else certificate,
        )

    def send(self, spans: Sequence[Span]) -> bool:
        """Send a batch; tries again what may come to be taken, for some seconds."""
        request = self._request.copy()
        request.prepare_body(self._encoder.encode_request(spans), files=None)
        problem = "it is too late"
        for wait_s in TRY_AFTER_S:
            if self._ended.wait(wait_s):
                break
            try:
                answer = self._session.send(
                    request, timeout=TRY_TIMEOUT_S, allow_redirects=False, **self._settings
                )
            except RequestException as error:
                problem = type(error).__name__
                continue
            if answer.status_code < HTTPStatus.MULTIPLE_CHOICES:
                return True
            problem = f"it answered {answer.status_code}"
            if answer.status_code not in LATER:
                break
        log.warning(
            "The collector takes no spans: %s. Events are taken as ever; see that it runs at otlp_endpoint",
            problem,
        )
        return False

    def shutdown(self) -> None:
        """Try nothing again, from now on."""
        self._ended.set()
        self._session.close()


class SdkSender:
    """Sends spans by an exporter of the SDK's."""

    def __init__(self, exporter: SpanExporter, resource: Resource, scope: InstrumentationScope) -> None:
        self._exporter = exporter
        self._resource = resource
        self._scope = scope

    def send(self, spans: Sequence[Span]) -> bool:
        """Send a batch."""
        exported = [to_sdk(span, self._resource, self._scope) for span in spans]
        return self._exporter.export(exported) is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """End what is under way."""
        self._exporter.shutdown()


def to_sdk(span: Span, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """Give a span as the SDK has it."""
    parent = SpanContext(span.trace_id, span.parent_id, is_remote=span.has_remote_parent)
    return ReadableSpan(
        span.name,
        SpanContext(span.trace_id, span.span_id, is_remote=False),
        parent if span.parent_id else None,
        resource,
        dict(span.attributes + span.measures),
        links=[Link(context) for context in span.links],
        kind=span.kind,
        status=Status(StatusCode.ERROR if span.is_failed else StatusCode.UNSET),
        start_time=span.began,
        end_time=span.ended,
        instrumentation_scope=scope,
    )


def open_sender(
    endpoint: str, protocol: OtlpProtocol, resource: Resource, scope: InstrumentationScope
) -> SpanSender:
    """Give what sends to the collector at ``endpoint``, a URL without a path.

    Raises ConfigError when gRPC is asked for and its package is not installed.
    """
    if protocol == "grpc":
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
        except ImportError:
            raise ConfigError(
                'otlp_protocol is "grpc", which needs a package: pip install "gatehouse[grpc]".'
            ) from None
        insecure = endpoint.startswith("http://")
        exporter = GrpcExporter(endpoint=endpoint, insecure=insecure, timeout=EXPORT_TIMEOUT_S)
        return SdkSender(exporter, resource, scope)
    return HttpSender(f"{endpoint.rstrip('/')}/v1/traces", SpanEncoder(resource, scope))


def _from_environment(name: str) -> str | None:
    """Give what OpenTelemetry's variable of this name says of traces, or of all."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}")
