"""Geolocation databases for tests, in both layouts, written by the test itself."""

from pathlib import Path
from typing import Any, Final

import mmdb_writer
from netaddr import IPSet

CITY_RECORD: dict[str, Any] = {
    "country": {"iso_code": "DE"},
    "subdivisions": [{"iso_code": "BE"}, {"iso_code": "11"}],
    "city": {"geoname_id": 3336297},
}
"""A district of Berlin, in GeoIP2's layout."""
FLAT_RECORD: dict[str, Any] = {"country_code": "FR"}
"""A country, in the flat layout."""
CITY: Final = "GeoLite2-City"


def write_geo_database(path: Path, networks: dict[str, Any], *, kind: str = CITY) -> Path:
    """Write a database that gives each network its record."""
    writer = mmdb_writer.MMDBWriter(6, kind, ipv4_compatible=True)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path
