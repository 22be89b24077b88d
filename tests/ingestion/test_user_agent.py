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
from tests.support.cases import read_cases


@pytest.mark.parametrize(("browser", "system", "screen_size", "user_agent"), read_cases("user_agents.txt", 4))
def test_user_agents(tables: Tables, browser: str, system: str, screen_size: str, user_agent: str) -> None:
    """A browser, its system and its kind of device are told in the words of the tables; bots are bots."""
    told = tables.user_agents.parse(user_agent)
    found = (f"{told.browser} {told.browser_version}", f"{told.os} {told.os_version}", told.screen_size)
    expected = ("", "", "") if browser == "bot" else (browser, system, screen_size)
    assert (told.is_bot, *map(str.strip, found)) == (browser == "bot", *expected)


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
