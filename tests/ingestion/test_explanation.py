"""What the dry run says of each step: the same verdicts as the pipeline's, and what they rest on."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.ingestion.event import STEPS, Context, Event, Tables, run_steps
from service.ingestion.explanation import StepReport, explain_gate, explain_spam, explain_steps
from service.ingestion.gate import RateLimit
from service.ingestion.request import Request, Revenue
from service.ingestion.shields import Shields
from service.ingestion.site import Site
from service.ingestion.step_words import DESCRIBED
from tests.support.events import FIREFOX, NOON, OLD_SALT, SITE, make_context, make_request, make_tables
from tests.support.geo import CITY_RECORD, write_geo_database

GOALS = Site(id=1, domain="example.com", revenue_goals=(("Purchase", "EUR"),))


def explain(context: Context, **changes: Any) -> dict[str, StepReport]:
    """Give the reports on an event by step."""
    request = make_request(**changes)
    event = Event(domain=request.domains[0], request=request)
    return {report.step: report for report in explain_steps(event, context)}


def test_every_step_is_described() -> None:
    """There are words for each step, and for nothing else."""
    assert set(DESCRIBED) == {step.name for step in STEPS}


@pytest.mark.parametrize(
    ("step", "shields", "changes", "sentence", "used"),
    [
        ("drop_datacenter_ip", {}, {}, "No list has the address.", {"ip_class": None}),
        (
            "drop_datacenter_ip",
            {},
            {"ip_class": "dc_ip"},
            "The header x-plausible-ip-type calls the address dc_ip.",
            {"ip_class": "dc_ip", "said_by": "x-plausible-ip-type"},
        ),
        (
            "drop_threat_ip",
            {},
            {"ip_class": "threat_ip"},
            "The address is a known threat.",
            {"ip_class": "threat_ip"},
        ),
        (
            "drop_shield_rule_hostname",
            {"hostnames": ("*.example.com", "example.com")},
            {},
            "The hostname rule example.com lets in example.com.",
            {"rule": "example.com"},
        ),
        (
            "drop_shield_rule_hostname",
            {"hostnames": ("*.example.com",)},
            {},
            "None of the site's hostname rules lets in example.com.",
            {"rule": None, "rules": ["*.example.com"]},
        ),
        (
            "drop_shield_rule_page",
            {"pages": ("/b", "/a*")},
            {"pathname": "/ab"},
            "The page rule /a* keeps out /ab.",
            {"rule": "/a*"},
        ),
        (
            "drop_shield_rule_ip",
            {"ips": ("198.51.100.1", "203.0.113.0/24")},
            {},
            "The address rule 203.0.113.0/24 keeps out 203.0.113.7.",
            {"rule": "203.0.113.0/24"},
        ),
        (
            "drop_shield_rule_country",
            {"countries": ("ZZ",)},
            {},
            "The country rule ZZ keeps the event out.",
            {"rule": "ZZ"},
        ),
        ("put_geolocation", {}, {"ip_class": "anonymous_vpn_ip"}, None, {"address": "203.0.113.7"}),
        (
            "put_user_agent",
            {},
            {"user_agent": None},
            "There is no user agent.",
            {"user_agent": "", "rules": []},
        ),
        (
            "put_source_info",
            {},
            {"referrer": "https://www.google.co.uk/search"},
            "referrer is google.co.uk, which google.* in the built-in table names Google.",
            {"told_by": "referrer", "text": "google.co.uk", "rule": "google.*", "table": "built-in table"},
        ),
        (
            "put_source_info",
            {},
            {"query": {"ref": "my-letter"}},
            "ref is my-letter, which no table names: it is the source as it stands.",
            {"told_by": "ref", "text": "my-letter", "rule": None, "table": None},
        ),
        (
            "put_source_info",
            {},
            {"referrer": "https://example.com/other"},
            "The referrer is the site's own, or no address of a page: there is no source.",
            {},
        ),
        (
            "maybe_infer_medium",
            {},
            {"referrer": "https://www.google.com/", "query": {"gclid": "x"}},
            "gclid tells of an advertisement of Google.",
            {"click_id_param": "gclid"},
        ),
        (
            "put_acquisition_channel",
            {},
            {"query": {"utm_source": "adwords"}},
            "A source of the kind search: Paid Search.",
            {"source": "Google", "category": "search", "medium": None, "paid_source": True},
        ),
        ("put_props", {}, {"props": (("a", "1"), ("b\udcff", "2"))}, "2 kept: a, b\ufffd.", {}),
        (
            "put_revenue",
            {},
            {"revenue": Revenue(29_900, "EUR")},
            "pageview is no goal with revenue: it is not stored.",
            {"sent": "29.900 EUR"},
        ),
        (
            "put_revenue",
            {},
            {"revenue": Revenue(-29_905, "EUR"), "event_name": "Purchase"},
            "-29.905 EUR, reported as -29.905 EUR.",
            {"sent": "-29.905 EUR", "reported": "-29.905 EUR"},
        ),
        (
            "put_revenue",
            {},
            {"revenue": Revenue(1_000, "USD"), "event_name": "Purchase"},
            "1.000 USD; there is no rate for the goal's currency.",
            {"sent": "1.000 USD"},
        ),
        (
            "put_user_id",
            {},
            {"hostname": "blog.example.com"},
            "A hash of user agent, address, example.com and example.com.",
            {"domain": "example.com", "root_domain": "example.com"},
        ),
        (
            "validate_clickhouse_event",
            {},
            {"timestamp": -1},
            "It is no valid event: timestamp is invalid.",
            {},
        ),
    ],
)
def test_words(
    tables: Tables,
    step: str,
    shields: dict[str, tuple[str, ...]],
    changes: dict[str, Any],
    sentence: str | None,
    used: dict[str, Any],
) -> None:
    """Each step says what it decided, and by which rule, header or table."""
    report = explain(make_context(tables, site=GOALS, shields=Shields(**shields)), **changes)[step]
    assert sentence in (None, report.sentence)
    assert report.used == used


def test_what_a_step_sets(tmp_path: Path) -> None:
    """A step is said to set what it changed, and numbers of visitors are texts."""
    path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})
    context = make_context(make_tables(geo_database=path), previous_salt=OLD_SALT)
    reports = explain(context, user_agent=FIREFOX)
    assert reports["put_geolocation"].set == {
        "country_code": "DE",
        "subdivision1_code": "DE-BE",
        "subdivision2_code": "DE-11",
        "city_geoname_id": 2950159,
    }
    sentence = "The address is in DE, DE-BE, DE-11, city 2950159 (GeoLite2-City)."
    assert reports["put_geolocation"].sentence == sentence
    assert reports["put_geolocation"].used == {
        "address": "203.0.113.7",
        "database": "GeoLite2-City",
        "found": {
            "country.iso_code": "DE",
            "subdivisions.0.iso_code": "BE",
            "subdivisions.1.iso_code": "11",
            "city.geoname_id": 3336297,
        },
    }
    assert reports["drop_threat_ip"].set == {}
    assert set(reports["put_user_id"].set) == {"user_id", "previous_user_id"}
    assert all(isinstance(number, str) for number in reports["put_user_id"].set.values())


def test_rules_of_user_agents_are_named(context: Context) -> None:
    """The rules that matched a user agent are named, of a bot the one that made it one."""
    browser = explain(context, user_agent=FIREFOX)["put_user_agent"]
    bot = explain(context, user_agent="Googlebot/2.1 (+http://www.google.com/bot.html)")["put_user_agent"]
    assert any("Firefox" in rule["regex"] for rule in browser.used["rules"])
    assert [rule["list"] for rule in bot.used["rules"]] == ["bots"]
    assert bot.sentence == f"The user agent is a bot's (bots {bot.used['rules'][0]['place']})."


def test_lists_are_named(tmp_path: Path) -> None:
    """The list that calls an address something is named."""
    file = tmp_path / "clouds.txt"
    file.write_text("203.0.113.0/24\n")
    context = make_context(make_tables(ip_lists=[f"{file}=dc_ip"]))
    report = explain(context)["drop_datacenter_ip"]
    assert (report.reason, report.used) == ("dc_ip", {"ip_class": "dc_ip", "said_by": str(file)})


def test_salts_are_never_told(context: Context) -> None:
    """No report holds a salt."""
    told = msgspec.json.encode(list(explain(context).values()))
    assert context.current_salt.hex().encode() not in told
    assert b"salt_" not in told


@pytest.mark.parametrize(
    ("site", "sentence", "reason"),
    [
        (SITE, "The site has no limit.", None),
        (None, "The site is not there any more.", "not_found"),
        (replace(SITE, ingest_rate_limit_threshold=0), "The site is blocked: its threshold is 0.", "block"),
        (
            replace(SITE, accept_traffic_until=NOON // 86_400 - 1),
            "The site takes events until 2026-11-17 (UTC) only.",
            "payment_required",
        ),
        (
            replace(SITE, ingest_rate_limit_threshold=3),
            "It would be event 3 in a window of 60 s, which takes 3.",
            None,
        ),
        (
            replace(SITE, ingest_rate_limit_threshold=2),
            "It would be event 3 in a window of 60 s, which takes 2.",
            "throttle",
        ),
    ],
)
def test_the_gate(site: Site | None, sentence: str, reason: str | None) -> None:
    """The gate says which of its policies decided, and how full the window is."""
    rate_limit = RateLimit(scale_s=60, window=NOON // 60, count=2)
    report = explain_gate(site, NOON * 1000, rate_limit)
    assert (report.sentence, report.reason) == (sentence, reason)


def test_spam() -> None:
    """A referrer on the list drops; another one, or none, does not."""
    spam = frozenset({"spam.example"})
    assert explain_spam(make_request(referrer="https://spam.example/x"), spam).reason == "spam_referrer"
    assert explain_spam(make_request(referrer="https://good.example/"), spam).reason is None
    assert explain_spam(make_request(), spam).sentence == "There is no referrer."


bytes_as_text = st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))
texts = (
    st.text(max_size=40)
    | bytes_as_text
    | st.sampled_from(["", "https://www.google.com/", "pageview", FIREFOX])
)
requests = st.builds(
    Request,
    timestamp=st.integers(-(2**40), 2**40),
    remote_ip=texts | st.ip_addresses().map(str),
    ip_class=st.none() | texts | st.sampled_from(["dc_ip", "anonymous_vpn_ip"]),
    user_agent=st.none() | texts,
    event_name=texts,
    domains=st.tuples(texts),
    url_host=st.none() | texts,
    hostname=texts,
    pathname=texts,
    referrer=st.none() | texts,
    query=st.none()
    | st.dictionaries(st.sampled_from(["utm_source", "ref", "gclid", "utm_medium"]) | texts, texts),
    props=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    revenue=st.none() | st.builds(Revenue, st.integers(-(10**18), 10**18), st.sampled_from(["EUR", "USD"])),
)


SHIELDS = (
    Shields(),
    Shields(hostnames=("*a*",), pages=("/x*",), countries=("DE",)),
    Shields(ips=("203.0.113.0/25",), pages=("/a*",)),
    Shields(countries=("ZZ", "A1")),
)


@given(requests, st.sampled_from(SHIELDS))
def test_any_text_is_explained_as_it_is_judged(tables: Tables, request: Request, shields: Shields) -> None:
    """Whatever the fields hold, there are reports that JSON can hold, and they end as the pipeline does.

    What only a new session asks for is explained of every event, so it is asked for here.
    """
    context = make_context(tables, site=GOALS, shields=shields, previous_salt=OLD_SALT)
    judged = Event(domain=request.domains[0], request=request)
    explained = Event(domain=request.domains[0], request=request)

    reports = list(explain_steps(explained, context))
    assert reports[-1].reason == run_steps(judged, context)
    reached = {report.step for report in reports}
    for step in STEPS:
        if step.waits and step.name in reached:
            step.run(judged, context)
    assert all(report.reason is None for report in reports[:-1])
    assert explained == judged
    msgspec.json.encode([explain_spam(request, frozenset()), *reports])
