"""Reads Matomo's rules out of the package ``device_detector``: its YAML files and its tables of names.

The rules are Matomo's, LGPL-3.0-or-later, and stay in that package: nothing of them is copied here, and the
package's own code is never run (its tables are read as literals out of its source).
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import yaml_rs
from msgspec import Struct

from service.errors import RulesMissing

PACKAGE: Final = "device_detector"
RULES_FOLDER: Final = "device_detector/regexes/upstream"
NAMES_FILE: Final = "device_detector/parser/settings.py"

CLIENT_LISTS: Final = (
    ("feed reader", "client/feed_readers.yml"),
    ("mobile app", "client/mobile_apps.yml"),
    ("mediaplayer", "client/mediaplayers.yml"),
    ("pim", "client/pim.yml"),
    ("browser", "client/browsers.yml"),
    ("library", "client/libraries.yml"),
)
"""Types of client in the order they are asked, each with its file."""

DEVICE_LISTS: Final = (
    ("notebook", "device/notebooks.yml"),
    ("console", "device/consoles.yml"),
    ("car browser", "device/car_browsers.yml"),
    ("camera", "device/cameras.yml"),
    ("portable media player", "device/portable_media_player.yml"),
    ("mobile", "device/mobiles.yml"),
)
"""Lists of makes in the order they are asked, each with its file.

Televisions are told by two hints before; their makes would add nothing.
"""

FILES: Final = (
    "bots.yml",
    "oss.yml",
    *(file for _, file in CLIENT_LISTS),
    *(file for _, file in DEVICE_LISTS),
)


class Rule(Struct, frozen=True):
    r"""A regular expression with what it tells; ``\g<1>`` in a text stands for its first group.

    ``None`` says that the rule has no such text, which is something else than an empty one.
    """

    regex: str
    name: str | None = None
    version: str | None = None
    versions: tuple["Rule", ...] = ()
    """Finer rules, of which the first that matches overrides name and version."""


class Model(Struct, frozen=True):
    """A model of a make; it may be of another type or make than its list says."""

    regex: str
    device: str | None = None
    brand: str | None = None


class Make(Struct, frozen=True):
    """A maker of devices; ``models`` are given only where one of them changes what the make says."""

    regex: str
    brand: str
    device: str | None = None
    models: tuple[Model, ...] = ()


class Rules(Struct, frozen=True):
    """All rules, each list in its order, and the names that mean something to the steps."""

    bots: tuple[Rule, ...]
    systems: tuple[Rule, ...]
    clients: tuple[tuple[str, tuple[Rule, ...]], ...]
    makes: tuple[tuple[str, tuple[Make, ...]], ...]
    system_names: Mapping[str, str]
    """Canonical spelling by the name in small letters."""
    families: Mapping[str, str]
    """The family of a system, by its name."""
    browser_names: Mapping[str, str]
    """Canonical spelling by the name in small letters."""
    mobile_only_browsers: frozenset[str]
    desktop_families: frozenset[str]
    """Families of systems that run on desktops alone."""
    tv_clients: frozenset[str]
    """Clients that run on televisions alone."""
    hash: str
    """Of all files that were read."""


def load_rules() -> Rules:
    """Read everything. Raises RulesMissing."""
    try:
        return _read(Path(str(metadata.distribution(PACKAGE).locate_file(""))))
    except metadata.PackageNotFoundError:
        raise RulesMissing(f"the package {PACKAGE} is not installed") from None
    except (OSError, yaml_rs.YAMLDecodeError, KeyError, TypeError, ValueError, SyntaxError) as error:
        raise RulesMissing(f"the rules in the package {PACKAGE} cannot be read: {error!r}") from error


def _read(site: Path) -> Rules:
    texts = {file: (site / RULES_FOLDER / file).read_text(encoding="utf-8") for file in FILES}
    names_text = (site / NAMES_FILE).read_text(encoding="utf-8")
    digest = hashlib.sha256(repr((sorted(texts.items()), names_text)).encode())
    lists: dict[str, Any] = {file: yaml_rs.loads(text) for file, text in texts.items()}
    names = _literals(names_text)
    systems: dict[str, str] = names["OPERATING_SYSTEMS"]
    browsers: dict[str, str] = names["AVAILABLE_BROWSERS"]
    return Rules(
        bots=_rules(lists["bots.yml"]),
        systems=_rules(lists["oss.yml"]),
        clients=tuple((kind, _rules(lists[file])) for kind, file in CLIENT_LISTS),
        makes=tuple((kind, _makes(lists[file])) for kind, file in DEVICE_LISTS),
        system_names={name.lower(): name for name in systems.values()},
        families={
            systems[code]: family
            for family, codes in names["OS_FAMILIES"].items()
            for code in codes
            if code in systems
        },
        browser_names={name.lower(): name for name in browsers.values()},
        mobile_only_browsers=frozenset(
            browsers[code] for code in names["MOBILE_ONLY_BROWSERS"] if code in browsers
        ),
        desktop_families=frozenset(names["DESKTOP_OS"]),
        tv_clients=frozenset(names["TV_CLIENTS"]),
        hash=digest.hexdigest(),
    )


def _rules(entries: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            regex=str(entry["regex"]),
            name=_text(entry.get("name")),
            version=_text(entry.get("version")),
            versions=_rules(entry.get("versions") or ()),
        )
        for entry in entries
    )


def _makes(entries: Mapping[str, Mapping[str, Any]]) -> tuple[Make, ...]:
    return tuple(
        Make(
            regex=str(entry["regex"]),
            brand=brand,
            device=_text(entry.get("device")),
            models=_models(entry.get("models") or ()),
        )
        for brand, entry in entries.items()
    )


def _models(entries: Iterable[Mapping[str, Any]]) -> tuple[Model, ...]:
    """Give the models up to the last that changes something: the others would change nothing."""
    models = [
        Model(regex=str(entry["regex"]), device=_text(entry.get("device")), brand=_text(entry.get("brand")))
        for entry in entries
    ]
    while models and models[-1].device is None and models[-1].brand is None:
        models.pop()
    return tuple(models)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _literals(source: str) -> dict[str, Any]:
    """Give the constants of a Python source that are plain literals, without running it."""
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                try:
                    found[name] = ast.literal_eval(value)
                except ValueError:
                    continue
    return found
