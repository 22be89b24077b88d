"""Sources, referrers, tags and click ids keep reference 14.1 to 14.5 and 14.9, by the tables in ``cases``."""

import pytest

from service.ingestion.event import Context, Tables
from service.ingestion.source import (
    NO_SOURCE,
    Source,
    find_source,
    parse_referrer,
)
from service.ingestion.source_table import Referrer
from tests.support.cases import read_cases
from tests.support.events import describe, make_request

PAID = {
    "adwords",
    "facebook-ads",
    "facebook_ad",
    "facebook_ads",
    "facebook_feed_ad",
    "fb-ads",
    "fbad",
    "fbads",
} | {
    *("gads", "google ads", "google-ads", "google_ads", "googleads"),
    *("reddit-ads", "tiktokads", "twitter-ads", "yt-ads"),
}
TAGS = PAID | {"fb", "threads", "google", "ads", "x (twitter)", ""}


@pytest.mark.parametrize(("referrer", "stored", "source", "channel"), read_cases("referrers.txt", 4))
def test_referrers(context: Context, referrer: str, stored: str, source: str, channel: str) -> None:
    """A valid referrer from elsewhere is stored as host and path, and its source has a name and a kind."""
    visit = describe(context, referrer=referrer)
    found = (visit.referrer, visit.referrer_source, visit.acquisition_channel)
    assert found == (stored, source, channel)


@pytest.mark.parametrize(("query", "utm_source", "source", "channel"), read_cases("tags.txt", 4))
def test_tags(context: Context, query: str, utm_source: str, source: str, channel: str) -> None:
    """The first tag that is present, even empty, goes before the referrer, which is stored anyway."""
    visit = describe(context, query=query, referrer="https://www.bing.com/")
    found = (visit.utm_source, visit.referrer_source, visit.acquisition_channel)
    assert (*found, visit.referrer) == (utm_source, source, channel, "bing.com")


@pytest.mark.parametrize(("query", "referrer", "click_id", "medium"), read_cases("clicks.txt", 4))
def test_clicks(context: Context, query: str, referrer: str, click_id: str, medium: str) -> None:
    """Of a click id only its parameter's name is stored; it tells the medium of a search advertisement."""
    visit = describe(context, query=query, referrer=referrer)
    assert (visit.click_id_param, visit.utm_medium) == (click_id, medium)


def test_campaign_tags(tables: Tables) -> None:
    """The other tags are stored as they are."""
    tags = {"utm_medium": "CPC", "utm_campaign": "a b", "utm_content": "c", "utm_term": "\udcff"}
    found = find_source(make_request(query=tags), tables.sources)
    assert found == Source(utm_medium="CPC", utm_campaign="a b", utm_content="c", utm_term="\udcff")


def test_no_source(tables: Tables) -> None:
    """A visit without query and referrer has no source."""
    assert find_source(make_request(), tables.sources) is NO_SOURCE


def test_url_without_a_host_hides_no_referrer() -> None:
    """A page without a host has no referrer of its own."""
    assert parse_referrer("https://other.example/a", None) == Referrer("", "other.example", "/a")


def test_a_host_that_is_too_long_is_not_looked_for(tables: Tables) -> None:
    """What is too long for a DNS name is its own source."""
    host = "a." * 124 + "google.com"
    assert tables.sources.find(Referrer("", host, "/")) == host
    assert tables.sources.find(Referrer("", host.removeprefix("a.a.a."), "/")) == "Google"


def test_paid_sources(tables: Tables) -> None:
    """The tags that advertisements use are those of reference 14.5."""
    assert {tag for tag in TAGS if tables.sources.is_paid(tag)} == PAID
