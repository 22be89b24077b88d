"""What is measured of a request on the short way, and its span: as ``timing`` and ``tracing`` do it."""

import random
from math import inf
from typing import Final

from service.clock import monotonic_ns
from service.http.intake import EVENT_PATH
from service.http.tracing import find_parent
from service.ingestion.request import Request
from service.telemetry import Telemetry
from service.telemetry.figures import Histogram
from service.tracing.records import FAILED_STATUS, RETRIED, RequestTrace
from service.tracing.spans import Outcomes, Tracing
from service.wire.forwarded import TrustedProxies
from service.wire.reply import OK

METHOD: Final = "POST"


class Watch:
    """Watches requests from their last byte to their answer, for who wants to know."""

    def __init__(self, telemetry: Telemetry, tracing: Tracing | None, trusted: TrustedProxies) -> None:
        self._telemetry = telemetry
        self._tracing = tracing
        self._trusted = trusted
        self._durations: dict[int, Histogram] = {}
        """By status, of which there are few; looked up once."""
        self.now = monotonic_ns if tracing is None else tracing.now
        """Gives nanoseconds, for when a request began."""
        self._draw = random.random
        self._ratio = 0.0 if tracing is None else tracing.ratio
        """The share of requests that is sampled where nobody followed them."""
        self._slow_ns: float = inf if tracing is None else tracing.slow_ns
        """What takes longer is kept."""
        self._note_plain = telemetry.request_durations(METHOD, EVENT_PATH, OK.status).record_ns

    def begin(
        self, traceparent: str | None, peer: str, *, began: int, is_for_several: bool
    ) -> RequestTrace | None:
        """Follow a request for several domains, or of which a trusted sender decides; None: it is neither."""
        if self._tracing is None:
            return None
        parent = find_parent(traceparent, peer, self._trusted)
        if parent is None and not is_for_several:
            return None
        return self._tracing.begin(EVENT_PATH, parent, began=began)

    def end_plain(self, began: int, request: Request, outcomes: Outcomes) -> None:
        """Note the answer to an event that nobody follows and that was buffered, as nearly all are."""
        now, draw, note_plain = self.now, self._draw, self._note_plain
        ended = now()
        took_ns = ended - began
        is_sampled = draw() < self._ratio
        if took_ns > self._slow_ns:
            self._keep(began, OK.status, request, outcomes, is_sampled=is_sampled)
        elif is_sampled and self._tracing is not None:
            self._tracing.keep_buffered(
                EVENT_PATH, began=began, ended=ended, status=OK.status, request=request
            )
        note_plain(took_ns)

    def end(
        self,
        trace: RequestTrace | None,
        status: int,
        *,
        began: int,
        request: Request | None,
        outcomes: Outcomes,
    ) -> RequestTrace | None:
        """Note the answer; gives what followed the request, which may begin here."""
        ended = self.now() if trace is None else trace.finish(status)
        is_sampled = trace is None and self._draw() < self._ratio
        if trace is None and (
            is_sampled
            or ended - began > self._slow_ns
            or status >= FAILED_STATUS
            or any(type(verdict) in RETRIED for _, verdict in outcomes)
        ):
            trace = self._keep(began, status, request, outcomes, is_sampled=is_sampled)
        durations = self._durations.get(status)
        if durations is None:
            durations = self._telemetry.request_durations(METHOD, EVENT_PATH, status)
            self._durations[status] = durations
        durations.record_ns(ended - began)
        return trace

    def _keep(
        self, began: int, status: int, request: Request | None, outcomes: Outcomes, *, is_sampled: bool
    ) -> RequestTrace | None:
        if self._tracing is None:
            return None
        return self._tracing.keep_late(
            EVENT_PATH,
            began=began,
            status=status,
            request=request,
            outcomes=outcomes,
            is_sampled=is_sampled,
        )


def watch_requests(telemetry: Telemetry, tracing: Tracing | None, trusted: TrustedProxies) -> Watch | None:
    """Give who watches; None when nobody wants to know."""
    if tracing is None and not telemetry.detailed:
        return None
    return Watch(telemetry, tracing, trusted)
