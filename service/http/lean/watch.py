"""What is measured of a request on the short way, and its span: as ``timing`` and ``tracing`` do it."""

from service.clock import stopwatch
from service.http.intake import EVENT_PATH
from service.http.tracing import find_parent
from service.telemetry import Telemetry
from service.tracing.records import RequestTrace
from service.tracing.spans import Tracing
from service.wire.forwarded import Lookup, TrustedProxies

METHOD = "POST"


class Sight:
    """One request that is watched, from its last byte to its answer."""

    __slots__ = ("_began", "_telemetry", "trace")

    def __init__(self, telemetry: Telemetry | None, trace: RequestTrace | None) -> None:
        self.trace = trace
        """Follows it through the system; None when nothing is followed."""
        # None when nobody reads the figures.
        self._telemetry = telemetry
        self._began = stopwatch()

    def end(self, status: int) -> None:
        """Note the answer."""
        if self.trace is not None:
            self.trace.finish(status)
        if self._telemetry is not None:
            self._telemetry.record_request(METHOD, EVENT_PATH, status, stopwatch() - self._began)


class Watch:
    """Begins to watch requests, if anybody wants to know."""

    def __init__(self, telemetry: Telemetry, tracing: Tracing | None, trusted: TrustedProxies) -> None:
        self._telemetry = telemetry if telemetry.detailed else None
        self._tracing = tracing
        self._trusted = trusted

    def begin(self, header: Lookup, peer: str) -> Sight | None:
        """Watch a request; None when nobody does."""
        tracing = self._tracing
        if tracing is None:
            return None if self._telemetry is None else Sight(self._telemetry, None)
        parent = find_parent(header("traceparent"), peer, self._trusted)
        return Sight(self._telemetry, tracing.begin(EVENT_PATH, parent))
