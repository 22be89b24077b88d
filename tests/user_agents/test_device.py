"""The type of a device is told by Matomo's steps, in their order (reference 15.1)."""

import pytest

from service.user_agents.device import HINTS, Sighting, find_type, is_older


def sighting(
    system: str = "", version: str = "", *, family: str = "", desktop: bool = False, tv: bool = False
) -> Sighting:
    """Give what is known of a user agent that says "Desktop"."""
    return Sighting(
        user_agent="Desktop", system=system, family=family, version=version, on_tv=tv, on_desktop=desktop
    )


NOTHING = sighting()
ANDROID = sighting("Android", "10", family="Android")


@pytest.mark.parametrize(
    ("make", "seen", "said", "kind"),
    [
        ("", NOTHING, "", ""),
        ("console", NOTHING, "vr", "console"),
        ("", NOTHING, "vr", "wearable"),
        ("", ANDROID, "chrome, mobile", "smartphone"),
        ("", ANDROID, "chrome", "tablet"),
        ("", NOTHING, "chrome, mobile", ""),
        ("smartphone", NOTHING, "apad", "tablet"),
        ("", ANDROID, "chrome, mobile, apad", "tablet"),
        ("", NOTHING, "android mobile, apad", "smartphone"),
        ("", NOTHING, "android tablet, android mobile", "tablet"),
        ("", ANDROID, "", ""),
        ("", sighting("Android", "1.6"), "", "smartphone"),
        ("", sighting("Android", "2.3"), "", ""),
        ("", sighting("Android", "3.2"), "", "tablet"),
        ("", sighting("Android", "4.0"), "", ""),
        ("feature phone", ANDROID, "", "smartphone"),
        ("feature phone", NOTHING, "", "feature phone"),
        ("", sighting("Java ME"), "", "feature phone"),
        ("tablet", sighting("Java ME"), "", "tablet"),
        ("tablet", sighting("KaiOS"), "", "feature phone"),
        ("", sighting("Windows RT"), "touch", "tablet"),
        ("", sighting("Windows", "10", desktop=True), "touch", "tablet"),
        ("", sighting("Windows", "7", desktop=True), "touch", "desktop"),
        ("", sighting("Windows", "XP", desktop=True), "touch", "desktop"),
        ("", NOTHING, "puffin desktop", "desktop"),
        ("", NOTHING, "puffin phone", "smartphone"),
        ("", NOTHING, "puffin tablet", "tablet"),
        ("smartphone", NOTHING, "opera tv", "tv"),
        ("smartphone", sighting("Coolita OS"), "", "tv"),
        ("smartphone", NOTHING, "android tv", "tv"),
        ("peripheral", NOTHING, "android tv", "peripheral"),
        ("smartphone", NOTHING, "smart tv, tv in brackets", "smartphone"),
        ("", NOTHING, "smart tv", "tv"),
        ("", NOTHING, "tv in brackets", "tv"),
        ("tablet", sighting(tv=True), "", "tv"),
        ("tv", NOTHING, "desktop", "desktop"),
        ("", sighting(desktop=True), "", "desktop"),
        ("tv", sighting(desktop=True), "", "tv"),
    ],
)
def test_steps(make: str, seen: Sighting, said: str, kind: str) -> None:
    """What the list of makes says is corrected or completed by hints, system and browser."""
    hints = set(said.split(", ")) if said else set()
    assert hints <= {hint.name for hint in HINTS}
    assert find_type(make, seen, hints.__contains__) == kind


@pytest.mark.parametrize(
    ("version", "than", "older"),
    [
        ("2", "2.0", True),
        ("2.0", "2.0", False),
        ("10", "8", False),
        ("8.1", "8", False),
        ("7", "8", True),
        ("XP", "8", True),
        ("", "8", True),
        ("²", "8", True),
    ],
)
def test_age_of_versions(version: str, than: str, older: bool) -> None:
    """Versions are compared by their numbers, and a longer one is younger."""
    assert is_older(version, than) == older
