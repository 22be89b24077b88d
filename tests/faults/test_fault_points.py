"""The service, killed at each step of a block's way into ClickHouse: what it acknowledged is stored once."""

import signal
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest

from tests.faults.dying import STEPS
from tests.faults.ledger import SITES, Fate, Ledger, domain_of, event_of, headers_of
from tests.faults.soak import split_visits, stored_numbers, wrong_sessions, wrong_sites
from tests.support.clickhouse import ClickhouseServer
from tests.support.server import START_LIMIT_S, GatehouseProcess, eventually

SETTINGS: Final = {"store": "native", "block_max_rows": "5"}
ENOUGH: Final = 200
"""Events, of which some come to each step."""
AFTERWARDS: Final = 12
DYING: Final = (sys.executable, "-c", "from tests.faults.dying import main; main()")


@pytest.mark.parametrize("step", STEPS)
def test_killed_at(step: str, clickhouse_server: ClickhouseServer, tmp_path: Path) -> None:
    """Killed at the step among live events, and there again while it inserts what was left, it goes on."""
    ledger = Ledger()
    database = "killed_" + step.replace("-", "_")
    clickhouse_server.query(f"CREATE DATABASE {database}")
    folder = tmp_path / "gatehouse"
    folder.mkdir()
    gatehouse = GatehouseProcess(folder, SETTINGS | {"clickhouse_url": f"{clickhouse_server.url}/{database}"})
    deaths: list[int] = []
    try:
        for visit in (3, 1):
            gatehouse.launch([*DYING, step, str(visit)])
            eventually(lambda: _is_up(gatehouse), within_s=START_LIMIT_S)
            if not deaths:
                _add_sites(gatehouse)
            _send(gatehouse, ledger, ENOUGH)
            deaths.append(gatehouse.wait_for_death())
            clickhouse_server.revive()
        gatehouse.start()
        _send(gatehouse, ledger, AFTERWARDS)
        eventually(lambda: _is_settled(gatehouse, clickhouse_server), within_s=START_LIMIT_S)
        code = gatehouse.stop()
    finally:
        gatehouse.kill()
    clickhouse_server.revive()
    found = ledger.compare(stored_numbers(clickhouse_server, database))
    wrong = (
        wrong_sites(clickhouse_server, database),
        wrong_sessions(clickhouse_server, database),
        split_visits(clickhouse_server, database),
    )
    clickhouse_server.query(f"DROP DATABASE {database} SYNC")

    assert (*deaths, code) == (-signal.SIGKILL, -signal.SIGKILL, 0)
    assert (found.lost, found.duplicated, found.unwanted) == (0, 0, 0)
    assert found.acknowledged >= AFTERWARDS
    assert wrong == (0, 0, 0)


def _add_sites(gatehouse: GatehouseProcess) -> None:
    for site in range(SITES):
        gatehouse.add_site(domain_of(site))


def _is_up(gatehouse: GatehouseProcess) -> bool:
    """Whether it takes events, or has died already."""
    try:
        return gatehouse.get("/api/system/health/ready").status == HTTPStatus.OK
    except OSError:
        return not gatehouse.is_running


def _send(gatehouse: GatehouseProcess, ledger: Ledger, count: int) -> None:
    """Send so many events, one after the other, or as many as it lives for."""
    for _ in range(count):
        number = ledger.take_number()
        try:
            reply = gatehouse.post_event(event_of(number), headers_of(number))
        except ConnectionRefusedError:
            return
        except OSError:
            ledger.note(number, Fate.UNANSWERED)
            return
        assert reply.status == HTTPStatus.ACCEPTED
        dropped = "x-gatehouse-dropped" in reply.headers
        ledger.note(number, Fate.DROPPED if dropped else Fate.ACKNOWLEDGED)


def _is_settled(gatehouse: GatehouseProcess, clickhouse: ClickhouseServer) -> bool:
    """Whether the database has taken all that waited for it."""
    clickhouse.revive()
    waiting: int = gatehouse.admin("GET", "/api/v1/status")["statistics"]["events_waiting"]
    return waiting == 0
