"""Sources, referrers, tags and click ids keep reference 14.1 to 14.5 and 14.9."""

import pytest

from service.ingestion.event import Tables
from service.ingestion.source import (
    NO_SOURCE,
    Source,
    find_source,
    infer_medium,
    parse_referrer,
)
from service.ingestion.source_table import Referrer
from tests.support.events import make_request

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


@pytest.mark.parametrize(
    ("referrer", "stored", "source"),
    [
        (None, "", ""),
        ("", "", ""),
        ("https://www.google.com/", "google.com", "Google"),
        ("https://google.co.uk/search?q=a", "google.co.uk/search", "Google"),
        ("https://www2.google.com.br/", "www2.google.com.br", "Google"),
        ("https://google.evil.example/", "google.evil.example", "google.evil.example"),
        ("https://notgoogle.com/", "notgoogle.com", "notgoogle.com"),
        ("https://news.google.com/a/", "news.google.com/a", "Google News"),
        ("https://gemini.google.com/app", "gemini.google.com/app", "Google Gemini"),
        ("https://mail.google.com/mail/u/0/", "mail.google.com/mail/u/0", "Gmail"),
        ("https://de.m.wikipedia.org/wiki/A", "de.m.wikipedia.org/wiki/A", "Wikipedia"),
        ("https://word-edit.officeapps.live.com/", "word-edit.officeapps.live.com", "Microsoft 365"),
        ("https://t.co/abc", "t.co/abc", "X (Twitter)"),
        ("https://l.threads.com/", "l.threads.com", "Threads"),
        ("https://mstdn.jp/@a", "mstdn.jp/@a", "Mastodon"),
        ("https://chatgpt.com/", "chatgpt.com", "ChatGPT"),
        ("https://www.icloud.com/mail/x", "icloud.com/mail/x", "iCloud Mail"),
        ("https://www.icloud.com/mailbox", "icloud.com/mailbox", "icloud.com"),
        ("https://Blog.Example.ORG:8080/A//?x#y", "Blog.Example.ORG/A", "Blog.Example.ORG"),
        ("android-app://com.reddit.frontpage/", "android-app://com.reddit.frontpage", "Reddit"),
        ("android-app://com.unknown.app", "android-app://com.unknown.app", "android-app://com.unknown.app"),
        ("https://user:secret@other.example/", "other.example", "other.example"),
        ("https://www.example.com/page", "", ""),
        ("https://blog.example.com/page", "blog.example.com/page", "blog.example.com"),
        ("https://Example.com/page", "Example.com/page", "Example.com"),
        ("http://localhost:3000/", "", ""),
        ("ftp://other.example/", "", ""),
        ("HTTPS://other.example/", "other.example", "other.example"),
        ("other.example/page", "", ""),
        ("https:///page", "", ""),
        ("https://www./", "", ""),
    ],
)
def test_referrers(tables: Tables, referrer: str | None, stored: str, source: str) -> None:
    """A valid referrer from elsewhere is stored as host and path, and its source has a name."""
    found = find_source(make_request(referrer=referrer), tables.sources)
    assert (found.referrer, found.referrer_source) == (stored, source)


@pytest.mark.parametrize(
    ("query", "utm_source", "source"),
    [
        ({"utm_source": "FooBar"}, "FooBar", "FooBar"),
        ({"utm_source": "FB"}, "FB", "Facebook"),
        ({"utm_source": "Google Ads"}, "Google Ads", "Google"),
        ({"utm_source": "ChatGPT.com"}, "ChatGPT.com", "ChatGPT"),
        ({"source": "ig"}, "ig", "Instagram"),
        ({"ref": "twitter"}, "twitter", "X (Twitter)"),
        ({"ref": "a", "source": "b", "utm_source": "c"}, "c", "c"),
        ({"ref": "a", "source": "b"}, "b", "b"),
        ({"ref": ""}, "", ""),
        ({"utm_source": "", "ref": "a"}, "", ""),
        ({"other": "a"}, "", "Bing"),
    ],
)
def test_tags(tables: Tables, query: dict[str, str], utm_source: str, source: str) -> None:
    """The first tag that is present, even empty, goes before the referrer, which is stored anyway."""
    request = make_request(query=query, referrer="https://www.bing.com/")
    found = find_source(request, tables.sources)
    assert (found.utm_source, found.referrer_source, found.referrer) == (utm_source, source, "bing.com")


def test_campaign_tags(tables: Tables) -> None:
    """The other tags are stored as they are."""
    tags = {"utm_medium": "CPC", "utm_campaign": "a b", "utm_content": "c", "utm_term": "\udcff"}
    found = find_source(make_request(query=tags), tables.sources)
    assert found == Source(utm_medium="CPC", utm_campaign="a b", utm_content="c", utm_term="\udcff")


def test_tag_without_a_referrer(tables: Tables) -> None:
    """A tag is the source also of a visit without a referrer."""
    found = find_source(make_request(query={"utm_source": "fb"}), tables.sources)
    assert found == Source(referrer_source="Facebook", utm_source="fb")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"gclid": "x"}, "gclid"),
        ({"fbclid": ""}, "fbclid"),
        ({"twclid": "1", "msclkid": "2", "wbraid": "3"}, "wbraid"),
        ({"GCLID": "x"}, ""),
    ],
)
def test_click_ids(tables: Tables, query: dict[str, str], expected: str) -> None:
    """Of a click id only the parameter's name is stored, the first in the reference's order."""
    assert find_source(make_request(query=query), tables.sources).click_id_param == expected


def test_no_source(tables: Tables) -> None:
    """A visit without query and referrer has no source."""
    assert find_source(make_request(), tables.sources) is NO_SOURCE


@pytest.mark.parametrize(
    ("source", "medium"),
    [
        (Source(referrer_source="Google", click_id_param="gclid"), "(gclid)"),
        (Source(referrer_source="Bing", click_id_param="msclkid"), "(msclkid)"),
        (Source(referrer_source="Google", click_id_param="gbraid"), None),
        (Source(referrer_source="Bing", click_id_param="gclid"), None),
        (Source(referrer_source="Google", click_id_param="gclid", utm_medium=""), ""),
    ],
)
def test_inferred_medium(source: Source, medium: str | None) -> None:
    """A search advertisement's medium is inferred when none was sent; an empty one was."""
    assert infer_medium(source).utm_medium == medium


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
