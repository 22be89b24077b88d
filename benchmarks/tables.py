"""``python -m benchmarks.tables``: what a look-up costs: addresses, places, referrer spam."""

import ipaddress
import random
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import maxminddb_rust
import mmdb_writer
from netaddr import IPSet

from service.ingestion.spam import is_spam_referrer
from service.tables.addresses import watch_addresses
from service.tables.geo import built_in_geolocator, open_geolocator
from service.tables.spam import watch_spam_list

RANGES: Final = 20_000
ADDRESSES: Final = 2_000
NETWORKS: Final = 5_000
"""Of a database that is made for this; the depth of its tree is that of a real one."""
ROUNDS: Final = 50
LANGUAGES: Final = ("de", "en", "es", "fr", "ja", "pt-BR", "ru", "zh-CN")
KEPT_ASNS: Final = 1_000


def main() -> None:
    """Measure and print microseconds per look-up, the best of five rounds."""
    chance = random.Random(1)
    v4 = [str(ipaddress.IPv4Address(chance.getrandbits(32))) for _ in range(ADDRESSES)]
    v6 = [str(ipaddress.IPv6Address(chance.getrandbits(128))) for _ in range(ADDRESSES)]
    with tempfile.TemporaryDirectory() as folder:
        measure_lists(Path(folder), chance, v4, v6)
        measure_places(Path(folder), chance, v4)
    spam = watch_spam_list(None, None).published.value
    referrers = [f"https://www.{name}/path" for name in sorted(spam)]
    measure("spam referrer", lambda referrer: is_spam_referrer(referrer, spam), referrers)


def measure_lists(folder: Path, chance: random.Random, v4: list[str], v6: list[str]) -> None:
    """Measure lists of ranges of both versions, and AS numbers for addresses in no range."""
    file = folder / "ranges.txt"
    file.write_text("\n".join([*random_networks(chance, RANGES), *random_networks6(chance, RANGES)]))
    verdicts = watch_addresses([f"{file}=dc_ip"], None).published.value
    print(f"{RANGES:,} IPv4 and {RANGES:,} IPv6 ranges, {verdicts.intervals:,} intervals")
    measure("ip list, IPv4", verdicts.find, v4)
    measure("ip list, IPv6", verdicts.find, v6)
    measure("ip list, IPv6 in 2000::/3", verdicts.find, [address6(chance) for _ in range(ADDRESSES)])

    networks = random_networks(chance, NETWORKS)
    database = write_database(
        folder / "asn.mmdb",
        {network: {"autonomous_system_number": number} for number, network in enumerate(networks)},
    )
    asns = folder / "asns.txt"
    asns.write_text("\n".join(f"AS{number}" for number in range(KEPT_ASNS)))
    verdicts = watch_addresses([f"{file}=dc_ip", f"{asns}=dc_ip"], database).published.value
    measure("ip list, then AS number", verdicts.find, inside(networks))
    measure("ip list, no AS number", verdicts.find, v4)


def measure_places(folder: Path, chance: random.Random, v4: list[str]) -> None:
    """Measure the built-in countries, and a city database by paths and by whole records."""
    countries = built_in_geolocator()
    measure(f"place, {countries.kind}", countries.locate, v4)
    networks = random_networks(chance, NETWORKS)
    city = write_database(folder / "city.mmdb", {network: city_record(chance) for network in networks})
    flat = write_database(folder / "flat.mmdb", {network: {"country_code": "DE"} for network in networks})
    known = inside(networks)
    measure("place, flat file", open_geolocator(flat).locate, known)
    measure("place, city file", open_geolocator(city).locate, known)
    reader = maxminddb_rust.open_database(str(city), maxminddb_rust.MODE_MEMORY)
    measure("whole record of it", reader.get, known)


def city_record(chance: random.Random) -> dict[str, Any]:
    """Give a record of the size that MaxMind's have: every name in eight languages."""

    def names() -> dict[str, str]:
        return {language: f"{language} name {chance.getrandbits(16)}" for language in LANGUAGES}

    country = {"geoname_id": 2921044, "iso_code": "DE", "names": names()}
    return {
        "city": {"geoname_id": 2950159, "names": names()},
        "continent": {"code": "EU", "geoname_id": 6255148, "names": names()},
        "country": country,
        "location": {
            "accuracy_radius": 20,
            "latitude": 52.5,
            "longitude": 13.4,
            "time_zone": "Europe/Berlin",
        },
        "postal": {"code": "10115"},
        "registered_country": country,
        "subdivisions": [{"geoname_id": 2950157, "iso_code": "BE", "names": names()}],
    }


def write_database(path: Path, networks: dict[str, Any]) -> Path:
    """Write a file of MaxMind's format."""
    writer = mmdb_writer.MMDBWriter(6, "Benchmark", ipv4_compatible=True)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def random_networks(chance: random.Random, count: int) -> list[str]:
    """Give IPv4 networks of the sizes that lists have."""
    return [f"{ipaddress.IPv4Address(chance.getrandbits(32))}/{chance.randint(16, 28)}" for _ in range(count)]


def random_networks6(chance: random.Random, count: int) -> list[str]:
    """Give IPv6 networks of the sizes that lists have, in the part of the addresses that is in use."""
    return [f"{address6(chance)}/{chance.randint(32, 56)}" for _ in range(count)]


def address6(chance: random.Random) -> str:
    """Give an address in 2000::/3."""
    return str(ipaddress.IPv6Address(1 << 125 | chance.getrandbits(125)))


def inside(networks: list[str]) -> list[str]:
    """Give an address of each of the first networks."""
    return [str(ipaddress.ip_network(network, strict=False)[1]) for network in networks[:ADDRESSES]]


def measure(what: str, look_up: Callable[[str], object], texts: list[str]) -> None:
    """Print what one look-up costs."""

    def run() -> None:
        for text in texts:
            look_up(text)

    best_s = min(timeit.repeat(run, number=ROUNDS, repeat=5))
    print(f"{what:<28} {best_s / ROUNDS / len(texts) * 1e6:6.2f} µs")


if __name__ == "__main__":
    main()
