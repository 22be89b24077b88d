"""A valid request: what one POST says, checked and split, before any site is known.

Source: reference section 3. ``build_request`` collects everything that is wrong (3.1), with the reference's
own fields and messages (1.3).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from service.ingestion import money, props, url
from service.ingestion.idempotency import KEY_MESSAGE, is_key
from service.ingestion.identity import VisitorMemo
from service.ingestion.raw_event import (
    MAX_USUAL_DOMAIN_CHARS,
    MAX_USUAL_URL_CHARS,
    RawEvent,
    UsualEvent,
    choose,
)
from service.ingestion.text import (
    WHITE_SPACE,
    cut_graphemes,
    has_at_most_bytes,
    has_at_most_graphemes,
    is_blank,
)

MAX_URL_BYTES: Final = 2000
MAX_EVENT_NAME_GRAPHEMES: Final = 120
MAX_REFERRER_GRAPHEMES: Final = 2000

MAX_REMEMBERED_URLS: Final = 4096
"""Of usual length; longer ones are rare, and nearly never come again."""

MAX_REMEMBERED_DOMAINS: Final = 32_768

MAX_DOMAINS: Final = 1000
"""Security limit: one body could name a hundred thousand and hold up all others; the reference has none."""

NO_HOST: Final = "(none)"
"""The hostname of a URL that has no host."""

ENGAGEMENT: Final = "engagement"
NO_SCROLL_DEPTH: Final = 255
MAX_SCROLL_DEPTH: Final = 100
ENGAGEMENT_TIME_END_MS: Final = 30 * 24 * 3600 * 1000
"""From here on an engagement time is taken for nonsense: old scripts once sent a time of day."""

SYSTEM_EVENTS: Final = frozenset(
    {
        "pageview",
        "engagement",
        "Outbound Link: Click",
        "Cloaked Link: Click",
        "File Download",
        "404",
        "WP Form Completions",
        "Form: Submission",
    }
)
"""Events that are interactive whatever the sender says (reference 3.9)."""

_SCRIPT_VERSIONS: Final = 65_536
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_INTEGER_DIGITS_MAX: Final = 18


class Revenue(Struct, frozen=True):
    """An amount in thousandths of the currency's unit, and the ISO 4217 code as sent (reference 12.1)."""

    amount: int
    currency: str


class Request(Struct, frozen=True, gc=False):
    """One request of a tracker or one item of a batch, valid in every field.

    Texts that come out of percent-decoding may hold lone surrogates (PEP 383 ``surrogateescape``) where the
    bytes were not valid UTF-8; ``rows.Text`` is made of them only when a row is built.
    """

    timestamp: int
    """When it happened, UTC epoch seconds; the server's clock unless a trusted sender said otherwise."""
    remote_ip: str
    """The visitor's address as text; only in memory, only until the event is judged, and as long as the HTTP
    layer remembers the head that it came in: two minutes at most."""
    event_name: str
    domains: tuple[str, ...]
    """As sent, each without one leading ``www.``; repeated domains stay repeated."""
    url_host: str | None
    """The URL's host as sent, without brackets and port; None when it has none.

    It decides whether a referrer is internal.
    """
    hostname: str
    """The host without one leading ``www.``, or ``(none)``."""
    pathname: str
    back_dated: bool = False
    """The sender gave a time of its own, so the event may lie before what its session already holds."""
    ip_class: str | None = None
    """``dc_ip``, ``threat_ip``, ``anonymous_vpn_ip`` or None; from a trusted proxy only."""
    user_agent: str | None = None
    """The header verbatim; None when absent. Never stored."""
    referrer: str | None = None
    query: Mapping[str, str] | None = None
    """The URL's query parameters, last duplicate wins; None when the URL has no query.

    Shared by all requests with this URL.
    """
    props: tuple[tuple[str, str], ...] = ()
    """At most 30 pairs, ascending by key bytes."""
    scroll_depth: int = 0
    engagement_time: int = 0
    """Milliseconds."""
    revenue: Revenue | None = None
    interactive: bool = True
    tracker_script_version: int = 0
    """As sent, modulo 65536 (reference 10.4)."""
    key: str | None = None
    """By which its sender marks what is the same event, however often it is sent."""
    memo: VisitorMemo | None = None
    """Shared by all requests with this address and user agent out of one head; None when nobody keeps it."""


class FieldError(Struct, frozen=True):
    """One thing wrong with a request; the reply collects all of them."""

    field: str
    message: str


