"""Geolocation keeps reference section 13, read from real databases of both layouts."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.event import Tables
from service.ingestion.geolocation import (
    NOWHERE,
    Geolocator,
    Location,
    MmdbGeolocator,
    parse_city_overrides,
)
from service.ingestion.shields import Shields
from service.ingestion.verdict import DropReason
from service.tables.files import read_packaged
from service.tables.geo import built_in_geolocator, open_geolocator
from tests.support.cases import read_cases
from tests.support.events import build_event, make_context, make_tables
from tests.support.geo import CITY_RECORD, FLAT_RECORD, write_geo_database

VISITOR = "203.0.113.7"
BERLIN = 2950159
WITNESS = {"192.0.2.0/24": {"country": {"iso_code": "AT"}}}
"""Shows the layout, where the record under test cannot."""


def locate(tmp_path: Path, record: dict[str, Any], remote_ip: str = VISITOR) -> Location:
    """Look an address up in a database of GeoIP2's layout, with a record for 203.0.113.0/24."""
    path = write_geo_database(tmp_path / "geo.mmdb", WITNESS | {"203.0.113.0/24": record})
    return open_geolocator(path).locate(remote_ip)


def test_a_full_record(tmp_path: Path) -> None:
    """A record of GeoIP2's layout gives country, both regions and the city instead of its district."""
    assert locate(tmp_path, CITY_RECORD) == Location("DE", "DE-BE", "DE-11", BERLIN)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"country": {"iso_code": "FR"}, "subdivisions": []}, Location("FR")),
        ({"country": {"iso_code": "FR"}, "subdivisions": [{"names": {"en": "X"}}]}, Location("FR")),
        ({"country": {"iso_code": "FR"}, "city": {"names": {"en": "X"}}}, Location("FR")),
        ({"country": {"iso_code": "FR"}, "city": {"geoname_id": 2**32}}, Location("FR")),
        ({"country": {"iso_code": "FRA"}}, NOWHERE),
        ({"country": {"iso_code": "ÄÖ"}}, NOWHERE),
        ({"registered_country": {"iso_code": "FR"}}, NOWHERE),
        ({"city": {"geoname_id": 5}}, NOWHERE),
        ({"country_code": "FR"}, NOWHERE),
    ],
)
def test_what_a_record_may_lack(tmp_path: Path, record: dict[str, Any], expected: Location) -> None:
    """Regions and city count only with a known country; what is missing or cannot be stored stays empty."""
    assert locate(tmp_path, record) == expected


PLACES = read_cases("places.txt", 8)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Geolocator:
    """A database that has the record of each case in a network of its own."""
    records = {f"10.0.{number}.0/24": place_record(*case[:4]) for number, case in enumerate(PLACES)}
    return open_geolocator(write_geo_database(tmp_path_factory.mktemp("geo") / "places.mmdb", records))


def place_record(country: str, first: str, second: str, city: str) -> dict[str, Any]:
    """Give a record of GeoIP2's layout with those of the fields that are not empty."""
    subdivisions = [{"iso_code": code} if code else {} for code in (first, second)]
    record: dict[str, Any] = {"country": {"iso_code": country}} if country else {}
    return record | {"subdivisions": subdivisions} | ({"city": {"geoname_id": int(city)}} if city else {})


@pytest.mark.parametrize("number", range(len(PLACES)), ids=[" ".join(case[:4]) for case in PLACES])
def test_places(places: Geolocator, number: int) -> None:
    """What a database says of a place becomes the four values that are stored."""
    country, first, second, city = PLACES[number][4:]
    assert places.locate(f"10.0.{number}.7") == Location(country, first, second, int(city or 0))


def test_all_districts() -> None:
    """The table of districts has the 83 of the reference, each once."""
    listed = tomllib.loads(read_packaged("cities.toml"))
    overrides = parse_city_overrides(listed)
    assert len(overrides) == sum(map(len, listed.values())) == 83
    assert not overrides.keys() & set(overrides.values())


@pytest.mark.parametrize(
    ("code", "expected"), [("FR", Location("FR")), ("ZZ", NOWHERE), ("XX", NOWHERE), ("T1", NOWHERE)]
)
def test_the_flat_layout(tmp_path: Path, code: str, expected: Location) -> None:
    """A flat database has countries and no places."""
    records = {"203.0.113.0/24": {"country_code": code, "city": "Paris", "state1": "Île-de-France"}}
    path = write_geo_database(tmp_path / "geo.mmdb", {"192.0.2.0/24": FLAT_RECORD} | records)
    geolocator = open_geolocator(path)
    assert geolocator.locate(VISITOR) == expected
    assert geolocator.find_fields(VISITOR) == {"country_code": code}


