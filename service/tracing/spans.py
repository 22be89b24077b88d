"""Decides which requests and blocks are kept; of those, spans are made once they are over.

- Parent-based ratio: a trusted sender's word, else a random number. Beside it, what failed, was to be tried
  again or was slow is kept, so many a second at most: when everything fails, tracing must not add to it.
- Nothing waits: a request that finds no room in the exporter's queue is counted and left out as a whole.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct
from opentelemetry import trace as otel_trace
from opentelemetry.trace import SpanContext, TraceFlags

from service.clock import ClockNs, monotonic_ns
from service.ingestion.request import Request
from service.ingestion.verdict import Verdict
from service.telemetry import Measured, catalogue
from service.tracing.records import SAMPLED, BlockTrace, Ended, EndedEvent, Kept, RequestTrace, Write
from service.wire.traceparent import TraceParent, format_traceparent

MAX_UNSAMPLED_PER_S: Final = 100
"""Requests kept in one second that were not sampled; of those beyond, only the number is known."""
SECOND_NS: Final = 1_000_000_000

UNKNOWN: Final = Write(0, 0, None)

Outcomes = Sequence[tuple[str, Verdict]]
"""What became of a request, by domain."""


class Sampling(Struct, frozen=True):
    """Which requests are kept."""

    ratio: float
    """The share that is sampled, 0 to 1, where no trusted sender has decided."""
    slow_s: float
    """What takes longer is kept as well."""


class Tracing:
    """The Recorder of the service; belongs to the loop's thread."""

    def __init__(
        self, put: Callable[[Ended], bool], *, sampling: Sampling, clock: ClockNs = monotonic_ns
    ) -> None:
        """``put`` takes what spans are to be made of, and says whether there was room."""
        self._put = put
        self.now = clock
        self.slow_ns = int(sampling.slow_s * SECOND_NS)
        self.ratio = sampling.ratio
        """The share of requests that is sampled where no trusted sender decides."""
        self.taken = 0
        self.answering: Write | None = None
        self._second = 0
        self._kept_this_second = 0
        self.traces_cut = 0
        """Traces that should have been kept: too many in a second, or no room on the way to the collector."""
        self.links_cut = 0
        """Requests that blocks did not link to."""

    def measure(self) -> Iterable[Measured]:
        """Give how much was not followed."""
        yield Measured(catalogue.TRACES_CUT, self.traces_cut)
        yield Measured(catalogue.SPAN_LINKS_CUT, self.links_cut)

    def begin(
        self, route: str, parent: TraceParent | None = None, *, began: int | None = None
    ) -> RequestTrace:
        """Follow a request since ``began`` (now).

        ``parent`` is what a trusted sender said, who decides whether it is sampled; else a draw does.
        """
        if began is None:
            began = self.now()
        # Not for secrecy; a draw costs a hundredth of a span.
        is_sampled = random.random() < self.ratio if parent is None else parent.sampled  # noqa: S311
        request = RequestTrace(self, route, None if parent is None else _remote(parent), began)
        if is_sampled:
            request.keep(Kept.SAMPLED)
        return request

    def keep_buffered(self, route: str, *, began: int, ended: int, status: int, request: Request) -> None:
        """Follow a request for one domain that is over: sampled, buffered, and not slow."""
        write = self.answering or UNKNOWN
        event = EndedEvent(
            route,
            status,
            request.domains[0],
            request.tracker_script_version,
            began,
            ended,
            self.taken,
            write.began,
            write.ended,
        )
        if write.block is not None:
            write.block.link_event(event)
        self.record(event)

    def keep_late(
        self,
        route: str,
        *,
        began: int,
        status: int,
        request: Request | None,
        outcomes: Outcomes,
        is_sampled: bool,
    ) -> RequestTrace:
        """Follow a request for one domain that is over: sampled, failed, to be tried again, or slow."""
        trace = RequestTrace(self, route, None, began)
        if is_sampled:
            trace.keep(Kept.SAMPLED)
        write = self.answering
        if request is not None:
            for domain, verdict in outcomes:
                site = trace.begin_event(domain, request, began=began)
                if site is None:
                    continue
                site.taken, site.write = self.taken, write
                site.settle(verdict)
        trace.finish(status)
        if write is not None and write.block is not None and trace.context is not None:
            write.block.link(trace.context)
        return trace

    def begin_block(self) -> BlockTrace:
        """Follow a block."""
        return BlockTrace(self)

    def admit(self) -> bool:
        """Tell whether one more may be kept that was not sampled; counted when not."""
        second = self.now() // SECOND_NS
        if second != self._second:
            self._second = second
            self._kept_this_second = 0
        if self._kept_this_second >= MAX_UNSAMPLED_PER_S:
            self.traces_cut += 1
            return False
        self._kept_this_second += 1
        return True

    def record(self, ended: Ended) -> None:
        """Have the spans made of what is over and kept, if there is room for them."""
        if not self._put(ended):
            self.traces_cut += 1


def current_traceparent() -> str | None:
    """Give the traceparent of the span under way in this task, for ClickHouse; None when none is kept."""
    context = otel_trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return format_traceparent(TraceParent(context.trace_id, context.span_id, sampled=True))


def _remote(parent: TraceParent) -> SpanContext:
    flags = SAMPLED if parent.sampled else TraceFlags(TraceFlags.DEFAULT)
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
