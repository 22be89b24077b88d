"""Decides which requests and blocks are kept, and makes OpenTelemetry's spans of them once they are over.

- Parent-based ratio: a trusted sender's word, else a random number. Beside it, what failed, was to be tried
  again or was slow is kept, so many a second at most: when everything fails, tracing must not add to it.
- Attributes are of a fixed set: never an address, a user agent, a URL or the text of an error.
- Nothing waits: a request that finds no room in the exporter's queue is counted and left out as a whole.
- A span is made whole, when all of it is known, as the class that the SDK exports. The SDK's tracer is for
  spans that change while they last, and costs 20 µs more for each.

Names follow the semantic conventions for HTTP servers and database clients; our own begin with
``gatehouse.``.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from service.clock import ClockNs, monotonic_ns, wall_ns
from service.ingestion.event import Event
from service.ingestion.request import Request
from service.ingestion.verdict import Buffered, Repeated, Verdict
from service.telemetry import Measured, catalogue
from service.tracing.records import (
    FAILED_STATUS,
    Answering,
    BlockResult,
    BlockTrace,
    InsertTry,
    Kept,
    RequestTrace,
    SiteTrace,
)
from service.wire.traceparent import TraceParent, format_traceparent

MAX_UNSAMPLED_PER_S: Final = 100
"""Requests kept in one second that were not sampled; of those beyond, only the number is known."""
MAX_DOMAIN_CHARS: Final = 253
SECOND_NS: Final = 1_000_000_000
MILLISECOND_NS: Final = 1_000_000
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
UNSET: Final = Status(StatusCode.UNSET)
FAILED: Final = Status(StatusCode.ERROR)

Attributes = dict[str, str | int | float | bool]
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
        self,
        processor: SpanProcessor,
        *,
        sampling: Sampling,
        resource: Resource,
        version: str,
        has_room: Callable[[], bool] = lambda: True,
        clock: ClockNs = monotonic_ns,
    ) -> None:
        self.now = clock
        self.slow_ns = int(sampling.slow_s * SECOND_NS)
        self.ratio = sampling.ratio
        """The share of requests that is sampled where no trusted sender decides."""
        self._has_room = has_room
        self._random_ids = RandomIdGenerator()
        self._processor = processor
        self._resource = resource
        self._scope = InstrumentationScope("gatehouse", version)
        self.answering: Answering | None = None
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
        self,
        route: str,
        parent: TraceParent | None = None,
        *,
        began: int | None = None,
        is_sampled: bool | None = None,
    ) -> RequestTrace:
        """Follow a request since ``began`` (now).

        ``parent`` is what a trusted sender said, who decides whether it is sampled; else ``is_sampled`` says
        so, or a draw.
        """
        if began is None:
            began = self.now()
        if parent is not None:
            is_sampled = parent.sampled
        elif is_sampled is None:
            # Not for secrecy; a draw costs a hundredth of a span.
            is_sampled = random.random() < self.ratio  # noqa: S311
        request = RequestTrace(self, route, None if parent is None else _remote(parent), began)
        if is_sampled:
            request.keep(Kept.SAMPLED)
        return request

    def keep_late(
        self, route: str, *, began: int, status: int, request: Request | None, outcomes: Outcomes
    ) -> RequestTrace:
        """Follow a request that is over, because it failed, was to be tried again, or was slow.

        When the site took it up, and its journal write, are known of an event for one domain.
        """
        trace = RequestTrace(self, route, None, began)
        answering = self.answering if len(outcomes) == 1 else None
        if request is not None:
            for domain, verdict in outcomes:
                site = trace.begin_event(Event(domain=domain, request=request))
                if site is None:
                    continue
                site.began = began
                if answering is not None:
                    site.taken, site.write = answering.taken, answering.write
                site.settle(verdict)
        trace.finish(status)
        if answering is not None and answering.block is not None and trace.context is not None:
            answering.block.link(trace.context)
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

    def new_context(self, parent: SpanContext | None) -> SpanContext:
        """Give the ids of a span that is to be made: in the parent's trace, or in one of its own."""
        ids = self._random_ids
        trace_id = ids.generate_trace_id() if parent is None else parent.trace_id
        return SpanContext(trace_id, ids.generate_span_id(), is_remote=False, trace_flags=SAMPLED)

    def record_request(self, request: RequestTrace, status: int) -> None:
        """Make the spans of a request that has its answer: its own, one a site, one a journal write."""
        if not self._makes_room():
            return
        assert request.context is not None, "it is kept"
        attributes: Attributes = {
            "http.request.method": "POST",
            "http.route": request.route,
            "http.response.status_code": status,
            "gatehouse.kept": str(request.kept),
            "gatehouse.events": len(request.sites) + request.sites_cut,
        }
        if request.sites_cut:
            attributes["gatehouse.sites_cut"] = request.sites_cut
        if len(request.sites) == 1:
            attributes |= _about(request.sites[0])
        error = str(status) if status >= FAILED_STATUS else None
        offset = self._offset()
        for site in request.sites:
            self._record_site(site, request, offset)
        self._make(
            f"POST {request.route}",
            request.context,
            request.parent,
            (request.began + offset, request.ended + offset),
            attributes,
            kind=SpanKind.SERVER,
            error=error,
        )

    def record_block(self, block: BlockTrace, result: BlockResult) -> None:
        """Make the span of a block that is done with."""
        self.links_cut += block.links_cut
        if not self._makes_room():
            return
        attributes: Attributes = {
            "gatehouse.block.id": result.block_id,
            "gatehouse.block.trigger": result.trigger,
            "gatehouse.block.events": result.events,
            "gatehouse.block.tries": block.tries,
            "gatehouse.block.refused": result.refused,
            "gatehouse.kept": str(block.kept),
        }
        if block.links_cut:
            attributes["gatehouse.links_cut"] = block.links_cut
        offset = self._offset()
        self._make(
            "block",
            block.context,
            None,
            (block.began + offset, block.ended + offset),
            attributes,
            links=[Link(context) for context in block.links.values()],
            error=_block_error(result),
        )

    def record_insert(self, block: BlockTrace, insert: InsertTry) -> None:
        """Make the span of one try to insert a block; ClickHouse's own spans are below it."""
        if not self._makes_room():
            return
        offset = self._offset()
        self._make(
            "insert",
            insert.context,
            block.context,
            (insert.began + offset, insert.ended + offset),
            {
                "db.system.name": "clickhouse",
                "db.operation.name": "INSERT",
                "gatehouse.block.try": insert.number,
            },
            kind=SpanKind.CLIENT,
            error=insert.error,
        )

    def _record_site(self, site: SiteTrace, request: RequestTrace, offset: int) -> None:
        assert request.context is not None, "it is kept"
        context = self.new_context(request.context)
        attributes = _about(site)
        if site.taken:
            attributes["gatehouse.waited_ms"] = (site.taken - site.began) / MILLISECOND_NS
        ended = (site.ended or request.ended) + offset
        if site.write is not None:
            self._make(
                "journal append",
                self.new_context(context),
                context,
                (site.write.began + offset, site.write.ended + offset),
                {},
                error="JournalError" if site.write.failed else None,
            )
        self._make("site", context, request.context, (site.began + offset, ended), attributes)

    def _makes_room(self) -> bool:
        if self._has_room():
            return True
        self.traces_cut += 1
        return False

    def _offset(self) -> int:
        """Give what makes UTC of the times of one trace; taken anew, because the machine's clock is set."""
        return wall_ns() - self.now()

    def _make(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        attributes: Mapping[str, str | int | float | bool],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        error: str | None = None,
    ) -> None:
        """Make one span; ``error`` is the kind of error and makes it one that failed."""
        if error is not None:
            attributes = {**attributes, "error.type": error}
        self._processor.on_end(
            ReadableSpan(
                name,
                context,
                parent,
                self._resource,
                attributes,
                links=links,
                kind=kind,
                status=UNSET if error is None else FAILED,
                start_time=times[0],
                end_time=times[1],
                instrumentation_scope=self._scope,
            )
        )


