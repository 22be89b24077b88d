"""User agents keep reference section 15, in Matomo's words."""

import pytest

from service.ingestion.event import Tables
from service.ingestion.user_agent import (
    MAX_READ_CHARS,
    UNKNOWN_USER_AGENT,
    Detection,
    NoUserAgents,
    UserAgent,
    UserAgents,
    describe,
)

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
IOS_WEBKIT = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = f"Mozilla/5.0 (Linux; Android 13; SM-S918B) {WEBKIT}"
ANDROID_APP = f"Mozilla/5.0 (Linux; Android 10; K; wv) {WEBKIT}"
IPHONE = f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) {IOS_WEBKIT}"
IPAD_12 = f"Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) {IOS_WEBKIT}"
IPAD_17 = f"Mozilla/5.0 (iPad; CPU OS 17_2 like Mac OS X) {IOS_WEBKIT}"
LINUX = f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT}"
MAC = f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {IOS_WEBKIT}"
TELEVISION = f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {WEBKIT}"
WINDOWS = f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT}"


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (f"{LINUX} Chrome/120.0.6099.109 Safari/537.36", "Chrome 120.0 | GNU/Linux | Desktop"),
        (f"{IPHONE} Version/17.2 Mobile/15E148 Safari/604.1", "Safari 17.2 | iOS 17.2 | Mobile"),
        (f"{IPAD_17} Version/17.2 Mobile/15E148 Safari/604.1", "Safari 17.2 | iPadOS 17.2 | Tablet"),
        (f"{IPAD_12} Version/12.1 Mobile/15E148 Safari/604.1", "Safari 12.1 | iOS 12.2 | Tablet"),
        (f"{MAC} Version/17.2 Safari/605.1.15", "Safari 17.2 | Mac 10.15 | Desktop"),
        (f"{WINDOWS} Chrome/120.0.0.0 Safari/537.36", "Chrome 120.0 | Windows 10 | Desktop"),
        (
            f"{WINDOWS} Chrome/120.0 Safari/537.36 Edg/120.0.2210",
            "Microsoft Edge 120.0 | Windows 10 | Desktop",
        ),
        (
            "Mozilla/5.0 (Android 14; Mobile; rv:121.0) Gecko/121.0 Firefox/121.0",
            "Firefox 121.0 | Android 14 | Mobile",
        ),
        (
            f"{ANDROID} SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
            "Samsung Browser 23.0 | Android 13 | Mobile",
        ),
        (f"{ANDROID} Chrome/120.0.0.0 Safari/537.36", "Chrome 120.0 | Android 13 | Mobile"),
        (
            f"{ANDROID_APP} Version/4.0 Chrome/120.0.6099.109 Mobile Safari/537.36",
            "Mobile App 120.0 | Android 10 | Mobile",
        ),
        (f"{IPHONE} Mobile/15E148 Instagram 311.0.0", "Mobile App | iOS 17.2 | Mobile"),
        (
            f"{TELEVISION} SamsungBrowser/3.0 Chrome/76 TV Safari/537.36",
            "Samsung Browser 3.0 | Tizen 6.0 | Desktop",
        ),
        (
            "Opera/9.80 (Android; Opera Mini/36.2/119.132; U; id) Presto/2.12.423 Version/12.16",
            "Opera 36.2 | Android | ",
        ),
    ],
)
def test_browsers(tables: Tables, user_agent: str, expected: str) -> None:
    """A browser, its system and its kind of device are told in the words of the tables."""
    told = tables.user_agents.parse(user_agent)
    browser = f"{told.browser} {told.browser_version}".rstrip()
    system = f"{told.os} {told.os_version}".rstrip()
    assert (told.is_bot, f"{browser} | {system} | {told.screen_size}") == (False, expected)


@pytest.mark.parametrize(
    "user_agent",
    [
        "Googlebot/2.1 (+http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "facebookexternalhit/1.1",
        "UptimeRobot/2.0",
        f"{LINUX} HeadlessChrome/120.0.0.0 Safari/537.36",
    ],
)
def test_bots(tables: Tables, user_agent: str) -> None:
    """Crawlers and a headless Chrome are bots."""
    assert tables.user_agents.parse(user_agent).is_bot


