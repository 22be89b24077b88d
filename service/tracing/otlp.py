"""Spans as OTLP has them on the wire, joined from parts that are encoded once.

An encoded message of protobuf is its fields one after the other, so what many spans share, such as a name
and its attributes, is a piece of bytes to be joined. The SDK's encoder makes an object of each of them, which
takes ten times as long, and all the while its thread keeps Python's lock from the event loop. What this one
gives is the same message; a test compares them.
"""

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, SpanKind

from service.tracing.span import Attributes, Span
from service.wire.leb128 import encode_leb128

_MAX_REMEMBERED: Final = 4_096
"""Of names with all attributes; some hundred bytes each."""
_MAX_KEYS: Final = 256

_KINDS: Final = {kind: trace_pb2.Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind}
_FAILED: Final = Status(code=Status.StatusCode.STATUS_CODE_ERROR)

# Fields of protobuf as (tag, value): ids have their length after the tag.
_IDS_AND_TIMES: Final = Struct("<2s16s 2s8s BQ BQ 2sI")
_TRACE_ID, _SPAN_ID, _PARENT_ID = b"\x0a\x10", b"\x12\x08", b"\x22\x08"
_BEGAN, _ENDED, _FLAGS = 0x39, 0x41, b"\x85\x01"
_LINK: Final = Struct("<2s 2s16s 2s8s BI")
_LINK_TAG, _LINK_FLAGS = b"\x6a\x21", 0x35
_DOUBLE: Final = Struct("<d")
_SPANS_TAG: Final = b"\x12"
"""Of a scope's spans, and of a resource's scopes."""
_RESOURCES_TAG: Final = b"\x0a"

_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


class SpanEncoder:
    """Encodes spans of one resource and one scope."""

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        # The SDK encodes what is around the spans.
        around = ReadableSpan("", INVALID_SPAN_CONTEXT, resource=resource, instrumentation_scope=scope)
        (encoded,) = encode_spans([around]).resource_spans
        (encoded_scope,) = encoded.scope_spans
        del encoded_scope.spans[:]
        del encoded.scope_spans[:]
        self._resource: bytes = encoded.SerializeToString()
        self._scope: bytes = encoded_scope.SerializeToString()

    def encode_request(self, spans: Iterable[Span]) -> bytes:
        """Give the export request for spans."""
        pieces = [self._scope]
        for span in spans:
            encoded = _encode_span(span)
            pieces += (_SPANS_TAG, encode_leb128(len(encoded)), encoded)
        return _field(_RESOURCES_TAG, self._resource + _field(_SPANS_TAG, b"".join(pieces)))


def _encode_span(span: Span) -> bytes:
    encoded = _IDS_AND_TIMES.pack(
        _TRACE_ID,
        span.trace_id.to_bytes(16, "big"),
        _SPAN_ID,
        span.span_id.to_bytes(8, "big"),
        _BEGAN,
        span.began,
        _ENDED,
        span.ended,
        _FLAGS,
        _HAS_IS_REMOTE | _IS_REMOTE if span.has_remote_parent else _HAS_IS_REMOTE,
    ) + _shared(span.name, span.kind, span.attributes, is_failed=span.is_failed)
    if span.parent_id:
        encoded += _PARENT_ID + span.parent_id.to_bytes(8, "big")
    for key, value in span.measures:
        encoded += _before_double(key) + _DOUBLE.pack(value)
    return encoded + b"".join(map(_encode_link, span.links)) if span.links else encoded


def _encode_link(context: SpanContext) -> bytes:
    return _LINK.pack(
        _LINK_TAG,
        _TRACE_ID,
        context.trace_id.to_bytes(16, "big"),
        _SPAN_ID,
        context.span_id.to_bytes(8, "big"),
        _LINK_FLAGS,
        _HAS_IS_REMOTE | _IS_REMOTE if context.is_remote else _HAS_IS_REMOTE,
    )


@lru_cache(_MAX_REMEMBERED)
def _shared(name: str, kind: SpanKind, attributes: Attributes, *, is_failed: bool) -> bytes:
    """Give what spans of the same kind of event have in common."""
    pairs = [
        KeyValue(
            key=key,
            value=AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value),
        )
        for key, value in attributes
    ]
    status = _FAILED if is_failed else Status()
    return _encode(trace_pb2.Span(name=name, kind=_KINDS[kind], status=status, attributes=pairs))


@lru_cache(_MAX_KEYS)
def _before_double(key: str) -> bytes:
    pair = KeyValue(key=key, value=AnyValue(double_value=0.0))
    return _encode(trace_pb2.Span(attributes=[pair]))[: -_DOUBLE.size]


def _encode(span: trace_pb2.Span) -> bytes:
    """Give some fields of a span."""
    encoded: bytes = span.SerializeToString()
    return encoded


def _field(tag: bytes, encoded: bytes) -> bytes:
    return tag + encode_leb128(len(encoded)) + encoded