def current_traceparent() -> str | None:
    """Give the traceparent of the span under way in this task, for ClickHouse; None when none is kept."""
    context = otel_trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return None
    return format_traceparent(TraceParent(context.trace_id, context.span_id, sampled=True))


def _about(site: SiteTrace) -> Attributes:
    """Tell what became of one event; nothing else that its sender wrote."""
    event = site.event
    attributes: Attributes = {
        # As sent, and so it may hold what is no Unicode: one such text would cost the whole batch of spans.
        "gatehouse.domain": event.domain[:MAX_DOMAIN_CHARS].encode(errors="replace").decode(),
        "gatehouse.script_version": event.request.tracker_script_version,
    }
    return attributes | _verdict(site.verdict)


def _verdict(verdict: Verdict | None) -> Attributes:
    if verdict is None:
        return {}
    name = type(verdict).__name__.lower()
    if isinstance(verdict, Buffered | Repeated):
        return {"gatehouse.verdict": name}
    return {"gatehouse.verdict": name, "gatehouse.reason": str(verdict.reason)}


def _block_error(result: BlockResult) -> str | None:
    if result.postponed:
        return "quarantine_full"
    return "rows_refused" if result.refused else None


def _remote(parent: TraceParent) -> SpanContext:
    flags = SAMPLED if parent.sampled else TraceFlags(TraceFlags.DEFAULT)
    return SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
