"""Matomo's own examples of user agents, which come with the package that carries its rules.

That package is a port, and says some things its own way. Here its examples are read as Matomo's: clients it
gave types of its own are apps or libraries there, and a few it renamed keep the name that the rule gives.
"""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import yaml_rs
from msgspec import Struct

from service.ingestion.user_agent import Detection

FOLDER: Final = "device_detector/tests/fixtures/upstream"
WITH_HEADERS: Final = "clienthints"
MATOMO_TYPES: Final = ("feed reader", "mobile app", "mediaplayer", "pim", "browser", "library")
RENAMED_BY_THE_PORT: Final = {"Apple iTunes": "iTunes", "Lose It!": "LoseIt!", "Mobile SMS": "MobileSMS"}
APPS_BY_RULE: Final = frozenset({"Pandora", "Spotify", "YouTube"})
"""They stand in Matomo's list of apps, so that is their type."""


class Example(Struct, frozen=True):
    """A user agent with what Matomo says of it; versions have two parts at most."""

    user_agent: str
    expected: Detection


def examples() -> Iterator[Example]:
    """Give all examples without other headers than the user agent."""
    folder = Path(str(metadata.distribution("device_detector").locate_file(FOLDER)))
    for file in sorted(folder.glob("*.yml")):
        if not file.name.startswith(WITH_HEADERS):
            fixtures: Any = yaml_rs.loads(file.read_text(encoding="utf-8"))
            for fixture in fixtures:
                if "headers" not in fixture:
                    yield Example(str(fixture["user_agent"]), _expected(fixture))


def _expected(fixture: dict[str, Any]) -> Detection:
    if fixture.get("bot"):
        return Detection(is_bot=True)
    client, system, device = (_part(fixture, name) for name in ("client", "os", "device"))
    name = client.get("name", "")
    kind = "mobile app" if name in APPS_BY_RULE else client.get("type", "")
    return Detection(
        client_type=kind if kind in MATOMO_TYPES else "",
        client=RENAMED_BY_THE_PORT.get(name, name),
        client_version=_first_two(client.get("version", "")),
        os=system.get("name", ""),
        os_version=_first_two(system.get("version", "")),
        device=device.get("type", ""),
    )


def _part(fixture: dict[str, Any], name: str) -> dict[str, str]:
    part = fixture.get(name)
    if not isinstance(part, dict):
        return {}
    return {key: str(value) for key, value in part.items() if value is not None}


def _first_two(version: str) -> str:
    return ".".join(version.split(".")[:2])


def differences(found: Detection, example: Example) -> dict[str, tuple[str, str]]:
    """Give what was found and what was expected, by the field, where they differ."""
    pairs = {
        field: (str(getattr(found, field)), str(getattr(example.expected, field)))
        for field in Detection.__struct_fields__
    }
    if not example.expected.client_type:
        del pairs["client_type"]
    return {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}