def build_usual(
    event: UsualEvent,
    timestamp: int,
    remote_ip: str,
    user_agent: str | None,
    ip_class: str | None,
    key: str | None,
    memo: VisitorMemo | None,
    back_dated: bool = False,  # noqa: FBT001,FBT002 - by place, as all of them, for each event
) -> Request | None:
    """Make a Request of a usual event, the same as ``build_request``; None when there may be trouble.

    What that is, ``build_request`` says.
    """
    location, name = _read_url(event.u), event.n
    is_system_event = name in SYSTEM_EVENTS
    domains = _read_domains(event.d)
    is_usual = location.is_sound and domains and (is_system_event or not is_blank(name))
    if not is_usual or (key is not None and not is_key(key)):
        return None
    pathname = location.pathname if event.h != 1 else _find_pathname(location, [], with_fragment=True)
    pairs: props.Props = ()
    if event.p is not None or name in props.PATH_EVENTS:
        pairs = props.build_props(event.p, event_name=name, pathname=pathname)
        if not props.has_allowed_sizes(pairs):
            return None
    scroll_depth = engagement_time = 0
    if name == ENGAGEMENT:
        scroll_depth, engagement_time = _read_engagement(event.sd, event.e)
        if scroll_depth == NO_SCROLL_DEPTH and engagement_time == 0:
            return None
    # In the order of the fields: names would take fifteen times as long, for each event.
    return Request(
        timestamp,
        remote_ip,
        name,
        domains,
        location.host,
        location.hostname,
        pathname,
        back_dated,
        ip_class,
        user_agent,
        event.r,
        location.query,
        pairs,
        scroll_depth,
        engagement_time,
        None,  # revenue
        is_system_event or event.i,
        event.v % _SCRIPT_VERSIONS,
        key,
        memo,
    )


def build_request(
    raw: RawEvent,
    *,
    timestamp: int,
    remote_ip: str,
    user_agent: str | None,
    ip_class: str | None,
    back_dated: bool = False,
    key: str | None = None,
    memo: VisitorMemo | None = None,
) -> Request | list[FieldError]:
    """Check every field and make a Request, or say all that is wrong; never raises.

    What nearly every tracker sends is made by ``build_usual``, which is faster. Errors are told in the order
    in which this looks at the fields.
    """
    errors: list[FieldError] = []
    location = _find_location(raw)
    if location.error is not None:
        errors.append(location.error)
    name = _find_event_name(raw, errors)
    pathname = _find_pathname(location, errors, with_fragment=_find_hash_mode(raw, errors))
    pairs = _find_props(raw, name, pathname, errors)
    scroll_depth, engagement_time = _find_engagement(raw, errors) if name == ENGAGEMENT else (0, 0)
    domains = _find_domains(raw, location.host, errors)
    if key is not None and not is_key(key):
        errors.append(FieldError("idempotency_key", KEY_MESSAGE))
    if errors:
        return errors
    is_interactive = raw.i is not False and raw.interactive is not False
    return Request(
        timestamp=timestamp,
        remote_ip=remote_ip,
        event_name=name,
        domains=domains,
        url_host=location.host,
        hostname=location.hostname,
        pathname=pathname,
        back_dated=back_dated,
        ip_class=ip_class,
        user_agent=user_agent,
        referrer=_find_referrer(raw),
        query=location.query,
        props=pairs,
        scroll_depth=scroll_depth,
        engagement_time=engagement_time,
        revenue=_find_revenue(raw),
        interactive=name in SYSTEM_EVENTS or is_interactive,
        tracker_script_version=raw.v % _SCRIPT_VERSIONS if type(raw.v) is int else 0,
        key=key,
        memo=memo,
    )


class _Location(Struct, frozen=True):
    """What a request takes from its URL."""

    is_sound: bool
    """Whether there is nothing to be told of it."""
    error: FieldError | None
    """What is wrong with the URL itself; it counts as empty then, so that only this is told."""
    host: str | None
    hostname: str
    pathname: str
    fragment: str | None
    """As it was sent, not decoded."""
    query: Mapping[str, str] | None


def _read_new_url(text: str) -> _Location:
    parts = url.split(text)
    if parts.scheme == "data":
        return _read_nowhere("scheme is not allowed")
    hostname = url.sanitise_host(parts.host) if parts.host else NO_HOST
    pathname = url.percent_decode(parts.path or "/").rstrip(WHITE_SPACE)
    # In the order of its fields: names would take five times as long.
    return _Location(
        not is_blank(hostname) and not is_blank(pathname),
        None,
        parts.host,
        hostname,
        pathname,
        parts.fragment,
        None if parts.query is None else url.decode_query(parts.query),
    )


def _read_nowhere(message: str) -> _Location:
    return replace(_read_new_url(""), is_sound=False, error=FieldError("url", message))


_read_url: Final = lru_cache(MAX_REMEMBERED_URLS)(_read_new_url)
"""Most URLs come again and again: of other visitors, and of the engagement events after a page view."""

_MISSING: Final = _read_nowhere("is required")
_INVALID: Final = _read_nowhere("must be a valid url")


def _find_location(raw: RawEvent) -> _Location:
    value = choose(raw.u, raw.url)
    if value is None:
        return _MISSING
    if not isinstance(value, str) or not has_at_most_bytes(value, MAX_URL_BYTES):
        return _INVALID
    return _read_url(value) if len(value) <= MAX_USUAL_URL_CHARS else _read_new_url(value)


