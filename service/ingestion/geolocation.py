"""Where a visitor is, by address: country, regions, city. Source: reference section 13.

A database is one file of MaxMind's format, opened elsewhere and handed in. Both layouts in use are read:
GeoIP2's (``country.iso_code``, with regions and cities) and the flat one (``country_code``, which has
countries only). Where there is no file, a table of countries that comes as a function takes its place.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeGuard

from msgspec import Struct

UNKNOWN_COUNTRIES: Final = frozenset({"ZZ", "XX", "T1"})
"""Codes that databases use for "nobody knows"; ``T1`` is Tor."""
MAX_CITY: Final = 2**32 - 1
"""Of ClickHouse's UInt32."""

FieldPath = tuple[str | int, ...]
"""The way to a value in a record."""

GEOIP2: Final[FieldPath] = ("country", "iso_code")
FLAT: Final[FieldPath] = ("country_code",)
_SUBDIVISION1: Final[FieldPath] = ("subdivisions", 0, "iso_code")
_SUBDIVISION2: Final[FieldPath] = ("subdivisions", 1, "iso_code")
_CITY: Final[FieldPath] = ("city", "geoname_id")


class Location(Struct, frozen=True, gc=False):
    """A place as stored: ISO 3166 codes (regions ``<country>-<code>``), GeoNames id; unknown = empty or 0."""

    country_code: str = ""
    subdivision1_code: str = ""
    subdivision2_code: str = ""
    city_geoname_id: int = 0


NOWHERE: Final = Location()


class Geolocator(Protocol):
    """Where addresses are looked up."""

    @property
    def kind(self) -> str:
        """The type that the database gives itself, such as ``GeoLite2-City``."""

    @property
    def built_at(self) -> int | None:
        """When the database was made, UTC epoch seconds; None when it does not say."""

    @property
    def failures(self) -> int:
        """Look-ups that the database could not answer because it is damaged."""

    def locate(self, remote_ip: str) -> Location:
        """Give the place of an address as text; ``NOWHERE`` when it is no address or not known."""

    def find_fields(self, remote_ip: str) -> dict[str, object]:
        """Give what the database says of an address by the names of its fields, as far as it is used."""


class MmdbReader(Protocol):
    """An open database of MaxMind's format."""

    def get_path(self, ip_address: str, path: FieldPath) -> object:
        """Give one value of an address's record, or None.

        Raises ValueError for what is no address, and RuntimeError when the file is damaged there.
        """


class CountryGeolocator:
    """Looks addresses up in a table of countries. ``look_up`` may raise ValueError for what is no address."""

    built_at: Final = None
    failures: Final = 0

    def __init__(self, look_up: Callable[[str], str | None], *, kind: str) -> None:
        self._look_up = look_up
        self._locations: dict[str | None, Location] = {}
        """By country, of which there are few."""
        self.kind = kind

    def locate(self, remote_ip: str) -> Location:
        """Give the country of an address as text; ``NOWHERE`` when it is no address or not known."""
        look_up = self._look_up
        try:
            country = look_up(remote_ip)
        except ValueError:
            return NOWHERE
        location = self._locations.get(country)
        if location is None:
            location = self._locations[country] = Location(country) if is_country(country) else NOWHERE
        return location

    def find_fields(self, remote_ip: str) -> dict[str, object]:
        """Give the country that the table has."""
        country = self.locate(remote_ip).country_code
        return {"country": country} if country else {}


class MmdbGeolocator:
    """Looks addresses up in one database; districts become their cities.

    It reads the values it needs by their paths: that takes a third of the time of decoding whole records,
    which hold names in eight languages (``benchmarks.tables``).
    """

    def __init__(
        self,
        reader: MmdbReader,
        cities: Mapping[int, int],
        *,
        layout: FieldPath = GEOIP2,
        kind: str = "",
        built_at: int | None = None,
    ) -> None:
        self._get_path = reader.get_path
        self._cities = cities
        """GeoNames id of a district to the id of its city (reference 13.2)."""
        self._layout = layout
        self.kind = kind
        self.built_at = built_at
        self.failures = 0

    def locate(self, remote_ip: str) -> Location:
        """Give the place of an address as text; ``NOWHERE`` when it is no address or not known."""
        try:
            return self._locate(remote_ip)
        except ValueError:
            return NOWHERE
        except RuntimeError:
            self.failures += 1
            return NOWHERE

    def find_fields(self, remote_ip: str) -> dict[str, object]:
        """Give the values that ``locate`` looks at, as they stand in the database."""
        places = (_SUBDIVISION1, _SUBDIVISION2, _CITY) if self._layout == GEOIP2 else ()
        found = {}
        for path in (self._layout, *places):
            try:
                value = self._get_path(remote_ip, path)
            except (ValueError, RuntimeError):
                continue
            if value is not None:
                found[".".join(map(str, path))] = value
        return found

    def _locate(self, remote_ip: str) -> Location:
        get_path = self._get_path
        country = get_path(remote_ip, self._layout)
        if not is_country(country):
            return NOWHERE
        if self._layout == FLAT:
            return Location(country)
        first = get_path(remote_ip, _SUBDIVISION1)
        second = get_path(remote_ip, _SUBDIVISION2)
        return Location(
            country,
            f"{country}-{first}" if first else "",
            f"{country}-{second}" if second else "",
            self._to_city(get_path(remote_ip, _CITY)),
        )

    def _to_city(self, found: object) -> int:
        if not isinstance(found, int) or not 0 < found <= MAX_CITY:
            return 0
        return self._cities.get(found, found)


def is_country(code: object) -> TypeGuard[str]:
    """Tell whether it is a code that is stored: two letters, none of those for "nobody knows"."""
    return isinstance(code, str) and len(code) == 2 and code.isascii() and code not in UNKNOWN_COUNTRIES


def find_layout(record: object) -> FieldPath | None:
    """Tell where a record has its country; None when it has none."""
    if not isinstance(record, dict):
        return None
    country = record.get("country")
    if isinstance(country, dict) and isinstance(country.get("iso_code"), str):
        return GEOIP2
    return FLAT if isinstance(record.get("country_code"), str) else None


def parse_city_overrides(data: Mapping[str, list[int]]) -> dict[int, int]:
    """Give district to city out of a table of city ids with the ids of their districts (reference 13.2)."""
    return {district: int(city) for city, districts in data.items() for district in districts}
