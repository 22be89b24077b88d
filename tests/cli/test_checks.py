"""``gatehouse check``: what it finds, and what it says about it."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from service.cli.checks import (
    Finding,
    check_clock,
    check_exposure,
    check_files,
    check_folder,
    check_port,
    run_checks,
)
from service.cli.main import app
from service.clock import wall
from service.config import Config
from tests.support.geo import CITY_RECORD, write_geo_database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens at."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def levels(findings: Iterator[Finding]) -> list[str]:
    """Give how grave each finding is."""
    return [finding.level for finding in findings]


class TestFolder:
    def test_missing_folder_is_fine(self, tmp_path: Path) -> None:
        """The first start makes it."""
        assert levels(check_folder(Config(data_dir=tmp_path / "new"))) == ["ok"]

    def test_folder_that_others_may_read_is_a_warning(self, tmp_path: Path) -> None:
        """The sentence says how that ends."""
        tmp_path.chmod(0o755)
        finding = next(check_folder(Config(data_dir=tmp_path)))

        assert finding.level == "warning"
        assert f"chmod 700 {tmp_path}" in finding.sentence

    def test_file_in_its_place_is_a_problem(self, tmp_path: Path) -> None:
        """A file is no folder."""
        (tmp_path / "file").write_text("")

        assert levels(check_folder(Config(data_dir=tmp_path / "file"))) == ["problem"]

    def test_journal_larger_than_the_disk_is_a_warning(self, tmp_path: Path) -> None:
        """A journal's limit only helps when it is reached before the disk's end."""
        tmp_path.chmod(0o700)

        assert levels(check_folder(Config(data_dir=tmp_path, journal_max_bytes=2**50))) == ["ok", "warning"]


class TestPorts:
    def test_free_port_is_fine(self) -> None:
        """Port 0 is always free."""
        assert levels(check_port("listen", "127.0.0.1:0", running=False)) == ["ok"]

    def test_port_of_another_program_is_a_problem(self, taken_port: int) -> None:
        """The sentence says what to do."""
        (finding,) = check_port("listen", f"127.0.0.1:{taken_port}", running=False)

        assert finding.level == "problem"
        assert "choose another listen" in finding.sentence

    def test_port_taken_while_the_service_runs_is_fine(self, taken_port: int) -> None:
        """A check beside the running service does not complain of it."""
        assert levels(check_port("listen", f"127.0.0.1:{taken_port}", running=True)) == ["ok"]

    def test_address_of_another_machine_is_a_problem(self) -> None:
        """Nobody can listen at an address that this machine does not have."""
        assert levels(check_port("listen", "192.0.2.1:80", running=False)) == ["problem"]

    @pytest.mark.parametrize(
        ("address", "expected"),
        [
            ("127.0.0.1:8001", []),
            ("[::1]:8001", []),
            ("localhost:8001", []),
            ("0.0.0.0:8001", ["warning"]),
            ("[::]:8001", ["warning"]),
        ],
    )
    def test_admin_listener_beyond_this_machine_is_a_warning(self, address: str, expected: list[str]) -> None:
        """Its token would travel unencrypted."""
        assert levels(check_exposure(Config(admin_listen=address))) == expected


class TestClock:
    def test_clock_before_this_version_is_a_problem(self) -> None:
        """A machine without a battery starts in 1970."""
        assert check_clock(0.0).level == "problem"

    def test_clock_after_it_is_fine(self) -> None:
        """Any later time may be right."""
        assert check_clock(NOW).level == "ok"


class TestFiles:
    def test_without_files_all_is_fine_and_said(self) -> None:
        """Each finding says what is missing without the file."""
        assert levels(check_files(Config(), now=NOW)) == ["ok"] * 5

    @pytest.mark.parametrize("setting", ["geo_database", "spam_list", "sources", "exchange_rates"])
    def test_missing_file_is_a_problem(self, tmp_path: Path, setting: str) -> None:
        """A file that is named must be there."""
        config = replace(Config(), **{setting: tmp_path / "none"})

        assert levels(check_files(config, now=NOW)).count("problem") == 1

    def test_file_of_another_kind_is_a_problem(self, tmp_path: Path) -> None:
        """A text is no geo database."""
        (tmp_path / "geo.mmdb").write_text("text")
        config = Config(geo_database=tmp_path / "geo.mmdb")

        assert levels(check_files(config, now=NOW)) == ["problem", *["ok"] * 4]

    def test_ip_lists_are_read(self, tmp_path: Path) -> None:
        """A list that is right is counted, one with a wrong line is a problem."""
        (tmp_path / "good.txt").write_text("203.0.113.0/24")
        (tmp_path / "bad.txt").write_text("nothing")

        for name, level in (("good.txt", "ok"), ("bad.txt", "problem")):
            config = Config(ip_lists=(f"{tmp_path / name}=dc_ip",))
            findings = {finding.about: finding for finding in check_files(config, now=NOW)}
            assert findings["ip lists"].level == level

    @pytest.mark.parametrize(
        ("age", "expected"),
        [(timedelta(days=179), ["ok"] * 5), (timedelta(days=182), ["warning", *["ok"] * 4])],
    )
    def test_old_geo_database_is_a_warning(self, tmp_path: Path, age: timedelta, expected: list[str]) -> None:
        """Addresses move; after half a year many are wrong."""
        path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})

        found = levels(check_files(Config(geo_database=path), now=wall() + age.total_seconds()))

        assert found == expected


class TestDatabase:
    async def test_tables_that_are_missing_are_a_problem(self, tmp_path: Path, clickhouse_url: str) -> None:
        """An empty database can be looked at, and is told to be empty."""
        config = Config(data_dir=tmp_path / "data", store="native", clickhouse_url=clickhouse_url)
        found = [finding async for finding in run_checks(config, clock=wall) if finding.level == "problem"]

        assert [finding.about for finding in found] == ["database"] * 3
        assert all("run `gatehouse migrate`" in finding.sentence for finding in found)

    async def test_clock_apart_from_the_databases_is_a_warning(
        self, tmp_path: Path, clickhouse_url: str
    ) -> None:
        """Both clocks go into the same tables."""
        config = Config(data_dir=tmp_path / "data", store="native", clickhouse_url=clickhouse_url)
        found = [finding async for finding in run_checks(config, clock=lambda: wall() + 3600)]

        assert [finding.level for finding in found if finding.about == "database clock"] == ["warning"]

    async def test_database_that_is_away_is_a_problem(self, tmp_path: Path) -> None:
        """It is one finding, not an error that ends the check."""
        nobody = "clickhouse://127.0.0.1:1/nobody"
        config = Config(data_dir=tmp_path / "data", store="native", clickhouse_url=nobody)
        found = [finding async for finding in run_checks(config, clock=wall)]

        assert (found[-1].about, found[-1].level) == ("database", "problem")


class TestCommand:
    def test_wrong_setting_is_a_finding(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """``check`` says what ``serve`` would refuse, in its own list."""
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(app, ["--set", "stor=x", "check", "--json"])

        assert result.exit_code == 1
        assert json.loads(result.output) == [
            {
                "about": "configuration",
                "level": "problem",
                "sentence": '--stor: there is no setting "stor"; did you mean "store"?',
            }
        ]

    def test_all_is_well_before_the_first_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fresh folder has no problems, and nothing is made by looking."""
        monkeypatch.chdir(tmp_path)
        ports = ["--set", "listen=127.0.0.1:0", "--set", "admin_listen=127.0.0.1:0"]
        result = CliRunner().invoke(app, [*ports, "check"])

        assert result.exit_code == 0
        assert "problem" not in result.output
        assert list(tmp_path.iterdir()) == []
