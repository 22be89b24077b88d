"""The pipeline's steps keep reference 4.2: their order, their drops, and the row that comes out."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.event import (
    MAX_TIMESTAMP,
    STEPS,
    Context,
    Event,
    Tables,
    describe_visit,
    run_steps,
    to_row,
)
from service.ingestion.geolocation import Location
from service.ingestion.identity import KnownVisitor, VisitorMemo, visitor_id
from service.ingestion.request import FieldError, Revenue
from service.ingestion.rows import SessionAttributes, to_text
from service.ingestion.session import open_session
from service.ingestion.shields import Shields
from service.ingestion.site import Site
from service.ingestion.user_agent import UserAgent
from service.ingestion.verdict import DropReason
from tests.support.events import (
    FIREFOX,
    NOON,
    OLD_SALT,
    SALT,
    build_event,
    make_context,
    make_request,
    make_tables,
)
from tests.support.geo import CITY_RECORD, write_geo_database

BOT = "Googlebot/2.1 (+http://www.google.com/bot.html)"


def test_steps_are_those_of_the_reference() -> None:
    """The steps have the reference's names and order; one of ours computes the channel."""
    assert [step.name for step in STEPS] == [
        "drop_datacenter_ip",
        "drop_threat_ip",
        "drop_shield_rule_hostname",
        "drop_shield_rule_page",
        "drop_shield_rule_ip",
        "put_geolocation",
        "drop_shield_rule_country",
        "put_user_agent",
        "put_basic_info",
        "put_source_info",
        "maybe_infer_medium",
        "put_acquisition_channel",
        "put_props",
        "put_revenue",
        "put_salts",
        "put_user_id",
        "validate_clickhouse_event",
    ]


@pytest.mark.parametrize(
    ("reason", "shields", "changes"),
    [
        (DropReason.DC_IP, Shields(), {"ip_class": "dc_ip"}),
        (DropReason.THREAT_IP, Shields(), {"ip_class": "threat_ip"}),
        (DropReason.SITE_HOSTNAME_ALLOWLIST, Shields(hostnames=("other.example",)), {}),
        (DropReason.SITE_PAGE_BLOCKLIST, Shields(pages=("/a*",)), {"pathname": "/ab"}),
        (DropReason.SITE_IP_BLOCKLIST, Shields(ips=("203.0.113.0/24",)), {}),
        (DropReason.SITE_COUNTRY_BLOCKLIST, Shields(countries=("ZZ",)), {}),
        (DropReason.SITE_COUNTRY_BLOCKLIST, Shields(countries=("A1",)), {"ip_class": "anonymous_vpn_ip"}),
        (DropReason.BOT, Shields(), {"user_agent": BOT}),
        (DropReason.INVALID, Shields(), {"pathname": ""}),
        (DropReason.INVALID, Shields(), {"timestamp": MAX_TIMESTAMP + 1}),
    ],
)
def test_drops(tables: Tables, reason: DropReason, shields: Shields, changes: dict[str, Any]) -> None:
    """Each step drops what it is there to drop, and says so in the event."""
    event = build_event(make_context(tables, shields=shields), **changes)
    assert (event.dropped, event.drop_reason) == (True, reason)


@pytest.mark.parametrize(
    ("shields", "changes"),
    [
        (Shields(), {}),
        (Shields(hostnames=("example.com",)), {}),
        (Shields(pages=("/a",), ips=("198.51.100.1",), countries=("DE",)), {}),
        (Shields(), {"ip_class": "anonymous_vpn_ip"}),
        (Shields(), {"ip_class": "nonsense"}),
        (Shields(), {"user_agent": None}),
        (Shields(), {"user_agent": "curl/8.1"}),
        (Shields(), {"timestamp": MAX_TIMESTAMP}),
    ],
)
def test_what_comes_through(tables: Tables, shields: Shields, changes: dict[str, Any]) -> None:
    """What no step drops comes through."""
    event = build_event(make_context(tables, shields=shields), **changes)
    assert (event.dropped, event.drop_reason, event.changeset) == (False, None, ())


def test_the_first_drop_ends_the_run(tables: Tables) -> None:
    """After a drop no later step runs: the event has neither a user agent nor an id."""
    context = make_context(tables, shields=Shields(countries=("ZZ",)))
    event = build_event(context, user_agent=BOT)
    assert event.drop_reason is DropReason.SITE_COUNTRY_BLOCKLIST
    assert not event.user_agent.is_bot
    assert event.user_id == 0


@pytest.mark.parametrize(
    ("changes", "changeset"),
    [
        ({"pathname": ""}, (FieldError("pathname", "can't be blank"),)),
        (
            {"event_name": "", "hostname": ""},
            (FieldError("name", "can't be blank"), FieldError("hostname", "can't be blank")),
        ),
        ({"timestamp": -1}, (FieldError("timestamp", "is invalid"),)),
    ],
)
def test_an_invalid_event_says_why(
    context: Context, changes: dict[str, Any], changeset: tuple[FieldError, ...]
) -> None:
    """An invalid event carries what is wrong with it."""
    assert build_event(context, **changes).changeset == changeset


def test_run_steps_gives_the_reason(context: Context) -> None:
    """The run's answer is the reason of the drop, or nothing."""
    assert run_steps(Event("example.com", make_request(user_agent=BOT)), context) is DropReason.BOT
    assert run_steps(Event("example.com", make_request()), context) is None


