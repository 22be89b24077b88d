"""Makes OpenTelemetry's spans of what is over and kept.

- Attributes are of a fixed set: never an address, a user agent, a URL or the text of an error.
- A span is made whole, as the class that the SDK exports. The SDK's tracer is for spans that change while
  they last, and costs 20 µs more for each.
- It is done by the thread that sends spans, many at a time: one alone, in between other work of the event
  loop, takes three times as long, because its code is in none of the processor's caches.

Names follow the semantic conventions for HTTP servers and database clients; our own begin with
``gatehouse.``.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from service.clock import ClockNs, monotonic_ns, wall_ns
from service.ingestion.verdict import Buffered, Repeated, Verdict
from service.tracing.records import (
    FAILED_STATUS,
    BlockResult,
    Ended,
    EndedBlock,
    EndedInsert,
    EndedRequest,
    SiteTrace,
    new_context,
)

MILLISECOND_NS: Final = 1_000_000
UNSET: Final = Status(StatusCode.UNSET)
FAILED: Final = Status(StatusCode.ERROR)

Attributes = dict[str, str | int | float | bool]


class SpanMaker:
    """Makes spans, of one resource and one scope."""

    def __init__(self, resource: Resource, *, version: str, clock: ClockNs = monotonic_ns) -> None:
        self._resource = resource
        self._scope = InstrumentationScope("gatehouse", version)
        self._clock = clock

    def make(self, ended: Ended) -> Iterator[ReadableSpan]:
        """Give the spans of a request, a block or an insert."""
        # What makes UTC of its times; taken anew, because the machine's clock is set.
        offset = wall_ns() - self._clock()
        match ended:
            case EndedRequest():
                yield from self._of_request(ended, offset)
            case EndedBlock():
                yield self._of_block(ended, offset)
            case EndedInsert():
                yield self._of_insert(ended, offset)

    def _of_request(self, ended: EndedRequest, offset: int) -> Iterator[ReadableSpan]:
        """Give its own span, one a site, one a journal write."""
        request, context, sites, status = ended
        for site in sites:
            yield from self._of_site(site, ended, offset)
        attributes: Attributes = {
            "http.request.method": "POST",
            "http.route": request.route,
            "http.response.status_code": status,
            "gatehouse.kept": str(request.kept),
            "gatehouse.events": len(sites) + request.sites_cut,
        }
        if request.sites_cut:
            attributes["gatehouse.sites_cut"] = request.sites_cut
        if len(sites) == 1:
            attributes |= _about(sites[0])
        yield self._span(
            f"POST {request.route}",
            context,
            request.parent,
            (request.began + offset, request.ended + offset),
            attributes,
            kind=SpanKind.SERVER,
            error=str(status) if status >= FAILED_STATUS else None,
        )

    def _of_site(self, site: SiteTrace, ended: EndedRequest, offset: int) -> Iterator[ReadableSpan]:
        context = new_context(ended.context)
        if site.write is not None:
            yield self._span(
                "journal append",
                new_context(context),
                context,
                (site.write.began + offset, site.write.ended + offset),
                {},
                error="JournalError" if site.write.failed else None,
            )
        attributes = _about(site)
        if site.taken:
            attributes["gatehouse.waited_ms"] = (site.taken - site.began) / MILLISECOND_NS
        until = site.ended or ended.request.ended
        yield self._span("site", context, ended.context, (site.began + offset, until + offset), attributes)

    def _of_block(self, ended: EndedBlock, offset: int) -> ReadableSpan:
        block, result = ended
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
        return self._span(
            "block",
            block.context,
            None,
            (block.began + offset, block.ended + offset),
            attributes,
            links=[Link(context) for context in block.links.values()],
            error=_block_error(result),
        )

    def _of_insert(self, ended: EndedInsert, offset: int) -> ReadableSpan:
        return self._span(
            "insert",
            ended.context,
            ended.block,
            (ended.began + offset, ended.ended + offset),
            {
                "db.system.name": "clickhouse",
                "db.operation.name": "INSERT",
                "gatehouse.block.try": ended.number,
            },
            kind=SpanKind.CLIENT,
            error=ended.error,
        )

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        times: tuple[int, int],
        attributes: Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
        error: str | None = None,
    ) -> ReadableSpan:
        """Give one span; ``error`` is the kind of error and makes it one that failed."""
        if error is not None:
            attributes["error.type"] = error
        return ReadableSpan(
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


def _about(site: SiteTrace) -> Attributes:
    """Tell what became of one event; nothing else that its sender wrote."""
    attributes: Attributes = {
        # As sent, and so it may hold what is no Unicode: one such text would cost the whole batch of spans.
        "gatehouse.domain": site.domain.encode(errors="replace").decode(),
        "gatehouse.script_version": site.script_version,
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
