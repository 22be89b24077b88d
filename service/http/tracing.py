"""The span of a request: begun before its handler, ended with its answer.

A ``traceparent`` is continued when a trusted proxy sends it, as forwarding headers are believed
(``wire.forwarded``), or a sender of batches with the token: anybody else could have all of his requests kept.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from aiohttp import web
from multidict import istr

from service.http.peer import find_peer
from service.tracing.records import FAILED_STATUS, RequestTrace
from service.tracing.spans import Tracing
from service.wire.forwarded import TrustedProxies
from service.wire.traceparent import TraceParent, parse_traceparent

_TRACEPARENT: Final = istr("Traceparent")

Handler = Callable[[web.Request], Awaitable[web.Response]]


class TracedHandler(Protocol):
    """A handler that tells whom it asks to follow the request."""

    def __call__(self, request: web.Request, trace: RequestTrace | None = None) -> Awaitable[web.Response]:
        """Answer the request."""


def traced(
    handler: TracedHandler,
    route: str,
    *,
    tracing: Tracing,
    trusted: TrustedProxies,
    is_trusted: Callable[[web.Request], bool],
) -> Handler:
    """Give the handler with a span around it; ``is_trusted`` knows senders whose address says nothing."""

    async def answer(request: web.Request) -> web.Response:
        traceparent = _only_traceparent(request)
        parent = find_parent(traceparent, find_peer(request), trusted)
        if parent is None and traceparent is not None and is_trusted(request):
            parent = parse_traceparent(traceparent)
        trace = tracing.begin(route, parent)
        try:
            response = await handler(request, trace)
        except BaseException:
            trace.finish(FAILED_STATUS)
            # aiohttp logs the error in this task, which is this request's alone: the line names the trace.
            trace.make_current()
            raise
        trace.finish(response.status)
        return response

    return answer


def find_parent(traceparent: str | None, peer: str, trusted: TrustedProxies) -> TraceParent | None:
    """Give what a trusted proxy said in its one ``traceparent`` header; None when it said nothing."""
    if traceparent is None or not trusted.find_peer(peer).is_trusted:
        return None
    return parse_traceparent(traceparent)


def _only_traceparent(request: web.Request) -> str | None:
    values = request.headers.getall(_TRACEPARENT, ())
    # Two of them contradict each other, and none counts.
    return values[0] if len(values) == 1 else None
