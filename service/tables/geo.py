"""The database of locations in force, and where it comes from.

One is in force at a time: the operator's (``geo_database``), else the one that an update left in the data
folder, else the table of countries that comes with a package. A file is used only when it knows countries and
a look-up finds one.
"""

import logging
import tomllib
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Final

import iptocc
import maxminddb_rust

from service.errors import ConfigError
from service.ingestion.geolocation import (
    CountryGeolocator,
    FieldPath,
    Geolocator,
    MmdbGeolocator,
    find_layout,
    parse_city_overrides,
)
from service.tables.files import read_packaged, replacing
from service.tables.mmdb import open_mmdb, unfold_mmdb
from service.tables.watched import Watched

log = logging.getLogger(__name__)

WHAT: Final = "geo database"
STORED_DATABASE: Final = "geo.mmdb"
"""In the data folder."""
PROBED_RECORDS: Final = 100_000
"""How many records may name no country before a file counts as one that knows none."""

ATTRIBUTIONS: Final = (
    ("iptocc", "Statistics of the regional internet registries, by the NRO (nro.net), CC BY 4.0."),
    ("dbip", "IP geolocation by DB-IP (https://db-ip.com), CC BY 4.0 for the Lite databases."),
    ("geolite2", "This product includes GeoLite data created by MaxMind (https://www.maxmind.com)."),
)
"""The start of a database's type, and the words that its licence wants to be shown."""


class WatchedGeolocator(Watched[Geolocator]):
    """The database in force; says so when one turns out to be damaged in places."""

    def __init__(self, configured: Path | None, data_dir: Path | None) -> None:
        stored = None if data_dir is None else data_dir / STORED_DATABASE
        self._failures = 0
        """Failed look-ups that were logged."""
        self.path: Path | None = None
        """The file of the database in force; None while it is the built-in one."""

        def load() -> Geolocator:
            path = configured or (stored if stored is not None and stored.exists() else None)
            found = built_in_geolocator() if path is None else open_geolocator(path)
            self.path = path
            return found

        followed = configured or stored
        super().__init__(WHAT, [] if followed is None else [followed], load)

    async def refresh(self, now: float) -> None:
        """Look at the file, and at how the look-ups went."""
        await super().refresh(now)
        failures = self.published.value.failures
        if failures > self._failures:
            log.warning("The %s is damaged: %d look-ups failed so far, replace it", WHAT, failures)
        self._failures = failures


def built_in_geolocator() -> Geolocator:
    """Give the table of countries that comes with a package; it has no regions and no cities."""
    return CountryGeolocator(iptocc.country_code, kind=f"iptocc {version('iptocc')}")


def open_geolocator(path: Path, *, shown: Path | str | None = None) -> MmdbGeolocator:
    """Open a file and try it.

    Raises ConfigError, which names ``shown`` or the path, when it cannot be read, is no database, knows no
    country or does not answer.
    """
    reader = open_mmdb(WHAT, path, shown=shown)
    name = shown or path
    try:
        metadata = reader.metadata()
        layout = _find_layout(reader)
    except (maxminddb_rust.InvalidDatabaseError, ValueError) as error:
        raise ConfigError(f"the {WHAT} {name} is damaged: {error}") from None
    if layout is None:
        raise ConfigError(
            f"the {WHAT} {name} ({metadata.database_type}) has no countries, neither as "
            "country.iso_code nor as country_code; it may be one for something else"
        )
    cities = parse_city_overrides(tomllib.loads(read_packaged("cities.toml")))
    return MmdbGeolocator(
        reader, cities, layout=layout, kind=metadata.database_type, built_at=metadata.build_epoch
    )


def store_geo_database(source: Path, data_dir: Path, *, shown: str | None = None) -> Geolocator:
    """Put a new database into the data folder, whole or not at all, and give it opened.

    Raises ConfigError, which names ``shown`` or the source, when it cannot be used or the folder cannot be
    written.
    """
    try:
        with replacing(data_dir / STORED_DATABASE) as file:
            unfold_mmdb(WHAT, source, file, shown=shown)
            return open_geolocator(file, shown=shown or source)
    except OSError as error:
        raise ConfigError(f"the new {WHAT} cannot be kept in {data_dir}: {error.strerror}") from None


def find_attribution(kind: str) -> str | None:
    """Give the words that the licence of this type of database wants to be shown, if any are known."""
    begin = kind.lower()
    return next((words for name, words in ATTRIBUTIONS if begin.startswith(name)), None)


def _find_layout(reader: maxminddb_rust.Reader) -> FieldPath | None:
    """Tell where a file has its countries, by the first record with one, which a look-up must find too.

    Raises ValueError when it does not, and InvalidDatabaseError when the file is damaged there.
    """
    for network, record in islice(reader, PROBED_RECORDS):
        layout = find_layout(record)
        if layout is not None:
            address = str(network.network_address)
            if not reader.get_path(address, layout):
                raise ValueError(f"a look-up of {address} does not find its country")
            return layout
    return None
