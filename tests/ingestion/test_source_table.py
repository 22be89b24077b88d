"""The table of sources: what the reference lists (14.5, 14.6, 14.9), how hosts are looked up, bad tables."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.event import Tables
from service.ingestion.source_table import (
    Category,
    Match,
    Referrer,
    SourceTable,
    SourceTableError,
    read_entries,
)

CUSTOM = {
    "Facebook": "fb, fb-ads, fbads, fbad, facebook-ads, facebook_ads, fcb, facebook_ad, facebook_feed_ad",
    "Google": "google_ads, google-ads, googleads, gads, google ads, adwords",
    "Instagram": "ig",
    "Youtube": "yt, yt-ads",
    "Reddit": "android-app://com.reddit.frontpage, reddit-ads",
    "TikTok": "tiktokads, tik.tok",
    "Linktree": "linktr.ee, linktree",
    "Discord": "discord.com, discordapp.com, ptb.discord.com, canary.discord.com",
    "Telegram": "t.me, webk.telegram.org",
    "Yandex": "ya.ru, yandex.com.tr, yandex.eu, yandex.fr, yandex.kz, yandex.tm, yandex.uz",
    "Sogou": "sogou.com, m.sogou.com, wap.sogou.com",
    "Baidu": "baidu.com",
    "Bing": "ntp.msn.com",
    "Brave": "search.brave.com",
    "Microsoft Teams": "teams.microsoft.com, statics.teams.cdn.office.net",
    "Wikipedia": "en.wikipedia.org, de.m.wikipedia.org, be-tarask.m.wikipedia.org, wikipedia.org",
    # June 2026
    "X (Twitter)": "twitter, x.com, twitter-ads, mobile.twitter.com",
    "Bluesky": "bsky.app, go.bsky.app",
    "ChatGPT": "chatgpt.com, chat.openai.com",
    "Claude": "claude.ai",
    "Phind": "phind.com",
    "DeepSeek": "deepseek.com",
    "Microsoft Copilot": "copilot, copilot.microsoft.com, copilot.com",
    "Grok": "grok.com, x.ai",
    "Google Gemini": "gemini.google.com",
    "Perplexity": "perplexity.ai, perplexity, pplx.ai",
    "Kagi": "kagi.com",
    "Threads": "l.threads.com",
    "Mastodon": "mastodon.social, mastodon.online, mastodon.world, fosstodon.org, hachyderm.io,"
    " infosec.exchange, mas.to, sigmoid.social, mstdn.social, indieweb.social, mathstodon.xyz,"
    " scholar.social, chaos.social, social.tchncs.de, mstdn.jp",
    "Microsoft 365": "officeapps.live.com, word-edit.officeapps.live.com",
}
KEYS = [(key.strip(), name) for name, keys in CUSTOM.items() for key in keys.split(",")]

KINDS = {
    Category.SOCIAL: "hacker news, telegram, slack, producthunt, github, steamcommunity.com, vkontakte,"
    " threads, discord, microsoft teams, statics.teams.cdn.office.net, bluesky, mastodon, x (twitter),"
    " facebook, facebook.com, instagram, linkedin, lnkd.in, reddit, quora, tumblr, tiktok,"
    " crunchyroll, niconico",
    Category.SEARCH: "google, bing, duckduckgo, yahoo!, ecosia, brave, sogou, kagi, baidu, yandex,"
    " google.com, rakuten",
    Category.SHOPPING: "temu.com, amazon, ebay, etsy, alibaba, aliexpress, walmart",
    Category.VIDEO: "youtube, youtube.com, m.youtube.com, vimeo, netflix, twitch, dailymotion",
    Category.EMAIL: "gmail",
    Category.AI_ASSISTANT: "chatgpt, claude, perplexity, google gemini, microsoft copilot, deepseek, grok,"
    " phind, le chat, meta ai, you.com, poe, qwen, kimi, duck.ai",
    None: "outlook.com, yahoo! mail, wikipedia, microsoft 365, google docs, google shopping, hatena,"
    " blog.example.org, no such name, ",
}
CATEGORIES = [(source.strip(), kind) for kind, names in KINDS.items() for source in names.split(",")]


@pytest.mark.parametrize(("key", "name"), KEYS)
def test_custom_sources_as_tags(tables: Tables, key: str, name: str) -> None:
    """Every key of the reference's own sources is a tag, in any case."""
    assert tables.sources.name(key.upper()) == name


