"""Rows that a real ClickHouse refuses, through the whole service: none lost, none twice, none held up."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clickhouse import ClickhouseServer, running_server
from tests.support.server import SITE, GatehouseProcess, eventually, running_gatehouse

ROUNDS = 4
EVENTS_A_ROUND = 40
PAGES = "SELECT pathname AS page FROM events_v2"
VISITS = "SELECT toInt64(sum(sign * events)) AS events FROM sessions_v2"


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickhouseServer]:
    """A ClickHouse that only this test uses."""
    with running_server(tmp_path / "clickhouse") as server:
        server.query("CREATE DATABASE gatehouse")
        yield server


def send(gatehouse: GatehouseProcess, pathname: str, visitor: int) -> None:
    """Send an event, which is acknowledged."""
    event = {"n": "pageview", "u": f"https://{SITE}{pathname}", "d": SITE}
    reply = gatehouse.post_event(event, {"x-forwarded-for": f"203.0.113.{visitor}"})
    assert (reply.status, reply.headers.get("x-gatehouse-dropped")) == (202, None)


def is_settled(gatehouse: GatehouseProcess, clickhouse: ClickhouseServer) -> bool:
    """Whether nothing waits any more; starts the database again when it died of its client's death."""
    if not clickhouse.running:
        clickhouse.restart()
    waiting: int = gatehouse.admin("GET", "/api/v1/status")["statistics"]["events_waiting"]
    return waiting == 0


def test_killed_among_refused_rows(clickhouse: ClickhouseServer, tmp_path: Path) -> None:
    """Killed again and again while blocks are taken apart, every row is stored or kept, and once."""
    settings = {
        "store": "native",
        "clickhouse_url": f"{clickhouse.url}/gatehouse",
        "block_max_rows": "16",
        "block_max_age_s": "0.05",
    }
    chance = random.Random(5)
    acknowledged = []
    with running_gatehouse(tmp_path / "gatehouse", settings) as gatehouse:
        gatehouse.add_site(SITE)
        for table, column in (("events_v2", "pathname"), ("sessions_v2", "exit_page")):
            clickhouse.query(
                f"ALTER TABLE {table} ADD CONSTRAINT clean CHECK NOT startsWith({column}, '/bad')",
                database="gatehouse",
            )
        for round_ in range(ROUNDS):
            for number in range(EVENTS_A_ROUND):
                kind = "bad" if chance.random() < 0.15 else "good"
                acknowledged.append(f"/{kind}/{round_}/{number}")
                send(gatehouse, acknowledged[-1], visitor=len(acknowledged))
            gatehouse.kill()
            gatehouse.start()
        eventually(lambda: is_settled(gatehouse, clickhouse))
        stored = sorted(row["page"] for row in gatehouse.query(PAGES))
        kept = json.loads(gatehouse.run("quarantine", "list", "--limit", "1000", "--json"))
        ids = [row["id"] for row in kept if row["table"] == "events"]
        pages = [
            row["values"]["pathname"]
            for row in json.loads(gatehouse.run("quarantine", "show", "--json", *ids))
        ]

        assert stored == sorted(page for page in acknowledged if page.startswith("/good"))
        assert sorted(pages) == sorted(page for page in acknowledged if page.startswith("/bad"))
        assert all("Constraint `clean`" in row["reason"] for row in kept)

        for table in ("events_v2", "sessions_v2"):
            clickhouse.query(f"ALTER TABLE {table} DROP CONSTRAINT clean", database="gatehouse")
        retried = json.loads(gatehouse.run("quarantine", "retry", "--all", "--json"))

        assert retried == {"stored": len(kept), "refused": {}}
        assert sorted(row["page"] for row in gatehouse.query(PAGES)) == sorted(acknowledged)
        assert gatehouse.query(VISITS) == [{"events": len(acknowledged)}]
        assert "empty" in gatehouse.run("quarantine", "list")
        assert "empty" in gatehouse.run("journal", "inspect")
        assert json.loads(gatehouse.run("journal", "verify", "--json"))["ok"]