def _find_event_name(raw: RawEvent, errors: list[FieldError]) -> str:
    value = choose(raw.n, raw.name)
    if type(value) is str and value in SYSTEM_EVENTS:
        return value
    if type(value) is int:
        value = str(value)
    if value is None or (isinstance(value, str) and is_blank(value)):
        errors.append(FieldError("event_name", "can't be blank"))
    elif not isinstance(value, str):
        errors.append(FieldError("event_name", "is invalid"))
    elif not has_at_most_graphemes(value, MAX_EVENT_NAME_GRAPHEMES):
        errors.append(FieldError("event_name", f"should be at most {MAX_EVENT_NAME_GRAPHEMES} character(s)"))
    else:
        return value
    return ""


def _find_hash_mode(raw: RawEvent, errors: list[FieldError]) -> bool:
    """Whether the fragment belongs to the path: only exactly 1 says so (reference 3.4)."""
    value = choose(raw.h, raw.hash_mode)
    if value is None or (isinstance(value, str) and is_blank(value)):
        return False
    number = _integer(value)
    if number is None:
        errors.append(FieldError("hash_mode", "is invalid"))
    return number == 1


def _find_pathname(location: _Location, errors: list[FieldError], *, with_fragment: bool) -> str:
    """Give the path, with the fragment where that belongs to it; tell what is blank of the host too."""
    if is_blank(location.hostname):
        errors.append(FieldError("hostname", "can't be blank"))
    if with_fragment and location.fragment is not None:  # its # makes it more than blank
        return f"{location.pathname}#{url.percent_decode(location.fragment)}"
    if is_blank(location.pathname):
        errors.append(FieldError("pathname", "can't be blank"))
    return location.pathname


def _find_props(raw: RawEvent, name: str, pathname: str, errors: list[FieldError]) -> props.Props:
    source = choose(choose(choose(raw.m, raw.meta), raw.p), raw.props)
    pairs = props.build_props(source, event_name=name, pathname=pathname)
    if not props.has_allowed_sizes(pairs):
        errors.append(FieldError("props", props.SIZE_MESSAGE))
    return pairs


def _find_engagement(raw: RawEvent, errors: list[FieldError]) -> tuple[int, int]:
    """Give scroll depth (percent, 255 = missing) and engagement time (ms, 0 = missing). Reference 3.8."""
    scroll_depth, engagement_time = _read_engagement(_integer(raw.sd), _integer(raw.e))
    if scroll_depth == NO_SCROLL_DEPTH and engagement_time == 0:
        message = "engagement event requires a valid integer value for at least one of 'sd' or 'e' fields"
        errors.append(FieldError("event_name", message))
    return scroll_depth, engagement_time


def _read_engagement(depth: int | None, time: int | None) -> tuple[int, int]:
    if depth is None or depth < 0:
        scroll_depth = NO_SCROLL_DEPTH
    else:
        scroll_depth = depth if depth <= MAX_SCROLL_DEPTH else MAX_SCROLL_DEPTH
    return scroll_depth, time if time is not None and 0 <= time < ENGAGEMENT_TIME_END_MS else 0


def _find_domains(raw: RawEvent, host: str | None, errors: list[FieldError]) -> tuple[str, ...]:
    value = choose(raw.d, raw.domain)
    if not isinstance(value, str):
        if host is not None:
            return (url.sanitise_host(host),)
        errors.append(FieldError("domain", "can't be blank"))
    elif value.count(",") >= MAX_DOMAINS:
        errors.append(FieldError("domain", f"should have at most {MAX_DOMAINS} item(s)"))
    else:
        is_short = len(value) <= MAX_USUAL_DOMAIN_CHARS
        domains = _read_domains(value) if is_short else _read_new_domains(value)
        if not domains:
            errors.append(FieldError("domain", "can't be blank"))
        return domains
    return ()


def _read_new_domains(text: str) -> tuple[str, ...]:
    """Give the domains of a text, none of a blank one."""
    return () if is_blank(text) else tuple(map(url.sanitise_host, text.strip(WHITE_SPACE).split(",")))


_read_domains: Final = lru_cache(MAX_REMEMBERED_DOMAINS)(_read_new_domains)


def _find_referrer(raw: RawEvent) -> str | None:
    value = choose(raw.r, raw.referrer)
    return cut_graphemes(value, MAX_REFERRER_GRAPHEMES) if isinstance(value, str) else None


def _find_revenue(raw: RawEvent) -> Revenue | None:
    value = choose(raw.revenue, raw.dollar)
    parsed = None if value is None else money.parse_money(value)
    return None if parsed is None else Revenue(*parsed)


def _integer(value: Any) -> int | None:
    """Give an integer, or the text of one, as a number; None for everything else.

    Of a very long text only the sign and the first digits are read: it is beyond every limit all the same.
    """
    if type(value) is int:
        return value
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        return None
    digits = value.lstrip("+-").lstrip("0") or "0"
    number = int(digits[:_INTEGER_DIGITS_MAX])
    return -number if value[0] == "-" else number