@pytest.mark.parametrize(("key", "name"), [pair for pair in KEYS if "." in pair[0]])
def test_custom_sources_as_referrers(tables: Tables, key: str, name: str) -> None:
    """Every key that is a host or an app is a referrer too."""
    scheme, separator, rest = key.partition("://")
    referrer = Referrer(scheme + separator, rest, "/") if separator else Referrer("", key, "/a")
    assert tables.sources.find(referrer) == name


@pytest.mark.parametrize(("source", "kind"), CATEGORIES)
def test_categories(tables: Tables, source: str, kind: Category | None) -> None:
    """Sources are of the kind that the reference says; hosts that were sent as tags are of their source's."""
    table = tables.sources
    assert table.category(table.name(source).lower()) is kind


@pytest.mark.parametrize(
    ("host", "path", "name"),
    [
        ("www2.google.com.br", "/", "Google"),
        ("news.google.com", "/a", "Google News"),
        ("mail.google.com", "/mail/u/0/", "Gmail"),
        ("gemini.google.com", "/app", "Google Gemini"),
        ("maps.yandex.ru", "/", "Yandex Maps"),
        ("mail.yandex.ru", "/", "Yandex Mail"),
        ("search.yahoo.com", "/", "Yahoo!"),
        ("mail.yahoo.com", "/", "Yahoo! Mail"),
        ("lm.facebook.com", "/", "Facebook"),
        ("old.reddit.com", "/r/a", "Reddit"),
        ("news.ycombinator.com", "/item", "Hacker News"),
        ("pinterest.co.uk", "/", "Pinterest"),
        ("eur01.safelinks.protection.outlook.com", "/", "Outlook.com"),
        ("smile.amazon.com.au", "/", "Amazon"),
        ("a.b.c.d.e.f.g.h.email.bol.uol.com.br", "/", "BOL Mail"),
        ("a.b.c.d.e.f.g.h.google.co.uk", "/", "Google"),
        ("x.com", "/somebody", "X (Twitter)"),
        ("x.com", "/i/grok", "Grok"),
        ("github.com", "/copilot/c/1", "GitHub Copilot"),
        ("github.com", "/copilots", "GitHub"),
        ("duckduckgo.com", "/duckchat", "Duck.ai"),
        ("m.ok.ru", "/", "Odnoklassniki"),
        ("book.ru", "/", "book.ru"),
        ("wikipedia.org.example.com", "/", "wikipedia.org.example.com"),
        ("notwikipedia.org", "/", "notwikipedia.org"),
        ("evil-google.com", "/", "evil-google.com"),
        ("www.bbc.co.uk", "/news", "www.bbc.co.uk"),
        ("", "", ""),
    ],
)
def test_hosts(tables: Tables, host: str, path: str, name: str) -> None:
    """A host is found by itself or by its end at a dot, the most exact entry first."""
    assert tables.sources.find(Referrer("", host, path)) == name


def test_several_hundred_sources(tables: Tables) -> None:
    """The table holds what a web site meets in practice, and no host belongs to two sources."""
    table = tables.sources
    assert len(table) > 700
    assert all(
        (match := table.match_name(host)) is None or path or match.name == place.name
        for host, places in table._hosts.items()
        for path, place in places
    )


