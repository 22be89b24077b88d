"""One event on its way through the pipeline: the named steps, in order, and the row that comes out.

Source: reference sections 4.1, 4.2 and 8.7. Each step is a function that fills a part of the event or gives
the reason to drop it; the first drop ends the run. Steps that drop nothing and set what only the beginning
of a visit asks for wait until the event opens a session, because the rows of all others repeat what their
session has. The names are the
reference's. Left out is the step for
the verification agent (enterprise-internal); ``put_acquisition_channel`` is ours, because the channel is
computed here (design.md, section 5); ``register_session`` belongs to the actor that owns the sessions.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from service.ingestion.addresses import IpVerdicts
from service.ingestion.channel import find_channel
from service.ingestion.geolocation import NOWHERE, Geolocator, Location
from service.ingestion.identity import KnownVisitor, RootDomains, hash_visitor, join_visitor
from service.ingestion.origin import find_origin
from service.ingestion.published import Published
from service.ingestion.request import FieldError, Request
from service.ingestion.revenue import NO_REVENUE, Rates, StoredRevenue, build_revenue
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession, SessionAttributes, Text, to_text
from service.ingestion.shields import (
    NO_SHIELDS,
    VPN_COUNTRY,
    CompiledShields,
    is_country_blocked,
    is_hostname_allowed,
    is_ip_blocked,
    is_page_blocked,
)
from service.ingestion.site import Site
from service.ingestion.source import NO_SOURCE, Source, find_source, infer_medium
from service.ingestion.source_table import SourceTable
from service.ingestion.user_agent import UNKNOWN_USER_AGENT, UserAgent, UserAgentParser
from service.ingestion.verdict import DropReason

PAGEVIEW: Final = "pageview"
MAX_TIMESTAMP: Final = 2**32 - 1
"""The last second of ClickHouse's DateTime."""


class Tables(Struct, frozen=True):
    """The data that steps look things up in; one for the whole service."""

    geo: Published[Geolocator]
    """The database of locations."""
    user_agents: UserAgentParser
    sources: SourceTable
    root_domains: RootDomains
    rates: Rates
    addresses: Published[IpVerdicts]
    """The operator's lists of addresses."""
    spam: Published[frozenset[str]]
    """Hosts of referrer spam."""


class Context(Struct, frozen=True, kw_only=True):
    """What the steps need beside the event itself: its site, the salts of its day, the tables."""

    site: Site
    shields: CompiledShields
    tables: Tables
    current_salt: bytes
    """16 bytes."""
    previous_salt: bytes | None
    """The salt of the day before, None when it is not kept any more."""


class Salts(Struct, frozen=True):
    """The salt in force when the event happened, and the one before it."""

    current: bytes
    previous: bytes | None


class EventAttributes(Struct, frozen=True, gc=False):
    """What the row of this event has for itself."""

    site_id: int = 0
    timestamp: int = 0
    name: str = ""
    hostname: str = ""
    pathname: Text = ""
    scroll_depth: int = 0
    engagement_time: int = 0
    interactive: bool = True
    meta_keys: tuple[str, ...] = ()
    meta_values: tuple[Text, ...] = ()
    revenue: StoredRevenue = NO_REVENUE


NO_ATTRIBUTES: Final = EventAttributes()


class Event(Struct, gc=False):
    """One event for one domain of a request; the steps fill it from top to bottom."""

    domain: str
    """As sent."""
    request: Request
    context: Context | None = None
    """What it is judged with; None before the first step."""
    ip_class: str | None = None
    """What a trusted proxy said of the address, else what the operator's lists say; None = nothing."""
    location: Location = NOWHERE
    user_agent: UserAgent = UNKNOWN_USER_AGENT
    source: Source = NO_SOURCE
    acquisition_channel: str = ""
    salts: Salts | None = None
    user_id: int = 0
    """The visitor under the salt of the event's day."""
    previous_user_id: int | None = None
    """The visitor under the salt of the day before, to find a session that began then."""
    clickhouse_event_attrs: EventAttributes = NO_ATTRIBUTES
    dropped: bool = False
    drop_reason: DropReason | None = None
    changeset: tuple[FieldError, ...] = ()
    """What is wrong with an invalid event."""


class Step(NamedTuple):
    """One step of the pipeline under the name it has in telemetry."""

    name: str
    run: Callable[[Event, Context], DropReason | None]
    waits: bool = False
    """It drops nothing, and what it sets is asked for only when a visit begins, or in an explanation."""


