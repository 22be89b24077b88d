"""Makes spans of what is over and kept.

- Attributes are of a fixed set: never an address, a user agent, a URL or the text of an error.
- It is done by the thread that sends spans, many at a time: one alone, in between other work of the event
  loop, takes three times as long, because its code is in none of the processor's caches.

Names follow the semantic conventions for HTTP servers and database clients; our own begin with
``gatehouse.``.
"""

from collections.abc import Iterator
from typing import Final

from opentelemetry.trace import SpanKind

from service.clock import ClockNs, monotonic_ns, wall_ns
from service.ingestion.verdict import Buffered, Repeated, Verdict
from service.tracing.records import (
    FAILED_STATUS,
    RANDOM_IDS,
    BlockResult,
    Ended,
    EndedBlock,
    EndedEvent,
    EndedInsert,
    EndedRequest,
    EndedSite,
    SiteTrace,
)
from service.tracing.span import Attributes, Span

MILLISECOND_NS: Final = 1_000_000


def make_spans(ended: Ended, clock: ClockNs = monotonic_ns) -> Iterator[Span]:
    """Give the spans of a request, a block or an insert, whose times are of ``clock``."""
    # What makes UTC of its times; taken anew, because the machine's clock is set.
    offset = wall_ns() - clock()
    match ended:
        case EndedRequest():
            yield from _of_request(ended, offset)
        case EndedEvent():
            yield from _of_request(ended.as_request(), offset)
        case EndedBlock():
            yield _of_block(ended, offset)
        case EndedInsert():
            yield _of_insert(ended, offset)


def _of_request(ended: EndedRequest, offset: int) -> Iterator[Span]:
    """Give its own span, one a site, one a journal write."""
    context, sites, status = ended.context, ended.sites, ended.status
    for site in sites:
        yield from _of_site(site, ended, offset)
    attributes: Attributes = (
        ("http.request.method", "POST"),
        ("http.route", ended.route),
        ("http.response.status_code", status),
        ("gatehouse.kept", str(ended.kept)),
        ("gatehouse.events", len(sites) + ended.sites_cut),
    )
    if ended.sites_cut:
        attributes += (("gatehouse.sites_cut", ended.sites_cut),)
    if len(sites) == 1:
        attributes += _about(sites[0])
    is_failed = status >= FAILED_STATUS
    parent = ended.parent
    yield Span(
        f"POST {ended.route}",
        SpanKind.SERVER,
        context.trace_id,
        context.span_id,
        0 if parent is None else parent.span_id,
        parent is not None,
        ended.began + offset,
        ended.ended + offset,
        attributes + _error(str(status)) if is_failed else attributes,
        is_failed=is_failed,
    )


def _of_site(site: SiteTrace | EndedSite, ended: EndedRequest, offset: int) -> Iterator[Span]:
    trace_id, write = ended.context.trace_id, site.write
    span_id = RANDOM_IDS.generate_span_id()
    if write is not None:
        yield Span(
            "journal append",
            SpanKind.INTERNAL,
            trace_id,
            RANDOM_IDS.generate_span_id(),
            span_id,
            has_remote_parent=False,
            began=write.began + offset,
            ended=write.ended + offset,
            attributes=_error("JournalError") if write.failed else (),
            is_failed=write.failed,
        )
    waited_ms = (site.taken - site.began) / MILLISECOND_NS
    yield Span(
        "site",
        SpanKind.INTERNAL,
        trace_id,
        span_id,
        ended.context.span_id,
        has_remote_parent=False,
        began=site.began + offset,
        ended=(site.ended or ended.ended) + offset,
        attributes=_about(site),
        measures=(("gatehouse.waited_ms", waited_ms),) if site.taken else (),
    )


def _of_block(ended: EndedBlock, offset: int) -> Span:
    block, result = ended
    attributes: Attributes = (
        ("gatehouse.block.id", result.block_id),
        ("gatehouse.block.trigger", result.trigger),
        ("gatehouse.block.events", result.events),
        ("gatehouse.block.tries", block.tries),
        ("gatehouse.block.refused", result.refused),
        ("gatehouse.kept", str(block.kept)),
    )
    if block.links_cut:
        attributes += (("gatehouse.links_cut", block.links_cut),)
    error = _block_error(result)
    return Span(
        "block",
        SpanKind.INTERNAL,
        block.context.trace_id,
        block.context.span_id,
        0,
        has_remote_parent=False,
        began=block.began + offset,
        ended=block.ended + offset,
        attributes=attributes if error is None else attributes + _error(error),
        # An event without ids found no room on its way here.
        links=(
            *block.links.values(),
            *(event.context for event in block.events if event.context is not None),
        ),
        is_failed=error is not None,
    )


def _of_insert(ended: EndedInsert, offset: int) -> Span:
    attributes: Attributes = (
        ("db.system.name", "clickhouse"),
        ("db.operation.name", "INSERT"),
        ("gatehouse.block.try", ended.number),
    )
    return Span(
        "insert",
        SpanKind.CLIENT,
        ended.context.trace_id,
        ended.context.span_id,
        ended.block.span_id,
        has_remote_parent=False,
        began=ended.began + offset,
        ended=ended.ended + offset,
        attributes=attributes if ended.error is None else attributes + _error(ended.error),
        is_failed=ended.error is not None,
    )


def _about(site: SiteTrace | EndedSite) -> Attributes:
    """Tell what became of one event; nothing else that its sender wrote."""
    return (
        # As sent, and so it may hold what is no Unicode: one such text would cost the whole batch of spans.
        ("gatehouse.domain", site.domain.encode(errors="replace").decode()),
        ("gatehouse.script_version", site.script_version),
        *_verdict(site.verdict),
    )


def _verdict(verdict: Verdict | None) -> Attributes:
    if verdict is None:
        return ()
    name = type(verdict).__name__.lower()
    if isinstance(verdict, Buffered | Repeated):
        return (("gatehouse.verdict", name),)
    return (("gatehouse.verdict", name), ("gatehouse.reason", str(verdict.reason)))


def _block_error(result: BlockResult) -> str | None:
    if result.postponed:
        return "quarantine_full"
    return "rows_refused" if result.refused else None


def _error(kind: str) -> Attributes:
    return (("error.type", kind),)
