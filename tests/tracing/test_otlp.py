"""Spans on the wire: the same message that the SDK makes of them."""

from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind

from service.tracing.otlp import SpanEncoder
from service.tracing.senders import to_sdk
from service.tracing.span import Span

RESOURCE = Resource(
    {"service.name": "gatehouse", "host.cpus": 2, "tags": ["a", "b"]}, "https://schema.example"
)
SCOPE = InstrumentationScope("gatehouse", "1.2.3")
ENCODER = SpanEncoder(RESOURCE, SCOPE)

T = TypeVar("T")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
trace_ids = st.integers(1, 2**128 - 1)
span_ids = st.integers(1, 2**64 - 1)
contexts = st.builds(SpanContext, trace_id=trace_ids, span_id=span_ids, is_remote=st.booleans())
times = st.integers(0, 2**63)


def pairs(first: str, values: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[tuple[str, T], ...]]:
    """Give keys that begin so, each once, with their values."""
    return st.dictionaries(texts.map(first.__add__), values, max_size=4).map(lambda d: tuple(d.items()))


spans = st.builds(
    Span,
    name=texts,
    kind=st.sampled_from(SpanKind),
    trace_id=trace_ids,
    span_id=span_ids,
    parent_id=st.just(0) | span_ids,
    has_remote_parent=st.booleans(),
    began=times,
    ended=times,
    attributes=st.dictionaries(
        texts.map("a".__add__), texts | st.integers(-(2**63), 2**63 - 1), max_size=6
    ).map(lambda attributes: tuple(attributes.items())),
    measures=st.dictionaries(texts.map("m".__add__), st.floats(allow_nan=False), max_size=2).map(
        lambda measures: tuple(measures.items())
    ),
    links=st.lists(contexts, max_size=3).map(tuple),
    is_failed=st.booleans(),
).filter(lambda span: span.parent_id != 0 or not span.has_remote_parent)


@given(st.lists(spans, min_size=1, max_size=5))
def test_any_spans_are_encoded_as_the_sdk_does(batch: list[Span]) -> None:
    """Ids, times, names, kinds, failures, attributes and links, and what is around them."""
    by_the_sdk = encode_spans([to_sdk(span, RESOURCE, SCOPE) for span in batch])

    assert ExportTraceServiceRequest.FromString(ENCODER.encode_request(batch)) == by_the_sdk
