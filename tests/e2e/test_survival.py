"""What was acknowledged is stored once, whatever dies in between: the service, the database, or both."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clickhouse import ClickhouseServer, running_server
from tests.support.server import SITE, GatehouseProcess, eventually, running_gatehouse

EVENTS = 60
VISITORS = 7
LATE = {"block_max_age_s": "3600"}
"""Nothing is inserted by age: all of it is still in the journal when something dies."""


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickhouseServer]:
    """A ClickHouse that only this test uses, and may kill."""
    with running_server(tmp_path / "clickhouse") as server:
        server.query("CREATE DATABASE gatehouse")
        yield server


def native(clickhouse: ClickhouseServer) -> dict[str, str]:
    """The settings that store into this server."""
    return {"store": "native", "clickhouse_url": f"{clickhouse.url}/gatehouse"}


def send(gatehouse: GatehouseProcess, first: int, count: int) -> None:
    """Send numbered events of some visitors, each of which is acknowledged."""
    for number in range(first, first + count):
        event = {"n": "pageview", "u": f"https://{SITE}/{number}", "d": SITE}
        reply = gatehouse.post_event(event, {"x-forwarded-for": f"203.0.113.{number % VISITORS}"})
        assert (reply.status, reply.headers.get("x-gatehouse-dropped")) == (202, None)


def engage(gatehouse: GatehouseProcess) -> None:
    """Send an engagement of each visitor, which is acknowledged only if the visit goes on."""
    for visitor in range(VISITORS):
        event = {"n": "engagement", "u": f"https://{SITE}/0", "d": SITE, "sd": 50, "e": 1000, "v": 24}
        reply = gatehouse.post_event(event, {"x-forwarded-for": f"203.0.113.{visitor}"})
        assert (reply.status, reply.headers.get("x-gatehouse-dropped")) == (202, None)


def is_settled(gatehouse: GatehouseProcess, clickhouse: ClickhouseServer) -> bool:
    """Whether the database has taken all that waited for it.

    Starts it again when it died of its client's death: the engine that stands in for a server may.
    """
    if not clickhouse.running:
        clickhouse.restart()
    waiting: int = gatehouse.admin("GET", "/api/v1/status")["statistics"]["events_waiting"]
    return waiting == 0


def is_ready(gatehouse: GatehouseProcess) -> bool:
    """Whether it takes events."""
    return gatehouse.get("/api/system/health/ready").status == 200


def each_once(count: int) -> list[dict[str, Any]]:
    """What the pages below look like when each numbered event is stored once."""
    return [{"page": f"/{number}"} for number in range(count)]


PAGES = (
    "SELECT pathname AS page FROM events_v2 WHERE name = 'pageview' ORDER BY toUInt32(substring(pathname, 2))"
)
VISITS = "SELECT toInt64(sum(sign)) AS visits, toInt64(sum(sign * events)) AS events FROM sessions_v2"


def send_again(gatehouse: GatehouseProcess) -> list[bool]:
    """Send all numbered events under keys of their own; gives which of them were stored before."""
    told = []
    for number in range(EVENTS):
        event = {"n": "pageview", "u": f"https://{SITE}/{number}", "d": SITE}
        reply = gatehouse.post_event(event, {"x-idempotency-key": f"event-{number}"})
        assert (reply.status, reply.headers.get("x-gatehouse-dropped")) == (202, None)
        told.append("x-gatehouse-repeated" in reply.headers)
    return told


class TestServiceKilled:
    @pytest.mark.parametrize("are_inserted", [False, True], ids=["in the journal", "in ClickHouse"])
    def test_senders_try_again(
        self, are_inserted: bool, clickhouse: ClickhouseServer, tmp_path: Path
    ) -> None:
        """Who has lost the answers to kill -9 sends all of it again under the same keys: stored once."""
        with running_gatehouse(tmp_path / "gatehouse", native(clickhouse) | LATE) as gatehouse:
            gatehouse.add_site(SITE)
            before = send_again(gatehouse)
            if are_inserted:
                gatehouse.flush()
            gatehouse.kill()
            gatehouse.start()
            after = send_again(gatehouse)
            gatehouse.flush()

            assert (before, after) == ([False] * EVENTS, [True] * EVENTS)
            assert gatehouse.query(PAGES) == each_once(EVENTS)

    @pytest.mark.parametrize("store", ["native", "embedded"])
    def test_before_the_insert(self, store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        """What was acknowledged and not yet inserted at kill -9 is stored once by the next process."""
        settings = (
            {"store": "embedded"} if store == "embedded" else native(request.getfixturevalue("clickhouse"))
        )
        with running_gatehouse(tmp_path / "gatehouse", settings | LATE) as gatehouse:
            gatehouse.add_site(SITE)
            send(gatehouse, 0, EVENTS)
            gatehouse.kill()
            gatehouse.start()
            gatehouse.flush()

            assert gatehouse.query(PAGES) == each_once(EVENTS)
            assert gatehouse.query(VISITS) == [{"visits": VISITORS, "events": EVENTS}]

    def test_while_inserting(self, clickhouse: ClickhouseServer, tmp_path: Path) -> None:
        """Events of many small blocks are stored once each, though the service is killed among them."""
        settings = native(clickhouse) | {"block_max_rows": "3"}
        with running_gatehouse(tmp_path / "gatehouse", settings) as gatehouse:
            gatehouse.add_site(SITE)
            for round_ in range(3):
                send(gatehouse, round_ * EVENTS, EVENTS)
                gatehouse.kill()
                gatehouse.start()
            eventually(lambda: is_settled(gatehouse, clickhouse))

            assert gatehouse.query(PAGES) == each_once(3 * EVENTS)
            assert gatehouse.query(VISITS) == [{"visits": VISITORS, "events": 3 * EVENTS}]

    def test_visits_go_on(self, clickhouse: ClickhouseServer, tmp_path: Path) -> None:
        """A visit goes on over an orderly restart and two kills, also when an engagement comes first."""
        with running_gatehouse(tmp_path / "gatehouse", native(clickhouse) | LATE) as gatehouse:
            gatehouse.add_site(SITE)
            send(gatehouse, 0, EVENTS)
            gatehouse.stop()
            gatehouse.start()
            gatehouse.kill()
            gatehouse.start()
            engage(gatehouse)
            send(gatehouse, EVENTS, EVENTS)
            gatehouse.kill()
            gatehouse.start()
            engage(gatehouse)
            send(gatehouse, 2 * EVENTS, EVENTS)
            gatehouse.flush()

            assert gatehouse.query(PAGES) == each_once(3 * EVENTS)
            assert gatehouse.query(VISITS) == [{"visits": VISITORS, "events": 3 * EVENTS}]

    def test_stopped(self, clickhouse: ClickhouseServer, tmp_path: Path) -> None:
        """A service that is asked to stop inserts what it holds, and ends well."""
        with running_gatehouse(tmp_path / "gatehouse", native(clickhouse) | LATE) as gatehouse:
            gatehouse.add_site(SITE)
            send(gatehouse, 0, EVENTS)

            assert gatehouse.stop() == 0

        assert clickhouse.query("SELECT count() FROM gatehouse.events_v2") == str(EVENTS)

    def test_restarted(self, clickhouse: ClickhouseServer, tmp_path: Path) -> None:
        """An orderly restart loses nothing and splits no visit."""
        with running_gatehouse(tmp_path / "gatehouse", native(clickhouse) | LATE) as gatehouse:
            gatehouse.add_site(SITE)
            send(gatehouse, 0, EVENTS)
            gatehouse.stop()
            gatehouse.start()
            send(gatehouse, EVENTS, EVENTS)
            gatehouse.flush()

            assert gatehouse.query(PAGES) == each_once(2 * EVENTS)
            assert gatehouse.query(VISITS) == [{"visits": VISITORS, "events": 2 * EVENTS}]


class TestDatabaseKilled:
    def test_away_and_back(self, clickhouse: ClickhouseServer, tmp_path: Path) -> None:
        """Events are acknowledged while the database is away, and stored once when it is back."""
        with running_gatehouse(tmp_path / "gatehouse", native(clickhouse)) as gatehouse:
            gatehouse.add_site(SITE)
            send(gatehouse, 0, EVENTS)
            clickhouse.kill()
            send(gatehouse, EVENTS, EVENTS)
            clickhouse.restart()
            gatehouse.flush()

            assert gatehouse.query(PAGES) == each_once(2 * EVENTS)
            assert gatehouse.query(VISITS) == [{"visits": VISITORS, "events": 2 * EVENTS}]

    def test_both(self, clickhouse: ClickhouseServer, tmp_path: Path) -> None:
        """Database away, service killed and started again: it takes events at once and loses none."""
        with running_gatehouse(tmp_path / "gatehouse", native(clickhouse)) as gatehouse:
            gatehouse.add_site(SITE)
            send(gatehouse, 0, EVENTS)
            clickhouse.kill()
            send(gatehouse, EVENTS, EVENTS)
            gatehouse.kill()
            gatehouse.start()
            send(gatehouse, 2 * EVENTS, EVENTS)
            clickhouse.restart()
            eventually(lambda: is_ready(gatehouse))
            gatehouse.flush()

            assert gatehouse.query(PAGES) == each_once(3 * EVENTS)
