"""Spans as OTLP has them on the wire, joined from parts that are encoded once.

An encoded message of protobuf is its fields one after the other, so what many spans share, such as a name or
an attribute, is a piece of bytes to be joined. The SDK's encoder makes an object of each of them, which takes
five times as long, and all the while its thread keeps Python's lock from the event loop. What this one gives
is the same message; a test compares them.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

from service.wire.leb128 import encode_leb128

_MAX_ATTRIBUTES: Final = 8_192
"""Encoded ones that are remembered; some hundred bytes each."""
_MAX_NAMES: Final = 256

_KINDS: Final = {kind: Span.SpanKind.Value(f"SPAN_KIND_{kind.name}") for kind in SpanKind}
_CODES: Final = {code: Status.StatusCode.Value(f"STATUS_CODE_{code.name}") for code in StatusCode}

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


def encode_request(spans: Sequence[ReadableSpan]) -> bytes:
    """Give the export request for spans of one resource and one scope; there is at least one.

    They have what ``Tracing`` gives them: no events, links without attributes, no trace state.
    """
    # The SDK encodes the first, for what is around the spans.
    (resource,) = encode_spans(spans[:1]).resource_spans
    (scope,) = resource.scope_spans
    del scope.spans[:]
    del resource.scope_spans[:]
    pieces = [scope.SerializeToString()]
    for span in spans:
        encoded = _encode_span(span)
        pieces += (_SPANS_TAG, encode_leb128(len(encoded)), encoded)
    return _field(_RESOURCES_TAG, resource.SerializeToString() + _field(_SPANS_TAG, b"".join(pieces)))


def _encode_span(span: ReadableSpan) -> bytes:
    context, parent = span.context, span.parent
    assert context is not None, "a span that is over has ids"
    pieces = [
        _IDS_AND_TIMES.pack(
            _TRACE_ID,
            context.trace_id.to_bytes(16, "big"),
            _SPAN_ID,
            context.span_id.to_bytes(8, "big"),
            _BEGAN,
            span.start_time,
            _ENDED,
            span.end_time,
            _FLAGS,
            _flags(parent),
        ),
        _named(span.name, span.kind, span.status.status_code),
    ]
    if parent is not None:
        pieces += (_PARENT_ID, parent.span_id.to_bytes(8, "big"))
    for key, value in (span.attributes or {}).items():
        if isinstance(value, float):
            pieces += (_before_double(key), _DOUBLE.pack(value))
        else:
            assert isinstance(value, str | int), "Tracing gives no lists"
            pieces.append(_attribute(key, value))
    pieces += map(_encode_link, span.links)
    return b"".join(pieces)


def _encode_link(link: Link) -> bytes:
    context = link.context
    return _LINK.pack(
        _LINK_TAG,
        _TRACE_ID,
        context.trace_id.to_bytes(16, "big"),
        _SPAN_ID,
        context.span_id.to_bytes(8, "big"),
        _LINK_FLAGS,
        _flags(context),
    )


@lru_cache(_MAX_NAMES)
def _named(name: str, kind: SpanKind, code: StatusCode) -> bytes:
    return _encode(Span(name=name, kind=_KINDS[kind], status=Status(code=_CODES[code])))


# Typed, because 1 is True.
@lru_cache(_MAX_ATTRIBUTES, typed=True)
def _attribute(key: str, value: str | int) -> bytes:
    match value:
        case str():
            encoded = AnyValue(string_value=value)
        case bool():
            encoded = AnyValue(bool_value=value)
        case _:
            encoded = AnyValue(int_value=value)
    return _with_attribute(key, encoded)


@lru_cache(_MAX_NAMES)
def _before_double(key: str) -> bytes:
    return _with_attribute(key, AnyValue(double_value=0.0))[: -_DOUBLE.size]


def _with_attribute(key: str, value: AnyValue) -> bytes:
    return _encode(Span(attributes=[KeyValue(key=key, value=value)]))


def _encode(span: Span) -> bytes:
    """Give some fields of a span."""
    encoded: bytes = span.SerializeToString()
    return encoded


def _flags(other: SpanContext | None) -> int:
    """Tell whether a parent, or what is linked to, is of another process."""
    return _HAS_IS_REMOTE | _IS_REMOTE if other is not None and other.is_remote else _HAS_IS_REMOTE


def _field(tag: bytes, encoded: bytes) -> bytes:
    return tag + encode_leb128(len(encoded)) + encoded