@pytest.mark.parametrize(
    "remote_ip", ["198.51.100.1", "2001:db8::1", "unknown", "", "203.0.113.7:80", "\udcff"]
)
def test_nowhere(tmp_path: Path, remote_ip: str) -> None:
    """An address that is not in the database, or is none, is nowhere."""
    assert locate(tmp_path, CITY_RECORD, remote_ip) is NOWHERE


def test_ipv6(tmp_path: Path) -> None:
    """IPv6 is looked up as IPv4 is."""
    path = write_geo_database(tmp_path / "geo.mmdb", {"2001:db8::/32": CITY_RECORD})
    assert open_geolocator(path).locate("2001:db8::1").country_code == "DE"


def test_the_fields_as_they_stand(tmp_path: Path) -> None:
    """For people there are the values before the rules: the district, and codes without their country."""
    path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})
    assert open_geolocator(path).find_fields(VISITOR) == {
        "country.iso_code": "DE",
        "subdivisions.0.iso_code": "BE",
        "subdivisions.1.iso_code": "11",
        "city.geoname_id": 3336297,
    }


class TestBuiltIn:
    @pytest.mark.parametrize(
        ("remote_ip", "expected"),
        [
            ("193.0.6.139", Location("NL")),
            ("2001:67c:2e8:22::c100:68b", Location("NL")),
            ("10.0.0.1", NOWHERE),
            ("unknown", NOWHERE),
            ("\udcff", NOWHERE),
        ],
    )
    def test_countries_without_a_file(self, remote_ip: str, expected: Location) -> None:
        """It has the country of both versions' addresses; private ones and what is none are nowhere."""
        assert make_tables().geo.value.locate(remote_ip) == expected

    def test_what_it_says_of_itself(self) -> None:
        """Its package and version; it does not tell when it was made."""
        geolocator = built_in_geolocator()
        assert geolocator.kind.startswith("iptocc 3.")
        assert geolocator.built_at is None
        assert geolocator.find_fields("193.0.6.139") == {"country": "NL"}
        assert geolocator.find_fields("10.0.0.1") == {}


@pytest.fixture(scope="module")
def geolocators(tmp_path_factory: pytest.TempPathFactory) -> list[Geolocator]:
    """One of each kind."""
    folder = tmp_path_factory.mktemp("geo")
    return [
        built_in_geolocator(),
        open_geolocator(write_geo_database(folder / "city.mmdb", {"0.0.0.0/1": CITY_RECORD})),
        open_geolocator(write_geo_database(folder / "flat.mmdb", {"0.0.0.0/1": FLAT_RECORD})),
    ]


@given(remote_ip=st.text() | st.ip_addresses().map(str))
def test_any_text_has_an_answer(geolocators: list[Geolocator], remote_ip: str) -> None:
    """Whatever the address says, a look-up gives a place and never raises."""
    for geolocator in geolocators:
        location = geolocator.locate(remote_ip)
        assert len(location.country_code) in (0, 2)
        assert isinstance(geolocator.find_fields(remote_ip), dict)
        assert geolocator.failures == 0


def test_a_damaged_database_is_counted() -> None:
    """A look-up that fails in a damaged file gives nowhere, and is counted."""

    class DamagedReader:
        def get_path(self, ip_address: str, path: tuple[str | int, ...]) -> object:
            raise RuntimeError(f"no data for {path} of {ip_address}")

    geolocator = MmdbGeolocator(DamagedReader(), {})
    assert geolocator.locate(VISITOR) is NOWHERE
    assert geolocator.find_fields(VISITOR) == {}
    assert geolocator.failures == 1


@pytest.mark.parametrize(
    ("remote_ip", "countries", "expected"),
    [
        ("203.0.113.7", {"DE"}, DropReason.SITE_COUNTRY_BLOCKLIST),
        ("203.0.113.7", {"ZZ", "A1"}, None),
        ("198.51.100.1", {"ZZ"}, DropReason.SITE_COUNTRY_BLOCKLIST),
        ("198.51.100.1", {"DE"}, None),
    ],
)
def test_the_country_shield(
    tmp_path: Path, remote_ip: str, countries: set[str], expected: DropReason | None
) -> None:
    """A visitor of a shielded country is dropped; one from nowhere counts as ZZ."""
    path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})
    tables: Tables = make_tables(geo_database=path)
    context = make_context(tables, shields=Shields(countries=tuple(countries)))
    assert build_event(context, remote_ip=remote_ip).drop_reason is expected


def test_the_country_shield_of_vpns(tmp_path: Path) -> None:
    """A1 can be shielded, and the database's own country does not count then."""
    path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})
    for country, expected in (("A1", DropReason.SITE_COUNTRY_BLOCKLIST), ("DE", None)):
        shields = Shields(countries=(country,))
        context = make_context(make_tables(geo_database=path), shields=shields)
        assert build_event(context, ip_class="anonymous_vpn_ip").drop_reason is expected
