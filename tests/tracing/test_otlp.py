"""Spans on the wire: the same message that the SDK makes of them."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from service.tracing.otlp import encode_request

RESOURCE = Resource(
    {"service.name": "gatehouse", "host.cpus": 2, "tags": ["a", "b"]}, "https://schema.example"
)
SCOPE = InstrumentationScope("gatehouse", "1.2.3")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
contexts = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.booleans(),
)
times = st.integers(0, 2**63)
values = texts | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False)
spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.just(RESOURCE),
    attributes=st.dictionaries(texts, values, max_size=6),
    links=st.lists(st.builds(Link, contexts), max_size=3),
    kind=st.sampled_from(SpanKind),
    status=st.builds(Status, st.sampled_from(StatusCode)),
    start_time=times,
    end_time=times,
    instrumentation_scope=st.just(SCOPE),
)


@given(st.lists(spans, min_size=1, max_size=5))
def test_any_spans_are_encoded_as_the_sdk_does(batch: list[ReadableSpan]) -> None:
    """Ids, times, names, kinds, failures, attributes and links, and what is around them."""
    assert ExportTraceServiceRequest.FromString(encode_request(batch)) == encode_spans(batch)


def test_one_is_not_true() -> None:
    """Values that Python takes for equal keep their kind, whichever came first."""
    batch = [
        ReadableSpan(
            "one",
            SpanContext(1, 1, is_remote=False),
            attributes={"key": value},
            start_time=1,
            end_time=2,
            instrumentation_scope=SCOPE,
        )
        for value in (1, True, 1.0, True, 1)
    ]

    assert ExportTraceServiceRequest.FromString(encode_request(batch)) == encode_spans(batch)
