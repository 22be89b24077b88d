"""The database of locations is tried before it is used, and followed while the service runs."""

import gzip
import io
import tarfile
from pathlib import Path

import maxminddb_rust
import pytest

from service.errors import ConfigError
from service.ingestion.geolocation import Location
from service.tables.geo import (
    STORED_DATABASE,
    WatchedGeolocator,
    find_attribution,
    open_geolocator,
    store_geo_database,
)
from service.tables.mmdb import check_reader, unfold_mmdb
from tests.support.geo import CITY_RECORD, FLAT_RECORD, write_geo_database

VISITOR = "203.0.113.7"
NETWORK = "203.0.113.0/24"


def write_city(path: Path, country: str = "DE") -> Path:
    """Write a database that has the visitor in a country."""
    return write_geo_database(path, {NETWORK: CITY_RECORD | {"country": {"iso_code": country}}})


def pack(content: bytes, name: str = "GeoLite2-City_20261120/GeoLite2-City.mmdb") -> bytes:
    """Give a .tar.gz of the kind that MaxMind sends, a text before the database."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for entry, data in (("GeoLite2-City_20261120/COPYRIGHT.txt", b"text"), (name, content)):
            header = tarfile.TarInfo(entry)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return packed.getvalue()


async def settle(database: WatchedGeolocator) -> None:
    """Look often enough that a change counts as one."""
    for _ in range(3):
        await database.refresh(0)


def test_the_reader_is_compiled() -> None:
    """The reader is machine code; one written in Python would be refused."""

    class PythonReader:
        def get_path(self, ip_address: str, path: tuple[str | int, ...]) -> object:
            """Look nothing up."""

    check_reader(maxminddb_rust.Reader)
    with pytest.raises(ConfigError, match="without its compiled code"):
        check_reader(PythonReader)


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    """Type and age are the file's own."""
    geolocator = open_geolocator(write_city(tmp_path / "geo.mmdb"))
    assert geolocator.kind == "GeoLite2-City"
    assert geolocator.built_at is not None
    assert geolocator.built_at > 1_700_000_000