def test_a_longer_path_goes_first() -> None:
    """Of two places on one host the one with the longer path is found, whatever their order in the table."""
    table = SourceTable.from_dict(
        {
            "source": [
                {"name": "Host", "hosts": ["a.example"]},
                {"name": "Deep", "hosts": ["a.example/b/c/"]},
                {"name": "Path", "hosts": ["a.example/b"]},
            ]
        }
    )
    places = {"/": "Host", "/b": "Path", "/b/": "Path", "/bc": "Host", "/b/c": "Deep", "/b/c/d": "Deep"}
    assert {path: table.find(Referrer("", "a.example", path)) for path in places} == places


OWN = [
    {"name": "Intranet", "category": "social", "hosts": ["wiki.corp.example"], "aliases": ["Wiki"]},
    {"name": "Our ChatGPT", "hosts": ["chatgpt.com"]},
    {"name": "Basque Wikipedia", "hosts": ["eu.wikipedia.org"]},
    {"name": "Search", "category": "search", "hosts": ["google.*"], "paid": ["big-campaign"]},
    {"name": "Outlook.com", "category": "email"},
    {"name": "Reddit", "category": "search", "aliases": ["hn"]},
]


@pytest.mark.parametrize(
    ("host", "name", "rule", "table"),
    [
        ("wiki.corp.example", "Intranet", "wiki.corp.example", "own"),
        ("chatgpt.com", "Our ChatGPT", "chatgpt.com", "own"),
        ("eu.wikipedia.org", "Basque Wikipedia", "eu.wikipedia.org", "own"),
        ("de.wikipedia.org", "Wikipedia", "wikipedia.org", "built-in table"),
        ("google.de", "Search", "google.*", "own"),
        ("mail.google.com", "Gmail", "mail.google.com", "built-in table"),
        ("outlook.com", "Outlook.com", "Outlook.com", "own"),
        ("old.reddit.com", "Reddit", "reddit.com", "built-in table"),
        ("hn", "Reddit", "hn", "own"),
    ],
)
def test_own_entries_come_first(host: str, name: str, rule: str, table: str) -> None:
    """What an operator's entry names is its own; all else stays, and a match says where it comes from."""
    assert own_table().match_referrer(Referrer("", host, "/")) == Match(name, rule, table)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("intranet", Category.SOCIAL),
        ("outlook.com", Category.EMAIL),
        ("reddit", Category.SEARCH),
        ("our chatgpt", None),
        ("facebook", Category.SOCIAL),
    ],
)
def test_own_categories(source: str, kind: Category | None) -> None:
    """An operator's entry may put right the kind of a known source."""
    assert own_table().category(source) is kind


def test_a_kind_leaves_names_as_they_are() -> None:
    """Of what a kind names only the category is known, in any case and as a tag or a whole host."""
    table = own_table()
    assert table.name("Partner.Example") == "Partner.Example"
    assert table.category("partner.example") is Category.SHOPPING
    assert table.category("sub.partner.example") is None
    assert table.match_referrer(Referrer("", "partner.example", "/")) is None


def test_own_paid_tags() -> None:
    """An operator's campaign tags count as paid."""
    assert own_table().is_paid("big-campaign")


