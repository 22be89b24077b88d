"""Loads the data that the rules look things up in: what comes with the package, and the operator's files.

The rules themselves (``service.ingestion``) read no files; they get what is loaded here as one ``Tables``.
"""

import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import ua_parser
from publicsuffixlist import PublicSuffixList
from ua_parser.loaders import load_builtins
from ua_parser.regex import Resolver

from service.errors import ConfigError
from service.ingestion.event import Tables
from service.ingestion.identity import PublicSuffixes
from service.ingestion.remembered import Remembered
from service.ingestion.revenue import NO_RATES, Rates, parse_rates
from service.ingestion.user_agent import Families, UserAgents
from service.tables.addresses import watch_addresses
from service.tables.files import read_text
from service.tables.geo import WatchedGeolocator
from service.tables.sources import load_sources
from service.tables.spam import watch_spam_list
from service.tables.watched import Watched

CACHED_USER_AGENTS: Final = 10_000
CACHED_HOSTNAMES: Final = 10_000


class WatchedTables(NamedTuple):
    """The tables, those of them whose files are followed, and their caches."""

    tables: Tables
    watched: tuple[Watched[Any], ...]
    caches: Mapping[str, Remembered[Any]]
    """What the tables remember of look-ups, by name."""


def load_tables(
    *,
    geo_database: Path | None,
    spam_list: Path | None,
    exchange_rates: Path | None,
    sources: Path | None = None,
    ip_lists: Sequence[str] = (),
    asn_database: Path | None = None,
    data_dir: Path | None = None,
) -> WatchedTables:
    """Load everything; None stands for a file that is not configured, or for no data folder to look into.

    Raises ConfigError with a sentence that names the file and what is wrong with it.
    """
    spam = watch_spam_list(spam_list, data_dir)
    addresses = watch_addresses(ip_lists, asn_database)
    geo = WatchedGeolocator(geo_database, data_dir)
    user_agents = _load_user_agents()
    root_domains = PublicSuffixes(PublicSuffixList().privatesuffix, capacity=CACHED_HOSTNAMES)
    tables = Tables(
        geo=geo.published,
        user_agents=user_agents,
        sources=load_sources(sources),
        root_domains=root_domains,
        rates=_load_rates(exchange_rates),
        addresses=addresses.published,
        spam=spam.published,
    )
    caches: dict[str, Remembered[Any]] = {
        "user_agents": user_agents.cache,
        "root_domains": root_domains.cache,
    }
    return WatchedTables(tables, (spam, addresses, geo), caches)


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
        return parse_rates(tomllib.loads(read_text("exchange rates", path), parse_float=Decimal))
    except ValueError as error:  # what tomllib raises is one as well
        raise ConfigError(f"the exchange rates {path} cannot be used: {error}") from None


def _version(major: str | None, minor: str | None) -> str:
    """Give the first two parts of a version (reference 15.3)."""
    return f"{major}.{minor}" if major and minor else major or ""