@pytest.mark.parametrize(
    ("user_agent", "browser", "version"),
    [
        ("curl/8.1.2", "curl", "8.1"),
        ("Wget/1.21", "Wget", "1.21"),
        ("Go-http-client/1.1", "Go-http-client", "1.1"),
        ("okhttp/4.9.0", "OkHttp", "4.9"),
    ],
)
def test_libraries_are_welcome(tables: Tables, user_agent: str, browser: str, version: str) -> None:
    """A program that fetches pages is no bot; its name is the browser."""
    parsed = tables.user_agents.parse(user_agent)
    assert (parsed.is_bot, parsed.browser, parsed.browser_version) == (False, browser, version)


def test_a_phone_called_bot(tables: Tables) -> None:
    """A telephone of the make Cubot is no bot."""
    user_agent = f"Mozilla/5.0 (Linux; Android 9; CUBOT_P20) {WEBKIT} Chrome/83.0 Mobile Safari/537.36"
    assert not tables.user_agents.parse(user_agent).is_bot


@pytest.mark.parametrize("user_agent", [None, "", "nobody knows", "\x00", "\udcff", "a" * 9_000])
def test_unknown(tables: Tables, user_agent: str | None) -> None:
    """A user agent that is absent, empty or unknown leaves all columns empty, and is no bot."""
    assert tables.user_agents.parse(user_agent) == UNKNOWN_USER_AGENT


def test_what_is_remembered() -> None:
    """A user agent is taken apart once, and of a long one only the start."""
    seen: list[str] = []

    def take_apart(user_agent: str) -> Detection:
        seen.append(user_agent)
        return Detection()

    user_agents = UserAgents(take_apart, capacity=10)
    for length in (3, 3, MAX_READ_CHARS + 1, MAX_READ_CHARS + 2):
        user_agents.parse("a" * length)
    assert [len(text) for text in seen] == [3, MAX_READ_CHARS]


def test_one_that_takes_too_long() -> None:
    """It is unknown, counted, and not tried again while it is remembered."""
    user_agents = UserAgents(lambda _: None, capacity=10)
    assert [user_agents.parse("slow") for _ in range(3)] == [UNKNOWN_USER_AGENT] * 3
    assert user_agents.given_up == 1


def test_nothing_known() -> None:
    """Where nothing is to be known of user agents, nothing is."""
    parser = NoUserAgents()
    assert parser.parse("curl/8.1") == UNKNOWN_USER_AGENT


@pytest.mark.parametrize(
    ("kind", "client", "version", "browser", "stored_version"),
    [
        ("browser", "Chrome Mobile", "120.0.6099.109", "Chrome", "120.0"),
        ("browser", "Chrome Mobile iOS", "120", "Chrome", "120"),
        ("browser", "Chrome Webview", "120.1", "Mobile App", "120.1"),
        ("browser", "Firefox Mobile", "9", "Firefox", "9"),
        ("browser", "Firefox Mobile iOS", "9", "Firefox", "9"),
        ("browser", "Mobile Safari", "17.2", "Safari", "17.2"),
        ("browser", "Opera Mini", "1", "Opera", "1"),
        ("browser", "Opera Mini iOS", "1", "Opera", "1"),
        ("browser", "Opera Mobile", "1", "Opera", "1"),
        ("browser", "Yandex Browser Lite", "1", "Yandex Browser", "1"),
        ("browser", "Samsung Browser", "23.0", "Samsung Browser", "23.0"),
        ("mobile app", "Instagram App", "311.0", "Mobile App", ""),
        ("library", "curl", "8.1.2", "curl", "8.1"),
        ("", "", "", "", ""),
    ],
)
def test_folding_of_clients(kind: str, client: str, version: str, browser: str, stored_version: str) -> None:
    """Mobile variants and apps are stored under one name, of apps no version (reference 15.3)."""
    stored = describe(Detection(client_type=kind, client=client, client_version=version))
    assert (stored.browser, stored.browser_version) == (browser, stored_version)


@pytest.mark.parametrize(
    ("screen_size", "devices"),
    [
        ("Mobile", "smartphone, feature phone, portable media player, phablet, wearable, camera"),
        ("Tablet", "car browser, tablet"),
        ("Desktop", "tv, console, desktop"),
        ("", "smart speaker, smart display, peripheral, "),
    ],
)
def test_folding_of_devices(screen_size: str, devices: str) -> None:
    """Types of devices are stored as three kinds, or not at all (reference 15.3)."""
    for device in devices.split(", "):
        assert describe(Detection(device=device)).screen_size == screen_size


def test_a_headless_browser_is_a_bot() -> None:
    """Matomo calls it a browser; here it is dropped (reference 15.2)."""
    assert describe(Detection(client_type="browser", client="Headless Chrome")) == UserAgent(is_bot=True)