def run_steps(event: Event, context: Context) -> DropReason | None:
    """Run the steps that judge, in order; give the first drop's reason, None without a drop.

    The same as all ``STEPS`` that do not wait, one after the other. Those that could do nothing to this event
    are not called, which for most events is most of them.
    """
    event.context = context
    request, shields = event.request, context.shields
    reason = None
    if request.ip_class is not None or context.tables.addresses.value.in_use:
        reason = _drop_datacenter_ip(event, context) or _drop_threat_ip(event, context)
    if reason is None and shields is not NO_SHIELDS:
        reason = (
            _drop_shield_rule_hostname(event, context)
            or _drop_shield_rule_page(event, context)
            or _drop_shield_rule_ip(event, context)
        )
        if reason is None and shields.countries:
            _put_geolocation(event, context)
            reason = _drop_shield_rule_country(event, context)
    if reason is None:
        reason = _put_user_agent(event, context)
    if reason is not None:
        return _drop(event, reason)
    _put_basic_info(event, context)
    if request.props:
        _put_props(event, context)
    if request.revenue is not None:
        _put_revenue(event, context)
    _put_user_id(event, context)
    reason = _validate_clickhouse_event(event, context)
    return None if reason is None else _drop(event, reason)


def run_steps_timed(
    event: Event, context: Context, timer: Callable[[], float], record: Callable[[str, float], None]
) -> DropReason | None:
    """Run all steps, and record what each took, by its name and in the timer's unit."""
    event.context = context
    for name, run, _ in STEPS:
        began = timer()
        reason = run(event, context)
        record(name, timer() - began)
        if reason is not None:
            return _drop(event, reason)
    return None


def describe_visit(event: Event) -> SessionAttributes:
    """Run the steps that waited, and give what a session takes from its first event."""
    context = event.context
    assert context is not None, "an event that opens a session was judged"
    # With a rule for countries it was looked for before.
    location = event.location if context.shields.countries else _locate(event, context)
    _, channel, texts = find_origin(event.request, context.tables.sources)
    user_agent = event.user_agent
    referrer, referrer_source, click_id, medium, source, campaign, content, term = texts
    # In the order of the fields: names would take five times as long, for each visit.
    return SessionAttributes(
        referrer,
        referrer_source,
        click_id,
        medium,
        source,
        campaign,
        content,
        term,
        location.country_code,
        location.subdivision1_code,
        location.subdivision2_code,
        location.city_geoname_id,
        user_agent.screen_size,
        user_agent.os,
        user_agent.os_version,
        user_agent.browser,
        user_agent.browser_version,
        channel,
    )


def to_row(event: Event, session: ClickhouseSession) -> ClickhouseEvent:
    """Give the event's row: its own attributes, and the session's for what it decides (reference 8.7)."""
    attrs = event.clickhouse_event_attrs
    revenue = attrs.revenue
    # In the order of the row's fields: names would take five times as long, for each event.
    return ClickhouseEvent(
        attrs.site_id,
        session.user_id,
        session.session_id,
        attrs.timestamp,
        attrs.name,
        attrs.hostname,
        attrs.pathname,
        attrs.meta_keys,
        attrs.meta_values,
        attrs.scroll_depth,
        attrs.engagement_time,
        revenue.source_amount,
        revenue.source_currency,
        revenue.reporting_amount,
        revenue.reporting_currency,
        session.attributes,
    )


def _drop(event: Event, reason: DropReason) -> DropReason:
    event.dropped = True
    event.drop_reason = reason
    return reason


def _drop_datacenter_ip(event: Event, context: Context) -> DropReason | None:
    request, lists = event.request, context.tables.addresses.value
    ip_class = request.ip_class or (lists.find(request.remote_ip) if lists.in_use else None)
    if ip_class is None:
        return None
    event.ip_class = ip_class
    return DropReason.DC_IP if ip_class == "dc_ip" else None


def _drop_threat_ip(event: Event, _context: Context) -> DropReason | None:
    return DropReason.THREAT_IP if event.ip_class == "threat_ip" else None


def _drop_shield_rule_hostname(event: Event, context: Context) -> DropReason | None:
    if is_hostname_allowed(context.shields, event.request.hostname):
        return None
    return DropReason.SITE_HOSTNAME_ALLOWLIST


def _drop_shield_rule_page(event: Event, context: Context) -> DropReason | None:
    return (
        DropReason.SITE_PAGE_BLOCKLIST if is_page_blocked(context.shields, event.request.pathname) else None
    )


def _drop_shield_rule_ip(event: Event, context: Context) -> DropReason | None:
    return DropReason.SITE_IP_BLOCKLIST if is_ip_blocked(context.shields, event.request.remote_ip) else None


def _put_geolocation(event: Event, context: Context) -> None:
    event.location = _locate(event, context)


def _locate(event: Event, context: Context) -> Location:
    if event.ip_class == "anonymous_vpn_ip":
        return Location(VPN_COUNTRY)
    return context.tables.geo.value.locate(event.request.remote_ip)


