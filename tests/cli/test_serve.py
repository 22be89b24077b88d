"""``gatehouse serve`` and the commands beside it, as processes of their own."""

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli.serve import describe_first_steps
from service.config import Config
from tests.support.clickhouse import running_server
from tests.support.server import GatehouseProcess, running_gatehouse

HELLO = {"n": "pageview", "u": "https://example.com/hello", "d": "example.com"}


@pytest.fixture(scope="module")
def gatehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatehouseProcess]:
    """A running service with the embedded store and one site."""
    with running_gatehouse(tmp_path_factory.mktemp("serve"), {"store": "embedded"}) as running:
        running.add_site("example.com")
        yield running


class TestWhileItRuns:
    def test_sql_reads_what_was_sent(self, gatehouse: GatehouseProcess) -> None:
        """The embedded store is open in the service, which is asked through its socket."""
        gatehouse.post_event(HELLO)
        gatehouse.flush()

        answer = json.loads(gatehouse.run("sql", "--json", "SELECT name, pathname FROM events_v2 LIMIT 1"))

        assert answer["data"] == [{"name": "pageview", "pathname": "/hello"}]

    def test_sql_takes_any_format(self, gatehouse: GatehouseProcess) -> None:
        """``--format`` is handed on to ClickHouse."""
        assert (
            gatehouse.run("sql", "--format", "CSVWithNames", "SELECT 1 AS one, 'a' AS a")
            == '"one","a"\n1,"a"\n'
        )

    def test_sql_error_is_clickhouses_own_sentence(self, gatehouse: GatehouseProcess) -> None:
        """What is wrong with a statement is said, on stderr, with exit code 1."""
        with pytest.raises(AssertionError, match="no_such_column"):
            gatehouse.run("sql", "SELECT no_such_column FROM events_v2")

    def test_check_finds_no_problem(self, gatehouse: GatehouseProcess) -> None:
        """Taken ports and an open store are as they should be."""
        findings = json.loads(gatehouse.run("check", "--json"))

        assert [finding for finding in findings if finding["level"] == "problem"] == []

    def test_only_the_owner_can_open_folder_socket_and_tokens(self, gatehouse: GatehouseProcess) -> None:
        """Who can open the socket may do everything."""
        modes = {
            name: stat.S_IMODE((gatehouse.data_dir / name).stat().st_mode)
            for name in (
                ".",
                "admin.sock",
                "admin-token",
                "admin-tokens.json",
                "admin-tokens.lock",
                "sender-token",
                "sites.sqlite3",
            )
        }

        assert modes == {
            ".": 0o700,
            "admin.sock": 0o600,
            "admin-token": 0o600,
            "admin-tokens.json": 0o600,
            "admin-tokens.lock": 0o600,
            "sender-token": 0o600,
            "sites.sqlite3": 0o600,
        }

    def test_token_is_good_at_once_and_revoked_at_once(self, gatehouse: GatehouseProcess) -> None:
        """The running service follows what the command does to the list, without a restart."""
        token = gatehouse.run("token", "create", "dashboard").strip()
        before = gatehouse.admin_status(token)
        gatehouse.run("token", "revoke", "dashboard")

        assert (before, gatehouse.admin_status(token)) == (200, 401)

    def test_second_service_on_the_folder_is_refused(self, gatehouse: GatehouseProcess) -> None:
        """The journal has one writer."""
        with pytest.raises(AssertionError, match="one service at a time"):
            gatehouse.run("serve")

    def test_log_says_where_it_listens(self, gatehouse: GatehouseProcess) -> None:
        """The first lines name both addresses."""
        lines = [json.loads(line) for line in gatehouse.log().splitlines()]

        assert next(line["url"] for line in lines if "url" in line) == gatehouse.url


class TestStop:
    def test_sigterm_inserts_what_is_held_and_ends_well(self, tmp_path: Path) -> None:
        """After an orderly stop nothing waits in the journal, and no socket is left behind."""
        with running_gatehouse(tmp_path, {"store": "embedded", "block_max_age_s": "3600"}) as gatehouse:
            gatehouse.add_site("example.com")
            gatehouse.post_event(HELLO)

            assert gatehouse.stop() == 0
            assert list((gatehouse.data_dir / "journal").glob("*.gh")) == []
            assert not (gatehouse.data_dir / "admin.sock").exists()
            assert gatehouse.run("sql", "--format", "TSV", "SELECT count() FROM events_v2") == "1\n"


class TestStart:
    def test_token_stays_good_when_its_file_is_gone(self, tmp_path: Path) -> None:
        """Nothing in the folder tells the token any more, and the service still knows it after a restart."""
        with running_gatehouse(tmp_path, {"store": "embedded"}) as gatehouse:
            token = (gatehouse.data_dir / "admin-token").read_text().strip()
            (gatehouse.data_dir / "admin-token").unlink()
            gatehouse.stop()
            gatehouse.start()

            assert gatehouse.admin_status(token) == 200
            assert not (gatehouse.data_dir / "admin-token").exists()
            assert [
                file.name
                for file in gatehouse.data_dir.iterdir()
                if file.is_file() and token.encode() in file.read_bytes()
            ] == []

    def test_taken_port_is_told_in_a_sentence(self, tmp_path: Path) -> None:
        """The service does not start half."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            address = f"127.0.0.1:{other.getsockname()[1]}"
            gatehouse = GatehouseProcess(tmp_path, {"store": "embedded", "listen": address})

            with pytest.raises(AssertionError, match=f"gatehouse: {address} is taken by another program"):
                gatehouse.run("serve")

    def test_database_that_is_away_does_not_keep_it_from_starting(self, tmp_path: Path) -> None:
        """Events wait in the journal; the tables are made and filled once the server is back."""
        with running_server(tmp_path / "clickhouse") as clickhouse:
            clickhouse.query("CREATE DATABASE late")
            clickhouse.kill()
            settings = {"store": "native", "clickhouse_url": f"{clickhouse.url}/late"}
            with running_gatehouse(tmp_path / "service", settings) as gatehouse:
                gatehouse.add_site("example.com")
                reply = gatehouse.post_event(HELLO)
                clickhouse.restart()
                gatehouse.flush()

                assert reply.status == 202
                assert clickhouse.query("SELECT pathname FROM events_v2", database="late") == "/hello"

    def test_tables_that_cannot_take_the_rows_stop_the_start(self, tmp_path: Path) -> None:
        """What does not fit is named, before anything is taken."""
        with running_server(tmp_path / "clickhouse") as clickhouse:
            clickhouse.query("CREATE DATABASE odd")
            clickhouse.query("CREATE TABLE odd.events_v2 (timestamp String) ENGINE = Memory")
            settings = {"store": "native", "clickhouse_url": f"{clickhouse.url}/odd"}
            gatehouse = GatehouseProcess(tmp_path, settings)

            with pytest.raises(AssertionError, match="timestamp as String, but it must be DateTime"):
                gatehouse.run("serve")


class TestFirstSteps:
    def test_first_steps_name_address_site_and_folder(self) -> None:
        """What is printed can be pasted."""
        shown = describe_first_steps(Config(data_dir=Path("my data")), "http://127.0.0.1:9", "example.com")

        assert "curl -i http://127.0.0.1:9/api/event" in shown
        assert '"d":"example.com"' in shown
        assert "--data-dir 'my data' sql" in shown
