"""Loads the data that the rules look things up in: what comes with the package, and the operator's files.

The rules themselves (``service.ingestion``) read no files; they get what is loaded here as one ``Tables``.
"""

import tomllib
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, Final

import maxminddb_rust
import ua_parser
from publicsuffixlist import PublicSuffixList
from ua_parser.loaders import load_builtins
from ua_parser.regex import Resolver

from service.errors import ConfigError
from service.ingestion.event import Tables
from service.ingestion.geolocation import Geolocator, MmdbGeolocator, NoGeolocator, parse_city_overrides
from service.ingestion.identity import PublicSuffixes
from service.ingestion.revenue import NO_RATES, Rates, parse_rates
from service.ingestion.source import SourceTable
from service.ingestion.user_agent import Families, UserAgents

CACHED_USER_AGENTS: Final = 10_000
CACHED_HOSTNAMES: Final = 10_000


def load_tables(*, geo_database: Path | None, spam_list: Path | None, exchange_rates: Path | None) -> Tables:
    """Load everything; None stands for a file that is not configured.

    Raises ConfigError with a sentence that names the file and what is wrong with it.
    """
    return Tables(
        geo=_load_geolocator(geo_database),
        user_agents=_load_user_agents(),
        sources=SourceTable.from_dict(_load_packaged("sources.toml")),
        root_domains=PublicSuffixes(PublicSuffixList().privatesuffix, capacity=CACHED_HOSTNAMES),
        rates=_load_rates(exchange_rates),
        spam=_load_spam(spam_list),
    )


def _load_geolocator(path: Path | None) -> Geolocator:
    if path is None:
        return NoGeolocator()
    try:
        reader = maxminddb_rust.open_database(str(path))
    except OSError as error:
        raise _unreadable("geo database", path, error) from None
    except maxminddb_rust.InvalidDatabaseError as error:
        raise ConfigError(f"the geo database {path} is not in MaxMind's format: {error}") from None
    return MmdbGeolocator(reader, parse_city_overrides(_load_packaged("cities.toml")))


def _load_user_agents() -> UserAgents:
    parser = ua_parser.Parser(Resolver(load_builtins()))

    def take_apart(user_agent: str) -> Families:
        found = parser.parse(user_agent)
        client, system, device = found.user_agent, found.os, found.device
        return Families(
            client=client.family if client else "",
            client_version=_version(client.major, client.minor) if client else "",
            system=system.family if system else "",
            system_version=_version(system.major, system.minor) if system else "",
            device=device.family if device else "",
        )

    return UserAgents(take_apart, capacity=CACHED_USER_AGENTS)


def _load_rates(path: Path | None) -> Rates:
    if path is None:
        return NO_RATES
    try:
        return parse_rates(tomllib.loads(_read("exchange rates", path), parse_float=Decimal))
    except ValueError as error:  # what tomllib raises is one as well
        raise ConfigError(f"the exchange rates {path} cannot be used: {error}") from None


def _load_spam(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    lines = (line.strip() for line in _read("spam list", path).splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _load_packaged(name: str) -> dict[str, Any]:
    text = resources.files("service.ingestion").joinpath("data", name).read_text(encoding="utf-8")
    return tomllib.loads(text)


def _read(what: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(what, path, error) from None
    except UnicodeDecodeError:
        raise ConfigError(f"the {what} {path} is not a text in UTF-8") from None


def _unreadable(what: str, path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"the {what} {path} cannot be read: {error.strerror or error}")


def _version(major: str | None, minor: str | None) -> str:
    """Give the first two parts of a version (reference 15.3)."""
    return f"{major}.{minor}" if major and minor else major or ""
