"""A valid request: what one POST says, checked and split, before any site is known. Source: reference section 3."""

from msgspec import Struct


class Revenue(Struct, frozen=True):
    """An amount in thousandths of the currency's unit, and the ISO 4217 code as sent (reference 12.1)."""

    amount: int
    currency: str


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """One request of a tracker or one item of a batch, valid in every field.

    Texts that come out of percent-decoding may hold lone surrogates (PEP 383 ``surrogateescape``) where the bytes
    were not valid UTF-8; ``rows.Text`` is made of them only when a row is built.
    """

    timestamp: int
    """When it happened, UTC epoch seconds; the server's clock unless a trusted sender said otherwise."""
    back_dated: bool = False
    """The sender gave a time of its own, so the event may lie before what its session already holds."""
    remote_ip: str
    """The visitor's address as text; only in memory, only until the event is judged."""
    ip_class: str | None = None
    """``dc_ip``, ``threat_ip``, ``anonymous_vpn_ip`` or None; from a trusted proxy only."""
    user_agent: str | None = None
    """The header verbatim; None when absent. Never stored."""
    event_name: str
    domains: tuple[str, ...]
    """As sent, each without one leading ``www.``; repeated domains stay repeated."""
    url_host: str | None
    """The URL's host as sent (no brackets, no port); None when it has none. Decides whether a referrer is internal."""
    hostname: str
    """The host without one leading ``www.``, or ``(none)``."""
    pathname: str
    referrer: str | None = None
    query: dict[str, str] | None = None
    """The URL's query parameters, last duplicate wins; None when the URL has no query."""
    props: tuple[tuple[str, str], ...] = ()
    """At most 30 pairs, ascending by key bytes."""
    scroll_depth: int = 0
    engagement_time: int = 0
    """Milliseconds."""
    revenue: Revenue | None = None
    interactive: bool = True
    tracker_script_version: int = 0
    """As sent, modulo 65536 (reference 10.4)."""


class FieldError(Struct, frozen=True):
    """One thing wrong with a request; the reply collects all of them."""

    field: str
    message: str
