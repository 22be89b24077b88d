"""Spans in memory, with words for what tests ask of them."""

from collections.abc import Mapping

from msgspec import Struct

from service.clock import ClockNs, monotonic_ns
from service.tracing.making import make_spans
from service.tracing.records import Ended
from service.tracing.span import Span
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
        self.made: list[Span] = []
        self._clock = clock
        self.room = room
        """Whether there is room for more on the way to the collector."""
        self.tracing = Tracing(self._put, sampling=Sampling(ratio=ratio, slow_s=slow_s), clock=clock)

    def _put(self, ended: Ended) -> bool:
        if self.room:
            self.made += make_spans(ended, self._clock)
        return self.room

    def all(self) -> list[SpanSeen]:
        """Give all spans in the order in which they were made."""
        return [_seen(span) for span in self.made]

    def named(self, name: str) -> list[SpanSeen]:
        """Give the spans of one name."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> SpanSeen:
        """Give the only span of this name."""
        (span,) = self.named(name)
        return span

    def text(self) -> str:
        """Give all that an exporter could tell of the spans."""
        return "\n".join(map(str, self.made))


def _seen(span: Span) -> SpanSeen:
    return SpanSeen(
        name=span.name,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id or None,
        attributes=dict(span.attributes + span.measures),
        links=tuple(context.span_id for context in span.links),
        failed=span.is_failed,
        began=span.began,
        ended=span.ended,
        kind=span.kind.name,
    )
