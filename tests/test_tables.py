"""The rules' data loads, and an operator's file that is wrong stops the start with a sentence."""

from pathlib import Path

import pytest

from service.errors import ConfigError
from service.ingestion.revenue import NO_RATES
from service.ingestion.source_table import Match, Referrer
from tests.support.events import make_tables
from tests.support.geo import CITY_RECORD, write_geo_database


def test_without_files() -> None:
    """Nothing needs to be configured."""
    tables = make_tables()
    assert tables.rates is NO_RATES
    assert "semalt.com" in tables.spam.value


def test_all_files(tmp_path: Path) -> None:
    """Each of the operator's files is read."""
    spam, rates = tmp_path / "spam.txt", tmp_path / "rates.toml"
    spam.write_text("# a comment\nspam.example\n\n  other.example \n", encoding="utf-8")
    rates.write_text('base = "EUR"\n[rates]\nUSD = 1.08\n', encoding="utf-8")
    tables = make_tables(
        geo_database=write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD}),
        spam_list=spam,
        exchange_rates=rates,
    )
    assert tables.spam.value == {"spam.example", "other.example"}
    assert str(tables.rates.rates["USD"]) == "1.08"
    assert tables.geo.value.locate("203.0.113.7").country_code == "DE"


def test_missing_geo_database(tmp_path: Path) -> None:
    """A geo database that is not there is named."""
    path = tmp_path / "none.mmdb"
    with pytest.raises(ConfigError, match=f"the geo database {path} cannot be read"):
        make_tables(geo_database=path)


def test_geo_database_of_another_format(tmp_path: Path) -> None:
    """A file that is no database is named as such."""
    path = tmp_path / "geo.mmdb"
    path.write_bytes(b"not a database")
    with pytest.raises(ConfigError, match="is not in MaxMind's format"):
        make_tables(geo_database=path)


def test_missing_text_file(tmp_path: Path) -> None:
    """A text file that is not there is named, with the system's reason."""
    path = tmp_path / "spam.txt"
    with pytest.raises(ConfigError, match=f"the spam list {path} cannot be read: No such file"):
        make_tables(spam_list=path)


def test_text_file_of_another_encoding(tmp_path: Path) -> None:
    """A text file that is not UTF-8 is refused."""
    path = tmp_path / "rates.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not a text in UTF-8"):
        make_tables(exchange_rates=path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("base = ", "Invalid value"),
        ("[rates]\nUSD = 1", "base must be an ISO 4217 code"),
        ('base = "EUR"\n[rates]\nUSD = -1', "the rate of USD must be greater than zero"),
    ],
)
def test_wrong_rates(tmp_path: Path, text: str, reason: str) -> None:
    """Exchange rates that are no TOML or no rates are refused with the reason."""
    path = tmp_path / "rates.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"the exchange rates {path} cannot be used: .*{reason}"):
        make_tables(exchange_rates=path)


def test_own_sources(tmp_path: Path) -> None:
    """An operator's sources go before the built-in ones and say where they stand."""
    path = tmp_path / "sources.toml"
    path.write_text('[[source]]\nname = "Club"\ncategory = "social"\nhosts = ["club.example"]\n')
    match = make_tables(sources=path).sources.match_referrer(Referrer("", "m.club.example", "/"))
    assert match == Match("Club", "club.example", str(path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[source]", "Expected"),
        ("", r"there is no \[\[source\]\] in it"),
        ('[[source]]\nname = "Club"\ncategory = "clubs"', r"entry 1 \(Club\): Invalid enum value 'clubs'"),
    ],
)
def test_wrong_sources(tmp_path: Path, text: str, reason: str) -> None:
    """A table of sources that cannot be used is refused with the file, the entry and the reason."""
    path = tmp_path / "sources.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"the table of sources {path} cannot be used: .*{reason}"):
        make_tables(sources=path)
