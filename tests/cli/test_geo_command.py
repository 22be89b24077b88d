"""``gatehouse geo``."""

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.tables.geo import STORED_DATABASE
from tests.support.file_server import file_server
from tests.support.geo import CITY_RECORD, write_geo_database

VISITOR = "203.0.113.7"


def run(folder: Path, *arguments: str) -> Result:
    """Run the command on a data folder."""
    return CliRunner().invoke(app, ["--data-dir", str(folder), *arguments])


def write_city(path: Path) -> Path:
    """Write a database that has the visitor in Berlin."""
    return write_geo_database(path, {"203.0.113.0/24": CITY_RECORD})


class TestShow:
    def test_without_a_file(self, tmp_path: Path) -> None:
        """The built-in countries answer, with the words that their licence wants."""
        result = run(tmp_path, "geo", "show", "193.0.6.139")
        assert result.exit_code == 0
        assert "built in, iptocc 3." in result.output
        assert "Event gets   country NL\n" in result.output
        assert "nro.net" in result.output

    def test_with_one(self, tmp_path: Path) -> None:
        """The file, its age, the fields as they stand and what becomes of them."""
        path = write_city(tmp_path / "geo.mmdb")
        result = run(tmp_path, "--set", f"geo_database={path}", "geo", "show", VISITOR)
        assert f"{path}, GeoLite2-City of 20" in result.output
        assert "(0 days old)" in result.output
        assert "country.iso_code = DE, subdivisions.0.iso_code = BE" in result.output
        assert "city.geoname_id = 3336297" in result.output
        assert "Event gets   country DE, regions DE-BE, DE-11, city 2950159" in result.output

    def test_nothing_known(self, tmp_path: Path) -> None:
        """An address that nobody knows counts as ZZ."""
        result = run(tmp_path, "geo", "show", "10.0.0.1")
        assert "It has       nothing" in result.output
        assert "no country (for shields: ZZ)" in result.output

    def test_a_vpn(self, tmp_path: Path) -> None:
        """What a list of addresses says goes before the database."""
        vpns = tmp_path / "vpn.txt"
        vpns.write_text("193.0.6.0/24")
        result = run(tmp_path, "--set", f"ip_lists={vpns}=anonymous_vpn_ip", "geo", "show", "193.0.6.139")
        assert "ip_lists     anonymous_vpn_ip" in result.output
        assert "Event gets   country A1\n" in result.output

    def test_as_json(self, tmp_path: Path) -> None:
        """One object for scripts; an address comes in its one spelling."""
        path = write_city(tmp_path / "geo.mmdb")
        result = run(tmp_path, "--set", f"geo_database={path}", "geo", "show", f"::ffff:{VISITOR}", "--json")
        found = json.loads(result.output)
        assert found["ip"] == VISITOR
        assert found["database"]["type"] == "GeoLite2-City"
        assert found["fields"]["city.geoname_id"] == 3336297
        assert found["event"] == {
            "country_code": "DE",
            "subdivision1_code": "DE-BE",
            "subdivision2_code": "DE-11",
            "city_geoname_id": 2950159,
        }

    def test_no_address(self, tmp_path: Path) -> None:
        """A name is no address."""
        result = run(tmp_path, "geo", "show", "example.com")
        assert result.exit_code == 2
        assert "'example.com' is no IPv4 or IPv6 address" in result.output


class TestUpdate:
    def test_from_a_file(self, tmp_path: Path) -> None:
        """The database is kept in the data folder, which is made if need be, and used from then on."""
        path = write_city(tmp_path / "geo.mmdb")
        result = run(tmp_path / "data", "geo", "update", "--file", str(path))
        assert result.exit_code == 0
        assert "The geo database is GeoLite2-City of 20" in result.output
        assert "country DE" in run(tmp_path / "data", "geo", "show", VISITOR).output

    def test_from_a_url(self, tmp_path: Path) -> None:
        """What a web server gives, packed, is used from then on, and nothing else is left of it."""
        path = write_city(tmp_path / "geo.mmdb")
        (tmp_path / "geo.mmdb.gz").write_bytes(gzip.compress(path.read_bytes()))
        with file_server(tmp_path) as url:
            flag = ["--set", f"geo_database_url={url}/geo.mmdb.gz"]
            result = run(tmp_path / "data", *flag, "geo", "update")
        assert result.exit_code == 0
        assert "country DE" in run(tmp_path / "data", "geo", "show", VISITOR).output
        assert [left.name for left in (tmp_path / "data").iterdir()] == [STORED_DATABASE]

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [("damaged.mmdb", "that was fetched"), ("nothing.mmdb", "127.0.0.1 answered 404")],
    )
    def test_a_url_without_a_database(self, name: str, sentence: str, tmp_path: Path) -> None:
        """What is no database changes nothing."""
        run(tmp_path / "data", "geo", "update", "--file", str(write_city(tmp_path / "geo.mmdb")))
        (tmp_path / "damaged.mmdb").write_bytes((tmp_path / "geo.mmdb").read_bytes()[:-40])
        with file_server(tmp_path) as url:
            result = run(tmp_path / "data", "geo", "update", "--url", f"{url}/{name}")
        assert result.exit_code in (1, 2)
        assert sentence in result.output
        assert "country DE" in run(tmp_path / "data", "geo", "show", VISITOR).output
        assert [left.name for left in (tmp_path / "data").iterdir()] == [STORED_DATABASE]

    @pytest.mark.parametrize(
        ("flags", "update", "sentence"),
        [
            ([], [], "Say where the database is to be had"),
            ([], ["--file", "none.mmdb"], "none.mmdb cannot be read: No such file"),
            (["--set", "geo_database=own.mmdb"], ["--file", "none.mmdb"], "which is used instead"),
            ([], ["--url", "http://127.0.0.1:9/geo.mmdb"], "127.0.0.1 cannot be fetched"),
        ],
    )
    def test_what_goes_wrong(
        self, tmp_path: Path, flags: list[str], update: list[str], sentence: str
    ) -> None:
        """Each mistake is one sentence, and nothing is stored."""
        result = run(tmp_path, *flags, "geo", "update", *update)
        assert result.exit_code in (1, 2)
        assert sentence in result.output
        assert not list(tmp_path.iterdir())
        assert not (tmp_path / STORED_DATABASE).exists()
