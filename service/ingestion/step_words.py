"""What each step of the pipeline says of itself after it ran: a sentence, and what it used.

One function a step, by the step's name; each looks only at the event and at the tables that the step looked
at, and changes nothing.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from service.ingestion.event import Context, Event
from service.ingestion.request import Revenue
from service.ingestion.shields import UNKNOWN_COUNTRY, match_hostname, match_ip, match_page
from service.ingestion.source import match_source

Words = tuple[str, dict[str, Any]]
"""A sentence, and what was used."""

IP_TYPE_HEADER: Final = "x-plausible-ip-type"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def show(text: str | bytes | None) -> str:
    """Give a text as it can be shown anywhere; what is no UTF-8 becomes U+FFFD, nothing becomes empty."""
    if not text:
        return ""
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    if text.isascii():
        return text
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)


def moment_of(timestamp: int) -> str:
    """Give UTC epoch seconds as people read them; the number itself beyond the calendar."""
    try:
        return f"{_EPOCH + timedelta(seconds=timestamp):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return str(timestamp)


def date_of(timestamp: int) -> str:
    """Give the day of UTC epoch seconds."""
    return moment_of(timestamp).partition(" ")[0]


def _datacenter_ip(event: Event, context: Context) -> Words:
    request, verdict = event.request, event.ip_class
    if verdict is None:
        return "No list has the address.", {"ip_class": None}
    if request.ip_class:
        return f"The header {IP_TYPE_HEADER} calls the address {show(verdict)}.", {
            "ip_class": show(verdict),
            "said_by": IP_TYPE_HEADER,
        }
    match = context.tables.addresses.value.match(request.remote_ip)
    assert match is not None, "the list gave the verdict"
    where = f"{match.name} (AS{match.asn})" if match.asn is not None else match.name
    return f"The list {where} calls the address {verdict}.", {"ip_class": verdict, "said_by": where}


def _threat_ip(event: Event, _context: Context) -> Words:
    is_threat = event.ip_class == "threat_ip"
    return f"The address is {'a known threat' if is_threat else 'no known threat'}.", {
        "ip_class": None if event.ip_class is None else show(event.ip_class)
    }


def _hostname_shield(event: Event, context: Context) -> Words:
    hostname, patterns = show(event.request.hostname), context.shields.hostnames
    if not patterns:
        return "The site lets in every hostname.", {"rule": None}
    rule = match_hostname(context.shields, event.request.hostname)
    if rule is None:
        rules = [show(pattern.rule) for pattern in patterns]
        return f"None of the site's hostname rules lets in {hostname}.", {"rule": None, "rules": rules}
    return f"The hostname rule {show(rule)} lets in {hostname}.", {"rule": show(rule)}


def _page_shield(event: Event, context: Context) -> Words:
    rule = match_page(context.shields, event.request.pathname)
    if rule is None:
        return "No page rule names the path.", {"rule": None}
    return f"The page rule {show(rule)} keeps out {show(event.request.pathname)}.", {"rule": show(rule)}


def _ip_shield(event: Event, context: Context) -> Words:
    rule = match_ip(context.shields, event.request.remote_ip)
    if rule is None:
        return "No address rule has the address.", {"rule": None}
    return f"The address rule {rule} keeps out {show(event.request.remote_ip)}.", {"rule": rule}


def _geolocation(event: Event, context: Context) -> Words:
    address = {"address": show(event.request.remote_ip)}
    if event.ip_class == "anonymous_vpn_ip":
        return "An anonymous VPN's address has the country A1 and no other place.", address
    location, geo = event.location, context.tables.geo.value
    database = show(geo.kind)
    found = geo.find_fields(event.request.remote_ip)
    used = address | {"database": database, "found": {name: _fit(value) for name, value in found.items()}}
    if not location.country_code:
        return f"Nothing is known of where the address is ({database}).", used
    regions = [code for code in (location.subdivision1_code, location.subdivision2_code) if code]
    city = [f"city {location.city_geoname_id}"] if location.city_geoname_id else []
    return f"The address is in {', '.join([location.country_code, *regions, *city])} ({database}).", used


def _country_shield(event: Event, context: Context) -> Words:
    code = (event.location.country_code or UNKNOWN_COUNTRY).upper()
    if code in context.shields.countries:
        return f"The country rule {code} keeps the event out.", {"rule": code}
    return f"No country rule names {code}.", {"rule": None}


def _user_agent(event: Event, context: Context) -> Words:
    sent, found = event.request.user_agent, event.user_agent
    rules = context.tables.user_agents.explain(sent)
    used: dict[str, Any] = {
        "user_agent": show(sent),
        "rules": [{"list": show(r.list), "place": r.place, "regex": show(r.regex)} for r in rules],
    }
    by = f" ({', '.join(f'{show(r.list)} {r.place}' for r in rules)})" if rules else ""
    if not sent:
        return "There is no user agent.", used
    if found.is_bot:
        return f"The user agent is a bot's{by}.", used
    browser = f"{found.browser} {found.browser_version}".strip() or "an unknown browser"
    system = f"{found.os} {found.os_version}".strip() or "an unknown system"
    return f"It is {browser} on {system}, {found.screen_size or 'on an unknown kind of device'}{by}.", used


def _basic_info(event: Event, _context: Context) -> Words:
    attrs = event.clickhouse_event_attrs
    return (
        f"{show(attrs.name)} of {show(attrs.pathname)} on {show(attrs.hostname)},"
        f" at {moment_of(attrs.timestamp)} UTC.",
        {},
    )


def _source_info(event: Event, context: Context) -> Words:
    source = event.source
    match = match_source(event.request, context.tables.sources)
    if match is None:
        if event.request.referrer:
            return "The referrer is the site's own, or no address of a page: there is no source.", {}
        return "Neither a tag nor a referrer: there is no source.", {}
    used: dict[str, Any] = {"told_by": match.told_by, "text": show(match.text), "rule": None, "table": None}
    by = f"{match.told_by} is {show(match.text)}"
    if match.match is None:
        return f"{by}, which no table names: it is the source as it stands.", used
    rule = match.match
    used |= {"rule": show(rule.rule), "table": show(rule.table)}
    return f"{by}, which {used['rule']} in the {used['table']} names {show(source.referrer_source)}.", used


def _inferred_medium(event: Event, _context: Context) -> Words:
    source = event.source
    if source.utm_medium == f"({source.click_id_param})" and source.click_id_param:
        return f"{source.click_id_param} tells of an advertisement of {show(source.referrer_source)}.", {
            "click_id_param": source.click_id_param
        }
    return "There is no medium to be inferred.", {"click_id_param": source.click_id_param or None}


def _channel(event: Event, context: Context) -> Words:
    source, table = event.source, context.tables.sources
    category = table.category(source.referrer_source.lower())
    used = {
        "source": show(source.referrer_source),
        "category": None if category is None else category.value,
        "medium": None if source.utm_medium is None else show(source.utm_medium),
        "paid_source": table.is_paid(source.utm_source.lower()),
    }
    kind = "of no known kind" if category is None else f"of the kind {category.value}"
    about = f"a source {kind}" if source.referrer_source else "no source"
    return f"{about[0].upper()}{about[1:]}: {event.acquisition_channel}.", used


def _props(event: Event, _context: Context) -> Words:
    keys = [show(key) for key in event.clickhouse_event_attrs.meta_keys]
    if not keys:
        return "There are no properties.", {}
    return f"{len(keys)} kept: {', '.join(keys)}.", {}


def _revenue(event: Event, _context: Context) -> Words:
    sent, stored = event.request.revenue, event.clickhouse_event_attrs.revenue
    if sent is None:
        return "No money was sent.", {}
    used: dict[str, Any] = {"sent": _money(sent)}
    if stored.source_amount is None:
        return f"{show(event.request.event_name)} is no goal with revenue: it is not stored.", used
    if stored.reporting_amount is None:
        return f"{used['sent']}; there is no rate for the goal's currency.", used
    used["reported"] = _money(Revenue(stored.reporting_amount, stored.reporting_currency))
    return f"{used['sent']}, reported as {used['reported']}.", used


def _salts(event: Event, _context: Context) -> Words:
    assert event.salts is not None, "this step has put them"
    if event.salts.previous is None:
        return "The salt of the day; the one before is not kept.", {"previous": False}
    return "The salts of the day and of the day before.", {"previous": True}


def _user_id(event: Event, context: Context) -> Words:
    root = show(context.tables.root_domains.root_domain(event.request.hostname))
    used = {"domain": show(event.domain), "root_domain": root}
    return f"A hash of user agent, address, {used['domain']} and {root}.", used


def _validation(event: Event, _context: Context) -> Words:
    if not event.changeset:
        return "All that a row needs is there.", {}
    return f"It is no valid event: {', '.join(f'{e.field} {e.message}' for e in event.changeset)}.", {}


def _fit(value: object) -> object:
    """Give a value of somebody's database as JSON can hold it."""
    return value if isinstance(value, int | float) else show(str(value))


def _money(revenue: Revenue) -> str:
    sign, amount = "-" if revenue.amount < 0 else "", abs(revenue.amount)
    return f"{sign}{amount // 1000}.{amount % 1000:03d} {revenue.currency}"


DESCRIBED: Final[Mapping[str, Callable[[Event, Context], Words]]] = {
    "drop_datacenter_ip": _datacenter_ip,
    "drop_threat_ip": _threat_ip,
    "drop_shield_rule_hostname": _hostname_shield,
    "drop_shield_rule_page": _page_shield,
    "drop_shield_rule_ip": _ip_shield,
    "put_geolocation": _geolocation,
    "drop_shield_rule_country": _country_shield,
    "put_user_agent": _user_agent,
    "put_basic_info": _basic_info,
    "put_source_info": _source_info,
    "maybe_infer_medium": _inferred_medium,
    "put_acquisition_channel": _channel,
    "put_props": _props,
    "put_revenue": _revenue,
    "put_salts": _salts,
    "put_user_id": _user_id,
    "validate_clickhouse_event": _validation,
}
"""By the names in ``STEPS``, every one of them."""
