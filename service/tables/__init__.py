"""Loads the data that the rules look things up in: what comes with the package, and the operator's files.

The rules themselves (``service.ingestion``) read no files; they get what is loaded here as one ``Tables``.
"""

import tomllib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from publicsuffixlist import PublicSuffixList

from service.errors import ConfigError
from service.ingestion.event import Tables
from service.ingestion.identity import PublicSuffixes
from service.ingestion.remembered import Remembered
from service.ingestion.revenue import NO_RATES, Rates, parse_rates
from service.ingestion.user_agent import UserAgentParser
from service.tables.addresses import watch_addresses
from service.tables.files import read_text
from service.tables.geo import WatchedGeolocator
from service.tables.sources import load_sources
from service.tables.spam import watch_spam_list
from service.tables.watched import Watched

CACHED_HOSTNAMES: Final = 32_768


class WatchedTables(NamedTuple):
    """The tables, those of them whose files are followed, and the caches that were made with them."""

    tables: Tables
    watched: tuple[Watched[Any], ...]
    caches: dict[str, Remembered[Any]]
    """What the tables remember of look-ups, by name."""


def load_tables(
    *,
    user_agents: UserAgentParser,
    geo_database: Path | None,
    spam_list: Path | None,
    exchange_rates: Path | None,
    sources: Path | None = None,
    ip_lists: Sequence[str] = (),
    asn_database: Path | None = None,
    data_dir: Path | None = None,
) -> WatchedTables:
    """Load the tables; None stands for a file that is not configured, or for no data folder to look into.

    Raises ConfigError with a sentence that names the file and what is wrong with it.
    """
    spam = watch_spam_list(spam_list, data_dir)
    addresses = watch_addresses(ip_lists, asn_database)
    geo = WatchedGeolocator(geo_database, data_dir)
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
    return WatchedTables(tables, (spam, addresses, geo), {"root_domains": root_domains.cache})


def _load_rates(path: Path | None) -> Rates:
    if path is None:
        return NO_RATES
    try:
        return parse_rates(tomllib.loads(read_text("exchange rates", path), parse_float=Decimal))
    except ValueError as error:  # what tomllib raises is one as well
        raise ConfigError(f"the exchange rates {path} cannot be used: {error}") from None
