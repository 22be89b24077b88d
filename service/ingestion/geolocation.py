"""Where a visitor is, by address: country, regions, city. Source: reference section 13.

The database is one file of MaxMind's format, opened elsewhere and handed in. Both layouts in use are read:
GeoIP2 (``country.iso_code``) and flat (``country_code``, which has countries only).
"""

from collections.abc import Mapping
from typing import Final, Protocol

from msgspec import Struct

UNKNOWN_COUNTRIES: Final = frozenset({"ZZ", "XX", "T1"})
"""Codes that databases use for "nobody knows"; ``T1`` is Tor."""

_COUNTRY: Final = ("country", "iso_code")
_FLAT_COUNTRY: Final = ("country_code",)
_SUBDIVISION1: Final = ("subdivisions", 0, "iso_code")
_SUBDIVISION2: Final = ("subdivisions", 1, "iso_code")
_CITY: Final = ("city", "geoname_id")


class Location(Struct, frozen=True, gc=False):
    """A place as stored: ISO 3166 codes (regions ``<country>-<code>``), GeoNames id; unknown = empty or 0."""

    country_code: str = ""
    subdivision1_code: str = ""
    subdivision2_code: str = ""
    city_geoname_id: int = 0


NOWHERE: Final = Location()


class Geolocator(Protocol):
    """Where addresses are looked up."""

    def locate(self, remote_ip: str) -> Location:
        """Give the place of an address as text; ``NOWHERE`` when it is no address or not known."""


class MmdbReader(Protocol):
    """An open database of MaxMind's format."""

    def get_path(self, ip_address: str, path: tuple[str | int, ...]) -> object:
        """Give one value of an address's record, or None. Raises ValueError for what is no address."""


class NoGeolocator:
    """Stands where no database is configured."""

    def locate(self, remote_ip: str) -> Location:
        """Give ``NOWHERE``."""
        del remote_ip
        return NOWHERE


class MmdbGeolocator:
    """Looks addresses up in one database; districts become their cities."""

    def __init__(self, reader: MmdbReader, cities: Mapping[int, int]) -> None:
        self._reader = reader
        self._cities = cities
        """GeoNames id of a district to the id of its city (reference 13.2)."""
        self.failures = 0
        """Look-ups that the database could not answer because its file is damaged."""

    def locate(self, remote_ip: str) -> Location:
        """Give the place of an address as text; ``NOWHERE`` when it is no address or not known."""
        try:
            return self._locate(remote_ip)
        except ValueError:
            return NOWHERE
        except RuntimeError:  # what both readers raise for a damaged file
            self.failures += 1
            return NOWHERE

    def _locate(self, remote_ip: str) -> Location:
        get_path = self._reader.get_path
        country = get_path(remote_ip, _COUNTRY) or get_path(remote_ip, _FLAT_COUNTRY)
        if not isinstance(country, str) or len(country) != 2 or country in UNKNOWN_COUNTRIES:
            return NOWHERE
        city = get_path(remote_ip, _CITY)
        first = get_path(remote_ip, _SUBDIVISION1)
        second = get_path(remote_ip, _SUBDIVISION2) if first else None
        return Location(
            country_code=country,
            subdivision1_code=f"{country}-{first}" if first else "",
            subdivision2_code=f"{country}-{second}" if second else "",
            city_geoname_id=self._cities.get(city, city) if isinstance(city, int) else 0,
        )


def parse_city_overrides(data: Mapping[str, list[int]]) -> dict[int, int]:
    """Give district to city out of a table of city ids with the ids of their districts (reference 13.2)."""
    return {district: int(city) for city, districts in data.items() for district in districts}
