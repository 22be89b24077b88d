"""What a visitor's user agent says: bot or not, browser, system, kind of device (reference section 15).

The text is taken apart by a detector that is handed in and speaks Matomo's words; here these are folded into
the six values that are stored (reference 15.3), and the latest ones are remembered.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from service.ingestion.remembered import Remembered

MAX_READ_CHARS: Final = 1_024
"""Security limit: of a longer user agent only the start is read and remembered.

Real ones are shorter, and one made up to fill a header can cost a detector many times as much.
"""

MOBILE, TABLET, DESKTOP = "Mobile", "Tablet", "Desktop"

BROWSER: Final = "browser"
MOBILE_APP_TYPE: Final = "mobile app"
MOBILE_APP: Final = "Mobile App"

BOT_CLIENTS: Final = frozenset({"Headless Chrome"})

BROWSER_NAMES: Final = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chrome Webview": MOBILE_APP,
    "Firefox Mobile": "Firefox",
    "Firefox Mobile iOS": "Firefox",
    "Mobile Safari": "Safari",
    "Opera Mini": "Opera",
    "Opera Mini iOS": "Opera",
    "Opera Mobile": "Opera",
    "Yandex Browser Lite": "Yandex Browser",
}
"""Clients that are stored under another name."""

SCREEN_SIZES: Final = {
    "camera": MOBILE,
    "feature phone": MOBILE,
    "phablet": MOBILE,
    "portable media player": MOBILE,
    "smartphone": MOBILE,
    "wearable": MOBILE,
    "car browser": TABLET,
    "tablet": TABLET,
    "console": DESKTOP,
    "desktop": DESKTOP,
    "tv": DESKTOP,
}
"""What is stored for a type of device; for others nothing is."""


class Detection(Struct, frozen=True):
    """A user agent taken apart, in Matomo's words; empty = not recognised."""

    is_bot: bool = False
    client_type: str = ""
    client: str = ""
    client_version: str = ""
    os: str = ""
    os_version: str = ""
    device: str = ""


class UserAgent(Struct, frozen=True, gc=False):
    """A user agent as stored; unknown = empty."""

    is_bot: bool = False
    browser: str = ""
    browser_version: str = ""
    os: str = ""
    os_version: str = ""
    screen_size: str = ""
    """``Mobile``, ``Tablet``, ``Desktop`` or empty; nothing to do with a width (reference 15.3)."""


UNKNOWN_USER_AGENT: Final = UserAgent()


class MatchedRule(Struct, frozen=True):
    """A rule that matched a user agent: where it stands, counted from 0, and its expression."""

    list: str
    place: int
    regex: str


class UserAgentParser(Protocol):
    """Where user agents are looked up."""

    def parse(self, user_agent: str | None) -> UserAgent:
        """Give what the header says; ``UNKNOWN_USER_AGENT`` when there is none."""

    def explain(self, user_agent: str | None) -> Sequence[MatchedRule]:
        """Give the rules that matched, in the order they were asked; nothing is remembered."""


class NoUserAgents:
    """Stands where nothing is to be known of user agents."""

    def parse(self, user_agent: str | None) -> UserAgent:
        """Give nothing."""
        return UNKNOWN_USER_AGENT

    def explain(self, user_agent: str | None) -> Sequence[MatchedRule]:
        """Give nothing."""
        return ()


class UserAgents:
    """User agents, the latest ones remembered."""

    def __init__(
        self,
        take_apart: Callable[[str], Detection | None],
        *,
        capacity: int,
        explain: Callable[[str], Sequence[MatchedRule]] = lambda _: (),
    ) -> None:
        """Take them apart with ``take_apart``, which gives None for one that takes too long.

        ``explain`` gives the rules that matched there.
        """
        self._take_apart = take_apart
        self._explain = explain
        self.cache: Remembered[UserAgent] = Remembered(capacity)
        self.given_up = 0
        """How many took too long; they are remembered as unknown."""

    def parse(self, user_agent: str | None) -> UserAgent:
        """Give what the header says, from memory where it was asked for lately."""
        if not user_agent:
            return UNKNOWN_USER_AGENT
        start = user_agent if len(user_agent) <= MAX_READ_CHARS else user_agent[:MAX_READ_CHARS]
        known = self.cache.get(start)
        if known is None:
            known = self.cache[start] = self._look_at(start)
        return known

    def explain(self, user_agent: str | None) -> Sequence[MatchedRule]:
        """Give the rules that matched, in the order they were asked; nothing is remembered."""
        return self._explain(_readable(user_agent[:MAX_READ_CHARS])) if user_agent else ()

    def _look_at(self, user_agent: str) -> UserAgent:
        detection = self._take_apart(_readable(user_agent))
        if detection is None:
            self.given_up += 1
            return UNKNOWN_USER_AGENT
        return describe(detection)


def _readable(user_agent: str) -> str:
    # A header may hold bytes that are no UTF-8; they come as lone surrogates, which parsers refuse.
    return user_agent.encode("utf-8", "replace").decode()


def describe(detection: Detection) -> UserAgent:
    """Give what is stored for a user agent that was taken apart."""
    if detection.is_bot or detection.client in BOT_CLIENTS:
        return UserAgent(is_bot=True)
    is_app = detection.client_type == MOBILE_APP_TYPE
    return UserAgent(
        browser=MOBILE_APP if is_app else BROWSER_NAMES.get(detection.client, detection.client),
        browser_version="" if is_app else _first_two(detection.client_version),
        os=detection.os,
        os_version=_first_two(detection.os_version),
        screen_size=SCREEN_SIZES.get(detection.device, ""),
    )


def _first_two(version: str) -> str:
    """Give the first two parts of a version (reference 15.3)."""
    return ".".join(version.split(".", 2)[:2])