def test_compressed(tmp_path: Path) -> None:
    """A database packed with gzip is used as it is."""
    path = tmp_path / "geo.mmdb.gz"
    path.write_bytes(gzip.compress(write_city(tmp_path / "geo.mmdb").read_bytes()))
    assert open_geolocator(path).locate(VISITOR).country_code == "DE"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a text", "is not in MaxMind's format"),
        (b"", "is not in MaxMind's format"),
        (b"\x1f\x8b and nothing more", "is damaged"),
    ],
)
def test_no_database(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file of another kind is refused by its name."""
    path = tmp_path / "geo.mmdb"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"the geo database {path} {reason}"):
        open_geolocator(path)


def test_half_a_file(tmp_path: Path) -> None:
    """Wherever a copy broke off, it is refused, or what it still has is right."""
    whole = write_city(tmp_path / "geo.mmdb").read_bytes()
    path = tmp_path / "half.mmdb"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match="the geo database"):
            open_geolocator(path)


def test_a_database_of_something_else(tmp_path: Path) -> None:
    """One of AS numbers is in the right format and knows no country."""
    path = write_geo_database(
        tmp_path / "asn.mmdb", {NETWORK: {"autonomous_system_number": 1}}, kind="GeoLite2-ASN"
    )
    with pytest.raises(ConfigError, match=r"\(GeoLite2-ASN\) has no countries"):
        open_geolocator(path)


class TestWhichOne:
    def test_the_built_in_one(self, tmp_path: Path) -> None:
        """Without a file, countries come from a package."""
        database = WatchedGeolocator(None, tmp_path)
        assert database.path is None
        assert database.published.value.kind.startswith("iptocc")

    async def test_an_update_goes_before_it(self, tmp_path: Path) -> None:
        """What an update leaves in the data folder is used while running, and until it is taken away."""
        database = WatchedGeolocator(None, tmp_path / "data")
        store_geo_database(write_city(tmp_path / "geo.mmdb"), tmp_path / "data")
        await settle(database)
        assert database.path == tmp_path / "data" / STORED_DATABASE
        assert database.published.value.locate(VISITOR).country_code == "DE"

        (tmp_path / "data" / STORED_DATABASE).unlink()
        await settle(database)
        assert database.path is None
        assert database.published.value.locate(VISITOR) == Location()

    def test_the_operators_file_goes_before_both(self, tmp_path: Path) -> None:
        """A configured file is the one."""
        store_geo_database(write_city(tmp_path / "geo.mmdb"), tmp_path / "data")
        own = write_city(tmp_path / "own.mmdb", "FR")
        database = WatchedGeolocator(own, tmp_path / "data")
        assert (database.path, database.published.value.locate(VISITOR).country_code) == (own, "FR")


class TestWhileRunning:
    async def test_a_new_file_takes_over(self, tmp_path: Path) -> None:
        """The next look-up is in the new one, whatever its layout."""
        path = write_city(tmp_path / "geo.mmdb")
        database = WatchedGeolocator(path, None)
        write_geo_database(tmp_path / "new.mmdb", {NETWORK: FLAT_RECORD}).replace(path)
        await settle(database)
        assert database.published.value.locate(VISITOR) == Location("FR")

    @pytest.mark.parametrize("content", [b"a text", b"\x1f\x8b", None])
    async def test_a_wrong_file_changes_nothing(
        self, tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The old one stays in force, from memory, and the problem is told."""
        path = write_city(tmp_path / "geo.mmdb")
        database = WatchedGeolocator(path, None)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        await settle(database)
        assert database.published.value.locate(VISITOR).country_code == "DE"
        assert database.problem is not None
        assert "the old one stays in force" in caplog.text

    async def test_look_ups_that_fail_are_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A database that is damaged in places is logged, once for all failures since the last look."""
        database = WatchedGeolocator(write_city(tmp_path / "geo.mmdb"), None)
        geolocator = database.published.value
        vars(geolocator)["failures"] = 3
        await settle(database)
        assert caplog.text.count("3 look-ups failed") == 1


class TestStoring:
    def test_all_that_makers_send(self, tmp_path: Path) -> None:
        """A plain file, one in gzip and one in an archive are the same afterwards, for their owner only."""
        content = write_city(tmp_path / "geo.mmdb").read_bytes()
        for name, sent in (("a", content), ("b", gzip.compress(content)), ("c", pack(content))):
            (tmp_path / name).write_bytes(sent)
            assert store_geo_database(tmp_path / name, tmp_path / "data").kind == "GeoLite2-City"
            stored = tmp_path / "data" / STORED_DATABASE
            assert stored.read_bytes() == content
            assert stored.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"a text", "sent is not in MaxMind's format"),
            (gzip.compress(b"a text" * 1000)[:40], "sent is damaged"),
            (pack(b"a text"), "sent is not in MaxMind's format"),
            (pack(b"a text", "README.txt"), "sent is an archive without a file .mmdb"),
            (pack(b"a text")[:60], "sent is damaged"),
            (None, "sent cannot be read: No such file"),
        ],
        ids=["text", "half-gzip", "text-in-archive", "no-database-in-archive", "half-archive", "missing"],
    )
    def test_a_wrong_one_changes_nothing(self, tmp_path: Path, content: bytes | None, reason: str) -> None:
        """The stored one stays, and nothing is left beside it."""
        data = tmp_path / "data"
        store_geo_database(write_city(tmp_path / "geo.mmdb"), data)
        before = (data / STORED_DATABASE).read_bytes()
        source = tmp_path / "sent"
        if content is not None:
            source.write_bytes(content)
        with pytest.raises(ConfigError, match=reason):
            store_geo_database(source, data)
        assert [(path.name, path.read_bytes()) for path in data.iterdir()] == [(STORED_DATABASE, before)]

    @pytest.mark.parametrize("fold", [gzip.compress, pack])
    def test_a_bomb_is_bounded(self, tmp_path: Path, fold: object) -> None:
        """What unfolds to more than allowed is given up there."""
        assert callable(fold)
        source = tmp_path / "bomb"
        source.write_bytes(fold(bytes(10_000_000)))
        with pytest.raises(ConfigError, match="unfolds to more than 1,000,000 bytes"):
            unfold_mmdb("geo database", source, tmp_path / "target", max_bytes=1_000_000)
        assert (tmp_path / "target").stat().st_size <= 1_000_000

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        """A data folder that is none is named."""
        source = write_city(tmp_path / "geo.mmdb")
        with pytest.raises(ConfigError, match="the new geo database cannot be kept in"):
            store_geo_database(source, source)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("iptocc 3.3.170", "nro.net"),
        ("DBIP-City-Lite (compat=City)", "db-ip.com"),
        ("GeoLite2-City", "maxmind.com"),
        ("GeoIP2-City", None),
    ],
)
def test_attributions(kind: str, words: str | None) -> None:
    """Where a licence wants words to be shown, they are known."""
    found = find_attribution(kind)
    assert found is None if words is None else found is not None and words in found
