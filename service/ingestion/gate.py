"""The gatekeeper: may this site take one more event now? Source: reference sections 5.1 and 5.2.

Policies, in order: no such site, the site's time is over, blocked, too many events in this window.
The limit counts every event that reaches the gate, also those dropped later; an event that is throttled
counts too. Time is always the server's own, also for back-dated events: the limit protects the server, not
the past.
"""

from typing import Final

from msgspec import Struct

from service.ingestion.site import Site
from service.ingestion.verdict import DropReason

MS_PER_S: Final = 1_000
MS_PER_DAY: Final = 86_400_000


class RateLimit(Struct):
    """A site's count of events in the current fixed window; changed only by the actor that owns the site.

    Windows are the multiples of the scale since 1970, so bursts of twice the threshold are possible around a
    boundary.
    """

    scale_s: int = 0
    """Length of the window that ``count`` belongs to, seconds; 0 before the first event."""
    window: int = 0
    """Number of that window since 1970."""
    count: int = 0

    def check(self, now_ms: int, scale_s: int, threshold: int) -> bool:
        """Count one event at ``now_ms`` (UTC, milliseconds) and tell whether it is within ``threshold``."""
        window = now_ms // (scale_s * MS_PER_S)
        # A clock that steps back into the window before must not open this window a second time.
        if scale_s != self.scale_s or not self.window - 1 <= window <= self.window:
            self.scale_s = scale_s
            self.window = window
            self.count = 0
        self.count += 1
        return self.count <= threshold


def check_gate(site: Site | None, now_ms: int, rate_limit: RateLimit) -> DropReason | None:
    """Tell why an event for ``site`` may not come in at ``now_ms`` (UTC, milliseconds); None when it may."""
    if site is None:
        return DropReason.NOT_FOUND
    if site.accept_traffic_until is not None and now_ms // MS_PER_DAY > site.accept_traffic_until:
        return DropReason.PAYMENT_REQUIRED
    threshold = site.ingest_rate_limit_threshold
    if threshold is None:
        return None
    if threshold == 0:
        return DropReason.BLOCK
    if not rate_limit.check(now_ms, site.ingest_rate_limit_scale_seconds, threshold):
        return DropReason.THROTTLE
    return None