def _drop_shield_rule_country(event: Event, context: Context) -> DropReason | None:
    if is_country_blocked(context.shields, event.location.country_code):
        return DropReason.SITE_COUNTRY_BLOCKLIST
    return None


def _put_user_agent(event: Event, context: Context) -> DropReason | None:
    request = event.request
    known = None if request.memo is None else request.memo.known
    agents = context.tables.user_agents
    user_agent = agents.parse(request.user_agent) if known is None else known.user_agent
    event.user_agent = user_agent
    return DropReason.BOT if user_agent.is_bot else None


def _put_basic_info(event: Event, context: Context) -> None:
    request = event.request
    pathname = request.pathname
    # In the order of the fields, which is quicker than by their names.
    event.clickhouse_event_attrs = EventAttributes(
        context.site.id,
        request.timestamp,
        request.event_name,
        request.hostname,
        pathname if pathname.isascii() else to_text(pathname),
        request.scroll_depth,
        request.engagement_time,
        request.interactive,
    )


def _put_source_info(event: Event, context: Context) -> None:
    event.source = find_source(event.request, context.tables.sources)


def _maybe_infer_medium(event: Event, _context: Context) -> None:
    event.source = infer_medium(event.source)


def _put_acquisition_channel(event: Event, context: Context) -> None:
    event.acquisition_channel = find_channel(event.source, context.tables.sources)


def _put_props(event: Event, _context: Context) -> None:
    props = event.request.props
    if props:
        keys, values = zip(*props)  # noqa: B905 - each is a pair, and asking takes as long again
        texts = values if "".join(values).isascii() else tuple(map(to_text, values))
        event.clickhouse_event_attrs = replace(
            event.clickhouse_event_attrs, meta_keys=keys, meta_values=texts
        )


def _put_revenue(event: Event, context: Context) -> None:
    request = event.request
    if request.revenue is not None:
        revenue = build_revenue(
            request.revenue, request.event_name, context.site.revenue_goals, context.tables.rates
        )
        event.clickhouse_event_attrs = replace(event.clickhouse_event_attrs, revenue=revenue)


def _put_salts(event: Event, context: Context) -> None:
    event.salts = Salts(context.current_salt, context.previous_salt)


def _put_user_id(event: Event, context: Context) -> None:
    request = event.request
    memo, domain, hostname = request.memo, event.domain, request.hostname
    known = None if memo is None else memo.known
    if known is not None and known.under is context and known.domain == domain and known.hostname == hostname:
        event.user_id = known.user_id
        if known.previous_user_id is not None:
            event.previous_user_id = known.previous_user_id
        return
    root = context.tables.root_domains.root_domain(hostname)
    who = join_visitor(request.user_agent, request.remote_ip, domain, root)
    event.user_id = hash_visitor(context.current_salt, who)
    if context.previous_salt is not None:
        event.previous_user_id = hash_visitor(context.previous_salt, who)
    if memo is not None:
        memo.known = KnownVisitor(
            context, domain, hostname, event.user_id, event.previous_user_id, event.user_agent
        )


def _validate_clickhouse_event(event: Event, _context: Context) -> DropReason | None:
    attrs = event.clickhouse_event_attrs
    is_complete = attrs.name and attrs.hostname and attrs.pathname
    if is_complete and 0 <= attrs.timestamp <= MAX_TIMESTAMP:
        return None
    if not is_complete:
        event.changeset = tuple(
            FieldError(name, "can't be blank")
            for name in ("name", "hostname", "pathname")
            if not getattr(attrs, name)
        )
    else:
        event.changeset = (FieldError("timestamp", "is invalid"),)
    return DropReason.INVALID


STEPS: Final = (
    Step("drop_datacenter_ip", _drop_datacenter_ip),
    Step("drop_threat_ip", _drop_threat_ip),
    Step("drop_shield_rule_hostname", _drop_shield_rule_hostname),
    Step("drop_shield_rule_page", _drop_shield_rule_page),
    Step("drop_shield_rule_ip", _drop_shield_rule_ip),
    Step("put_geolocation", _put_geolocation, waits=True),
    Step("drop_shield_rule_country", _drop_shield_rule_country),
    Step("put_user_agent", _put_user_agent),
    Step("put_basic_info", _put_basic_info),
    Step("put_source_info", _put_source_info, waits=True),
    Step("maybe_infer_medium", _maybe_infer_medium, waits=True),
    Step("put_acquisition_channel", _put_acquisition_channel, waits=True),
    Step("put_props", _put_props),
    Step("put_revenue", _put_revenue),
    Step("put_salts", _put_salts, waits=True),
    Step("put_user_id", _put_user_id),
    Step("validate_clickhouse_event", _validate_clickhouse_event),
)
"""The steps of reference 4.2, in its order."""
