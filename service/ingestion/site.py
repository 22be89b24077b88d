"""A site as ingestion sees it: its limits, its revenue goals and its shields.

Source: reference sections 5, 6 and 12.
"""

from msgspec import Struct

from service.ingestion.shields import Shields


class Site(Struct, frozen=True):
    """One site, as cached by its actor; a change makes a new value.

    ``accept_traffic_until`` is the last UTC day on which traffic is taken, as days since 1970; None = no end.
    ``ingest_rate_limit_threshold``: events a window, None = unlimited, 0 = blocked.
    ``revenue_goals`` are pairs of event name and ISO 4217 currency, in the order they are matched.
    """

    id: int
    domain: str
    domain_changed_from: str | None = None
    timezone: str = "Etc/UTC"
    ingest_rate_limit_threshold: int | None = None
    ingest_rate_limit_scale_seconds: int = 60
    accept_traffic_until: int | None = None
    revenue_goals: tuple[tuple[str, str], ...] = ()
    shields: Shields = Shields()