def own_table() -> SourceTable:
    """Give a small built-in table with an operator's entries over it."""
    table = SourceTable(
        read_entries(
            {
                "source": [
                    {"name": "ChatGPT", "category": "ai_assistant", "aliases": ["chatgpt.com"]},
                    {"name": "Wikipedia", "domains": ["wikipedia.org"]},
                    {"name": "Google", "category": "search", "hosts": ["google.*"]},
                    {"name": "Gmail", "category": "email", "hosts": ["mail.google.com"]},
                    {"name": "Outlook.com", "hosts": ["outlook.com"]},
                    {"name": "Reddit", "category": "social", "hosts": ["reddit.com"]},
                    {"name": "Hacker News", "category": "social", "aliases": ["hn"]},
                    {"name": "Facebook", "category": "social"},
                ]
            }
        )
    )
    kinds = [{"category": "shopping", "names": ["partner.example"]}]
    table.add(read_entries({"source": OWN, "kind": kinds}), table="own")
    return table


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, r"there is no \[\[source\]\] in it"),
        ({"source": "x"}, r"there is no \[\[source\]\] in it"),
        ({"source": []}, r"there is no \[\[source\]\] in it"),
        ({"sources": []}, '"sources" is not known'),
        ({"kind": "x"}, r"there is no \[\[source\]\] in it"),
        ({"kind": [{"names": ["a"]}]}, "kind 1: .*category"),
        ({"kind": [{"category": "news", "names": ["a"]}]}, "kind 1: Invalid enum value 'news'"),
        ({"kind": [{"category": "email", "names": ["A"]}]}, r'kind 1 \(email\): "A" must be in lower case'),
        ({"kind": [{"category": "email", "names": [" "]}]}, r'kind 1 \(email\): " " must be in lower case'),
        (
            {"kind": [{"category": "email", "names": ["a"]}, {"category": "video", "names": ["a"]}]},
            r'kind 2 \(video\): "a" is already email',
        ),
        ({"source": [{"name": "A"}, {"name": "B", "host": "b.example"}]}, r"entry 2 \(B\): .*host"),
        ({"source": [{"name": "A", "category": "news"}]}, r"entry 1 \(A\): Invalid enum value 'news'"),
        ({"source": [{"hosts": ["a.example"]}]}, "entry 1: .*name"),
        ({"source": ["a.example"]}, "entry 1: Expected `object`"),
        ({"source": [{"name": " "}]}, "name is empty"),
        ({"source": [{"name": "A", "aliases": [""]}]}, r"entry 1 \(A\): a name is empty"),
        ({"source": [{"name": "A", "hosts": ["https://a.example"]}]}, "without scheme and www"),
        ({"source": [{"name": "A", "hosts": ["A.example"]}]}, '"A.example" must be example.com'),
        ({"source": [{"name": "A", "hosts": ["www.a.example"]}]}, r"without scheme and www"),
        ({"source": [{"name": "A", "hosts": ["b.a.*"]}]}, "must be example.com"),
        ({"source": [{"name": "A", "hosts": ["*.example"]}]}, "must be example.com"),
        ({"source": [{"name": "A", "domains": ["a.example/b"]}]}, "domains: "),
        (
            {"source": [{"name": "A", "hosts": ["a.example"]}, {"name": "B", "hosts": ["a.example"]}]},
            r'entry 2 \(B\): "a.example" is already A',
        ),
        (
            {"source": [{"name": "A", "aliases": ["Tag"]}, {"name": "B", "paid": ["tag"]}]},
            r'entry 2 \(B\): "tag" is already A',
        ),
    ],
)
def test_wrong_tables(data: Mapping[str, object], sentence: str) -> None:
    """A table that is wrong is refused with a sentence that names the entry."""
    with pytest.raises(SourceTableError, match=sentence):
        read_entries(data)


@given(
    host=st.text() | st.from_regex(r"([a-z]{1,9}\.){0,40}(google|com|wikipedia\.org|x\.com)"), path=st.text()
)
def test_any_host_has_a_name(tables: Tables, host: str, path: str) -> None:
    """Whatever the host is, it gets a name: a known one or its own."""
    match = tables.sources.match_referrer(Referrer("", host, path))
    assert tables.sources.find(Referrer("", host, path)) == (host if match is None else match.name)
    tables.sources.category(host.lower())


KNOWN_HOSTS = (
    "google.co.uk",
    "google.com.br",
    "facebook.com",
    "wikipedia.org",
    "email.bol.uol.com.br",
    "x.com",
)


@given(labels=st.lists(st.sampled_from(["a", "zz9", "co", "com"]), max_size=30))
@pytest.mark.parametrize("host", [*KNOWN_HOSTS, "nobody.example", "example.co.uk"])
def test_labels_in_front_change_nothing(tables: Tables, host: str, labels: list[str]) -> None:
    """A subdomain, however deep, is found as its host is."""
    table = tables.sources
    expected = table.match_referrer(Referrer("", host, "/"))
    assert table.match_referrer(Referrer("", ".".join([*labels, host]), "/")) == expected
