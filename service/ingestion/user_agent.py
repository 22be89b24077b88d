"""What a visitor's user agent says: bot or not, browser, system, kind of device (reference section 15).

The text is taken apart by a parser that is handed in (ua-parser); here its words become those of Matomo,
which the tables speak, and the rules of reference 15.3 are kept. The kind of device is told by these rules,
in order: television or console → Desktop; tablet → Tablet; telephone → Mobile; a desktop system → Desktop;
else unknown.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from msgspec import Struct

from service.ingestion.remembered import Remembered

MAX_READ_CHARS: Final = 1_024
"""Security limit: of a longer user agent only the start is read and remembered.

Real ones are shorter, and one made up to fill a header can cost a parser hundreds of times as much.
"""

MOBILE, TABLET, DESKTOP = "Mobile", "Tablet", "Desktop"

BOT_DEVICE: Final = "Spider"
BOT_CLIENTS: Final = frozenset({"HeadlessChrome"})

BROWSER_NAMES: Final = {
    "Android": "Android Browser",
    "BlackBerry WebKit": "BlackBerry Browser",
    "Chrome Mobile": "Chrome",
    "Chrome Mobile WebView": "Mobile App",
    "Chrome Mobile iOS": "Chrome",
    "DuckDuckGo": "DuckDuckGo Privacy Browser",
    "DuckDuckGo Mobile": "DuckDuckGo Privacy Browser",
    "Edge": "Microsoft Edge",
    "Edge Mobile": "Microsoft Edge",
    "Facebook": "Mobile App",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Google": "Mobile App",
    "IE": "Internet Explorer",
    "Instagram": "Mobile App",
    "LinkedIn": "Mobile App",
    "MiuiBrowser": "MIUI Browser",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "Mobile App",
    "Opera Mini": "Opera",
    "Opera Mobile": "Opera",
    "Pinterest": "Mobile App",
    "QQ Browser Mobile": "QQ Browser",
    "Samsung Internet": "Samsung Browser",
    "Silk": "Mobile Silk",
    "Snapchat": "Mobile App",
    "TikTok": "Mobile App",
    "Twitter": "Mobile App",
    "WeChat": "Mobile App",
    "Whale": "Whale Browser",
    "Yandex Browser Lite": "Yandex Browser",
}
"""The parser's word for a browser, where it is not Matomo's (reference 15.3)."""

VERSIONLESS_BROWSERS: Final = frozenset(
    {"Facebook", "Google", "Instagram", "LinkedIn", "Pinterest", "Snapchat", "TikTok", "Twitter", "WeChat"}
)
"""Apps, of which no version is stored (reference 15.3)."""

SYSTEM_NAMES: Final = {
    "Linux": "GNU/Linux",
    "Mac OS X": "Mac",
    "Mac OS": "Mac",
}
"""The parser's word for a system, where it is not Matomo's."""

DESKTOP_SYSTEMS: Final = frozenset(
    {"Windows", "Mac OS X", "Mac OS", "Linux", "Chrome OS", "FreeBSD", "OpenBSD", "NetBSD", "Solaris"}
    | {"Ubuntu", "Debian", "Fedora", "Red Hat", "SUSE", "Linux Mint", "CentOS", "Gentoo", "Arch Linux"}
)
MOBILE_SYSTEMS: Final = frozenset(
    {
        "Android",
        "iOS",
        "Windows Phone",
        "BlackBerry OS",
        "Firefox OS",
        "KaiOS",
        "Symbian OS",
        "Tizen",
        "webOS",
    }
)

_TV_OR_CONSOLE: Final = re.compile(
    r"\b(?:smart-?tv|hbbtv|google ?tv|apple ?tv|android tv|web0s|bravia|viera|roku|crkey|aft[a-z]{1,2}\b"
    r"|playstation|xbox|nintendo)",
    re.IGNORECASE,
)
_TABLET: Final = re.compile(r"ipad|tablet|kindle|playbook|\bsilk/", re.IGNORECASE)
_MOBILE: Final = re.compile(r"\bmobi|opera mini", re.IGNORECASE)
_FIRST_IPADOS: Final = 13
"""Up to version 12 the system of an iPad was iOS."""


class Families(Struct, frozen=True):
    """A user agent taken apart, in the parser's own words; empty = not recognised."""

    client: str = ""
    client_version: str = ""
    system: str = ""
    system_version: str = ""
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


class UserAgentParser(Protocol):
    """Where user agents are looked up."""

    def parse(self, user_agent: str | None) -> UserAgent:
        """Give what the header says; ``UNKNOWN_USER_AGENT`` when there is none."""


class UserAgents:
    """User agents, the latest ones remembered."""

    def __init__(self, take_apart: Callable[[str], Families], *, capacity: int) -> None:
        self._take_apart = take_apart
        self.cache: Remembered[UserAgent] = Remembered(capacity)

    def parse(self, user_agent: str | None) -> UserAgent:
        """Give what the header says, from memory where it was asked for lately."""
        if not user_agent:
            return UNKNOWN_USER_AGENT
        start = user_agent[:MAX_READ_CHARS]
        known = self.cache.get(start)
        if known is None:
            # A header may hold bytes that are no UTF-8; they come as lone surrogates, which parsers refuse.
            text = start.encode("utf-8", "replace").decode()
            known = describe(text, self._take_apart(text))
            self.cache[start] = known
        return known


def describe(user_agent: str, families: Families) -> UserAgent:
    """Give what is stored for a user agent that was taken apart."""
    if families.device == BOT_DEVICE or families.client in BOT_CLIENTS:
        return UserAgent(is_bot=True)
    browser = BROWSER_NAMES.get(families.client, families.client)
    return UserAgent(
        browser=browser,
        browser_version="" if families.client in VERSIONLESS_BROWSERS else families.client_version,
        os=_system_name(families),
        os_version=families.system_version,
        screen_size=_screen_size(user_agent, families),
    )


def _system_name(families: Families) -> str:
    major = families.system_version.partition(".")[0]
    if (
        families.system == "iOS"
        and families.device == "iPad"
        and major.isdecimal()
        and int(major) >= _FIRST_IPADOS
    ):
        return "iPadOS"
    return SYSTEM_NAMES.get(families.system, families.system)


def _screen_size(user_agent: str, families: Families) -> str:
    if _TV_OR_CONSOLE.search(user_agent):
        return DESKTOP
    if _TABLET.search(user_agent):
        return TABLET
    if families.system in MOBILE_SYSTEMS:
        # An Android browser that does not say "Mobile" runs on a tablet.
        return TABLET if families.system == "Android" and not _MOBILE.search(user_agent) else MOBILE
    if families.system in DESKTOP_SYSTEMS:
        return DESKTOP
    return MOBILE if _MOBILE.search(user_agent) else ""
