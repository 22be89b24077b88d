"""Spans in memory, with words for what tests ask of them."""

from collections.abc import Mapping

from msgspec import Struct
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from service.clock import ClockNs, monotonic_ns
from service.tracing.making import SpanMaker
from service.tracing.records import Ended
from service.tracing.spans import Sampling, Tracing


class SpanSeen(Struct, frozen=True):
    """One span, by what tests compare."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int | None
    attributes: Mapping[str, object]
    links: tuple[int, ...]
    failed: bool
    began: int
    ended: int
    kind: str


class Spans:
    """A Tracing whose spans are kept here."""

    def __init__(
        self, *, ratio: float = 1.0, slow_s: float = 60.0, room: bool = True, clock: ClockNs = monotonic_ns
    ) -> None:
        self.exporter = InMemorySpanExporter()
        self._maker = SpanMaker(Resource({}), version="1.2.3", clock=clock)
        self._has_room = room
        self.tracing = Tracing(self._put, sampling=Sampling(ratio=ratio, slow_s=slow_s), clock=clock)

    def _put(self, ended: Ended) -> bool:
        if self._has_room:
            self.exporter.export(list(self._maker.make(ended)))
        return self._has_room

    def all(self) -> list[SpanSeen]:
        """Give all spans in the order in which they were made."""
        return [_seen(span) for span in self.exporter.get_finished_spans()]

    def named(self, name: str) -> list[SpanSeen]:
        """Give the spans of one name."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> SpanSeen:
        """Give the only span of this name."""
        (span,) = self.named(name)
        return span

    def text(self) -> str:
        """Give all that an exporter could tell of the spans."""
        return "\n".join(span.to_json() for span in self.exporter.get_finished_spans())


def _seen(span: ReadableSpan) -> SpanSeen:
    assert span.context is not None
    assert span.start_time is not None
    assert span.end_time is not None
    return SpanSeen(
        name=span.name,
        trace_id=span.context.trace_id,
        span_id=span.context.span_id,
        parent_id=span.parent.span_id if span.parent is not None else None,
        attributes=dict(span.attributes or {}),
        links=tuple(link.context.span_id for link in span.links),
        failed=span.status.status_code is StatusCode.ERROR,
        began=span.start_time,
        ended=span.end_time,
        kind=span.kind.name,
    )