@given(
    sent=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["example.com", "shop.example.com", "example.org"]),
            st.sampled_from(["example.com", "www.example.com", "example.org", "(none)"]),
        ),
        max_size=8,
    )
)
def test_a_memo_tells_no_other_number(tables: Tables, sent: list[tuple[int, str, str]]) -> None:
    """Whatever a sender sent before, for which domain and under which salts: the number is as without it."""
    contexts = (
        make_context(tables),
        make_context(tables, previous_salt=OLD_SALT),
        make_context(tables, site=Site(id=2, domain="example.org")),
    )
    memo = VisitorMemo()
    for which, domain, hostname in sent:
        numbers = []
        for given_memo in (memo, None, memo):
            event = Event(domain, make_request(hostname=hostname, memo=given_memo))
            assert run_steps(event, contexts[which]) is None
            numbers.append((event.user_id, event.previous_user_id, event.user_agent))
        assert numbers == [numbers[1]] * 3


def test_a_memo_spares_the_hashing(tables: Tables) -> None:
    """What it holds is taken: else it would be there for nothing."""
    context, memo = make_context(tables, previous_salt=OLD_SALT), VisitorMemo()
    memo.known = KnownVisitor(context, "example.com", "example.com", 7, 8, UserAgent(browser="Lynx"))
    event = Event("example.com", make_request(memo=memo))
    assert run_steps(event, context) is None
    assert (event.user_id, event.previous_user_id, event.user_agent.browser) == (7, 8, "Lynx")


def test_vpn_gives_its_country_and_nothing_else(tmp_path: Path) -> None:
    """A visitor behind an anonymous VPN has the country A1, whatever the database says."""
    path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})
    context = make_context(make_tables(geo_database=path))
    assert build_event(context, ip_class="anonymous_vpn_ip").location == Location("A1")
    assert build_event(context).location.country_code == "DE"


def test_a_place_is_looked_up_when_somebody_asks(tmp_path: Path) -> None:
    """A rule for countries asks for each event, else only the beginning of a visit does."""
    tables = make_tables(
        geo_database=write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})
    )
    for shields, country in ((Shields(pages=("/x",)), ""), (Shields(countries=("FR",)), "DE")):
        event = Event("example.com", make_request())
        assert run_steps(event, make_context(tables, shields=shields)) is None
        assert event.location.country_code == country
        assert describe_visit(event).country_code == "DE"


def test_ids_of_both_days(tables: Tables) -> None:
    """The visitor is hashed with both salts, over the domain as sent and the root of the hostname."""
    context = make_context(tables, previous_salt=OLD_SALT)
    event = build_event(context, domains=("Example.com",), hostname="blog.example.com")
    who = (FIREFOX, "203.0.113.7", "Example.com", "example.com")
    assert event.user_id == visitor_id(SALT, *who)
    assert event.previous_user_id == visitor_id(OLD_SALT, *who)
    assert event.salts is not None
    assert (event.salts.current, event.salts.previous) == (SALT, OLD_SALT)


def test_no_previous_id_without_a_previous_salt(context: Context) -> None:
    """Without the salt of the day before there is no id of that day."""
    assert build_event(context).previous_user_id is None


def test_session_attributes(tmp_path: Path) -> None:
    """Place, device, source and channel are what the event would give its session."""
    path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})
    event = build_event(
        make_context(make_tables(geo_database=path)),
        referrer="https://www.google.com/search",
        query={"gclid": "x", "utm_campaign": "\udcff", "utm_content": "c", "utm_term": "ü"},
    )
    assert describe_visit(event) == SessionAttributes(
        referrer="google.com/search",
        referrer_source="Google",
        click_id_param="gclid",
        utm_medium="(gclid)",
        utm_campaign=b"\xff",
        utm_content="c",
        utm_term="ü",
        country_code="DE",
        subdivision1_code="DE-BE",
        subdivision2_code="DE-11",
        city_geoname_id=2950159,
        screen_size="Desktop",
        operating_system="Ubuntu",
        browser="Firefox",
        browser_version="121.0",
        acquisition_channel="Paid Search",
    )


def test_row(tables: Tables) -> None:
    """A row has the event's own values, and the session's for id, visitor and attributes."""
    site = Site(id=9, domain="example.com", revenue_goals=(("Purchase", "EUR"),))
    context = make_context(tables, site=site)
    session = open_session(build_event(context, query={"utm_source": "first"}), 77)
    event = build_event(
        context,
        event_name="Purchase",
        timestamp=NOON + 5,
        hostname="shop.example.com",
        pathname="/b\udcff",
        props=(("path", "/b\udcff"), ("plan", "pro")),
        revenue=Revenue(9_990, "EUR"),
        scroll_depth=20,
        engagement_time=30,
        user_agent=None,
    )
    row = to_row(event, session)
    assert (row.site_id, row.session_id, row.user_id) == (9, 77, session.user_id)
    assert (row.timestamp, row.name, row.hostname, row.pathname) == (
        NOON + 5,
        "Purchase",
        "shop.example.com",
        b"/b\xff",
    )
    assert (row.meta_keys, row.meta_values) == (("path", "plan"), (b"/b\xff", "pro"))
    assert (row.scroll_depth, row.engagement_time) == (20, 30)
    assert (row.revenue_source_amount, row.revenue_source_currency) == (9_990, "EUR")
    assert (row.revenue_reporting_amount, row.revenue_reporting_currency) == (9_990, "EUR")
    assert row.attributes is session.attributes


@pytest.mark.parametrize(
    ("value", "stored"),
    [("", ""), ("plain", "plain"), ("grün 😀", "grün 😀"), ("\udcff", b"\xff"), ("ü\udc80", b"\xc3\xbc\x80")],
)
def test_texts(value: str, stored: str | bytes) -> None:
    """A text is stored as it is; what stands for bytes that are no UTF-8 is stored as those bytes."""
    assert to_text(value) == stored
