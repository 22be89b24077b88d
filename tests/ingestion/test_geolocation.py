"""Geolocation keeps reference section 13, read from a real database."""

from pathlib import Path
from typing import Any

import pytest

from service.ingestion.geolocation import NOWHERE, Location, MmdbGeolocator, NoGeolocator
from tests.support.events import make_tables
from tests.support.geo import CITY_RECORD, write_geo_database

VISITOR = "203.0.113.7"
BERLIN = 2950159


def locate(tmp_path: Path, record: dict[str, Any], remote_ip: str = VISITOR) -> Location:
    """Look an address up in a database with one record for 203.0.113.0/24."""
    path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": record})
    return make_tables(geo_database=path).geo.locate(remote_ip)


def test_a_full_record(tmp_path: Path) -> None:
    """A record of GeoIP2's layout gives country, both regions and the city instead of its district."""
    assert locate(tmp_path, CITY_RECORD) == Location("DE", "DE-BE", "DE-11", BERLIN)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"country_code": "FR"}, Location("FR")),
        ({"country": {"iso_code": "FR"}}, Location("FR")),
        ({"country": {"iso_code": "FR"}, "subdivisions": [{"iso_code": "IDF"}]}, Location("FR", "FR-IDF")),
        ({"country": {"iso_code": "FR"}, "subdivisions": [{"names": {"en": "X"}}]}, Location("FR")),
        ({"country": {"iso_code": "FR"}, "city": {"geoname_id": 5}}, Location("FR", city_geoname_id=5)),
        ({"country": {"iso_code": "ZZ"}, "city": {"geoname_id": 5}}, NOWHERE),
        ({"country": {"iso_code": "XX"}}, NOWHERE),
        ({"country": {"iso_code": "T1"}}, NOWHERE),
        ({"country": {"iso_code": "FRA"}}, NOWHERE),
        ({"registered_country": {"iso_code": "FR"}}, NOWHERE),
        ({"city": {"geoname_id": 5}}, NOWHERE),
    ],
)
def test_what_a_record_may_lack(tmp_path: Path, record: dict[str, Any], expected: Location) -> None:
    """Regions and city count only with a known country; what is missing stays empty."""
    assert locate(tmp_path, record) == expected


@pytest.mark.parametrize(
    "remote_ip", ["198.51.100.1", "2001:db8::1", "unknown", "", "203.0.113.7:80", "\udcff"]
)
def test_nowhere(tmp_path: Path, remote_ip: str) -> None:
    """An address that is not in the database, or is none, is nowhere."""
    assert locate(tmp_path, CITY_RECORD, remote_ip) is NOWHERE


def test_without_a_database() -> None:
    """Without a database everybody is nowhere."""
    assert NoGeolocator().locate(VISITOR) is NOWHERE


def test_a_damaged_database_is_counted() -> None:
    """A look-up that fails in a damaged file gives nowhere, and is counted."""

    class DamagedReader:
        def get_path(self, ip_address: str, path: tuple[str | int, ...]) -> object:
            raise RuntimeError(f"no data for {path} of {ip_address}")

    geolocator = MmdbGeolocator(DamagedReader(), {})
    assert geolocator.locate(VISITOR) is NOWHERE
    assert geolocator.failures == 1
