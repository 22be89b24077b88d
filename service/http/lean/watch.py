"""What is measured of a request on the short way, and its span: as ``timing`` and ``tracing`` do it."""

from typing import Final

from service.clock import monotonic_ns
from service.http.intake import EVENT_PATH
from service.http.tracing import find_parent
from service.telemetry import Telemetry
from service.telemetry.figures import Histogram
from service.tracing.records import RequestTrace
from service.tracing.spans import Tracing
from service.wire.forwarded import Lookup, TrustedProxies

METHOD: Final = "POST"
SECOND_NS: Final = 1e9


class Watch:
    """Watches requests from their last byte to their answer, for who wants to know."""

    def __init__(self, telemetry: Telemetry, tracing: Tracing | None, trusted: TrustedProxies) -> None:
        self._telemetry = telemetry
        self._tracing = tracing
        self._trusted = trusted
        self._durations: dict[int, Histogram] = {}
        """By status, of which there are few; looked up once."""
        self.now = monotonic_ns if tracing is None else tracing.now
        """Gives nanoseconds, for ``begin`` and ``end``."""

    def begin(self, header: Lookup, peer: str, *, began: int) -> RequestTrace | None:
        """Follow a request through the system; None when nothing is followed."""
        if self._tracing is None:
            return None
        parent = find_parent(header("traceparent"), peer, self._trusted)
        return self._tracing.begin(EVENT_PATH, parent, began=began)

    def end(self, trace: RequestTrace | None, status: int, *, began: int) -> None:
        """Note the answer."""
        ended = self.now() if trace is None else trace.finish(status)
        durations = self._durations.get(status)
        if durations is None:
            durations = self._telemetry.request_durations(METHOD, EVENT_PATH, status)
            self._durations[status] = durations
        durations.record((ended - began) / SECOND_NS)


def watch_requests(telemetry: Telemetry, tracing: Tracing | None, trusted: TrustedProxies) -> Watch | None:
    """Give who watches; None when nobody wants to know."""
    if tracing is None and not telemetry.detailed:
        return None
    return Watch(telemetry, tracing, trusted)
