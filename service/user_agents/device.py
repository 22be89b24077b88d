"""The type of a device: what the steps after the list of makes decide, in Matomo's order (reference 15.1).

A type is one of Matomo's words, or empty when it is not known. Each rule either holds only while the type is
not known yet, or overrides what is known; the order decides.
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

DESKTOP: Final = "desktop"
FEATURE_PHONE: Final = "feature phone"
PERIPHERAL: Final = "peripheral"
SMARTPHONE: Final = "smartphone"
TABLET: Final = "tablet"
TV: Final = "tv"
WEARABLE: Final = "wearable"

ANDROID: Final = "Android"


class Hint(Struct, frozen=True):
    """Something a user agent may say; ``as_rule`` for those that are framed like the rules of the lists."""

    name: str
    regex: str
    as_rule: bool = False


HINTS: Final = (
    Hint("hbbtv", r"(?:HbbTV|SmartTvA)/[1-9](?:\.[0-9]){1,2}", as_rule=True),
    Hint("shell tv", r"[a-z]+[ _]Shell[ _]\w{6}|tclwebkit\d", as_rule=True),
    Hint("desktop system", r"Windows (?:NT|IoT)|X11; Linux x86_64", as_rule=True),
    Hint(
        "no desktop after all",
        r"CE-HTML| Mozilla/|Andr[o0]id|Tablet|Mobile|iPhone|Windows Phone|ricoh|OculusBrowser|PicoBrowser"
        r"|Lenovo|compatible; MSIE|Trident/|Tesla/|XBOX|FBMD/|ARM; ?[^)]",
        as_rule=True,
    ),
    Hint("facebook device", "FBMD/", as_rule=True),
    Hint("vr", r"Android(?: [.0-9]+)?; Mobile VR;| VR "),
    Hint("chrome", "Chrome/"),
    Hint("mobile", "Mobile|eliboM"),
    Hint("apad", "Pad/APad"),
    Hint("android tablet", r"Android(?: [.0-9]+)?; Tablet;|Tablet(?! PC)|.*-tablet$|Opera Tablet"),
    Hint("android mobile", r"Android(?: [.0-9]+)?; Mobile;|.*-mobile$"),
    Hint("touch", "Touch"),
    Hint("puffin desktop", r"Puffin/\d[.\d]+[LMW]D"),
    Hint("puffin phone", r"Puffin/\d[.\d]+[AIFLW]P"),
    Hint("puffin tablet", r"Puffin/\d[.\d]+[AILW]T"),
    Hint("opera tv", "Opera TV Store| OMI/"),
    Hint("android tv", r"Andr0id|(?:Android(?: UHD)?|Google) TV|\(lite\) TV|BRAVIA|Firebolt| TV$"),
    Hint("smart tv", "SmartTV|Tizen.+ TV .+$"),
    Hint("tv in brackets", r"\(TV;"),
    Hint("desktop", r"Desktop(?: (?:x(?:32|64)|WOW64))?;"),
)
HINT_PLACES: Final = {hint.name: place for place, hint in enumerate(HINTS)}


class Sighting(Struct, frozen=True):
    """What is known of a user agent when its device is looked for."""

    user_agent: str
    system: str
    family: str
    version: str
    on_tv: bool
    """Whether the client runs on televisions alone."""
    on_desktop: bool
    """Whether the system runs on desktops and the browser not on telephones alone."""


def find_type(kind: str, sighting: Sighting, says: Callable[[str], bool]) -> str:
    """Give the type of the device, which is ``kind`` by the list of makes; ``says`` asks for a hint."""
    kind = kind or _guess_by_chrome(sighting, says)
    if kind == SMARTPHONE and says("apad"):
        kind = TABLET
    kind = kind or _guess_by_words(sighting, says)
    kind = _correct_phone(kind, sighting)
    kind = kind or _guess_by_system(sighting, says)
    kind = _correct_tv(kind, sighting, says)
    if kind != DESKTOP and "Desktop" in sighting.user_agent and says("desktop"):
        return DESKTOP
    return kind or (DESKTOP if sighting.on_desktop else "")


def _guess_by_chrome(sighting: Sighting, says: Callable[[str], bool]) -> str:
    if says("vr"):
        return WEARABLE
    if sighting.family == ANDROID and says("chrome"):
        # Chrome says "Mobile" on telephones; apps that embed it do so too.
        return SMARTPHONE if says("mobile") else TABLET
    return ""


def _guess_by_words(sighting: Sighting, says: Callable[[str], bool]) -> str:
    if says("android tablet"):
        return TABLET
    if says("android mobile"):
        return SMARTPHONE
    if sighting.system == ANDROID and sighting.version:
        return _guess_by_android_version(sighting.version)
    return ""


def _guess_by_android_version(version: str) -> str:
    """Give what early versions ran on: up to 1 on telephones, 3 on tablets; others on both."""
    if is_older(version, "2.0"):
        return SMARTPHONE
    return TABLET if not is_older(version, "3.0") and is_older(version, "4.0") else ""


def _correct_phone(kind: str, sighting: Sighting) -> str:
    if kind == FEATURE_PHONE and sighting.family == ANDROID:
        kind = SMARTPHONE
    if sighting.system == "KaiOS" or (sighting.system == "Java ME" and not kind):
        kind = FEATURE_PHONE
    return kind


def _guess_by_system(sighting: Sighting, says: Callable[[str], bool]) -> str:
    windows_8 = sighting.system == "Windows" and not is_older(sighting.version, "8")
    if (sighting.system == "Windows RT" or windows_8) and says("touch"):
        return TABLET
    if says("puffin desktop"):
        return DESKTOP
    if says("puffin phone"):
        return SMARTPHONE
    return TABLET if says("puffin tablet") else ""


def _correct_tv(kind: str, sighting: Sighting, says: Callable[[str], bool]) -> str:
    if says("opera tv") or sighting.system == "Coolita OS":
        kind = TV
    if kind not in (TV, PERIPHERAL) and says("android tv"):
        kind = TV
    if sighting.on_tv or (not kind and (says("smart tv") or says("tv in brackets"))):
        kind = TV
    return kind


_NUMBER: Final = re.compile(r"\d+")


def is_older(version: str, than: str) -> bool:
    """Compare versions number by number; one without a number first is older than all."""
    if not version[:1].isdigit():
        return True
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in _NUMBER.findall(version)]
