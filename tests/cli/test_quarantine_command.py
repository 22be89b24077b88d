"""``gatehouse quarantine``: on the data folder itself and through a running service."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.clickhouse.embedded import EmbeddedStore
from service.clickhouse.migrations import migrate
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession
from service.ingestion.verdict import BUFFERED
from service.journal import locked
from service.quarantine import Quarantine, read_rows
from service.wire.refused_row import RefusedRow
from tests.support.admin_server import admin_server
from tests.support.folders import short_folder
from tests.support.rows import EMPTY_EVENT, FULL_EVENT, FULL_SESSION

BLOCK = "0" * 32
OTHER = "f" * 32
ROWS = (
    RefusedRow(BLOCK, "events", 3, 1_795_000_000_000, "why [bold]" + "x" * 90, 0, FULL_EVENT),
    RefusedRow(BLOCK, "events", 4, 1_795_000_000_000, "why", 0, EMPTY_EVENT),
    RefusedRow(OTHER, "sessions", 1, 1_795_000_001_000, "why not", -1, FULL_SESSION),
)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder in which no service runs."""
    with short_folder() as folder:
        yield folder


def run(folder: Path, *arguments: str, answer: str | None = None) -> Result:
    """Run ``gatehouse quarantine`` on a data folder."""
    return CliRunner().invoke(app, ["--data-dir", str(folder), "quarantine", *arguments], input=answer)


def fill(folder: Path) -> None:
    """Put three rows into the folder's quarantine."""
    quarantine = Quarantine.open(folder / "quarantine", max_bytes=10**6, sync=False)
    for row in ROWS:
        quarantine.add(row, created_ms=1 if row.block == BLOCK else 2)


def left(folder: Path) -> list[str]:
    """The ids of the rows that are there."""
    return [row.id for row in read_rows(folder / "quarantine")]


def test_listed(data_dir: Path) -> None:
    """A line a row, oldest block first; JSON for scripts; and nothing in an empty one."""
    empty = run(data_dir, "list")
    fill(data_dir)
    lines = run(data_dir, "list").output.splitlines()
    cut = run(data_dir, "list", "--limit", "1")
    found = json.loads(run(data_dir, "list", "--json").output)

    assert "empty" in empty.output
    assert lines[2].split()[:2] == [f"{BLOCK}-events-3", "2026-11-18"]
    assert "why [bold]" in lines[2]
    assert "1 of 3 rows" in cut.output
    assert [(row["id"], row["table"], row["reason"]) for row in found] == [
        (row.id, row.table, row.reason) for row in ROWS
    ]


def test_shown(data_dir: Path) -> None:
    """All values of a row under the columns' names, found by the beginning of its id."""
    fill(data_dir)
    [state] = json.loads(run(data_dir, "show", "ff", "--json").output)
    text = run(data_dir, "show", f"{BLOCK}-events-3").output
    missing = run(data_dir, "show", "abc")

    assert (state["values"]["sign"], state["values"]["pageviews"]) == (-1, 2)
    assert "refused at 2026-11-18 11:06:40: why [bold]" in text
    assert "shop.example.com" in text
    assert (missing.exit_code, "begins with abc" in missing.output) == (1, True)


def test_dropped(data_dir: Path) -> None:
    """Rows go for good once the question is answered; a block's id names all its rows."""
    fill(data_dir)
    refused = run(data_dir, "drop", BLOCK, answer="n\n")
    before = left(data_dir)
    dropped = run(data_dir, "drop", BLOCK, answer="y\n")

    assert (refused.exit_code, len(before)) == (1, 3)
    assert (dropped.exit_code, "2 rows dropped" in dropped.output) == (0, True)
    assert left(data_dir) == [ROWS[2].id]


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_nothing_named(data_dir: Path, command: str) -> None:
    """Without ids and without --all nothing is done; an empty quarantine is said to be empty."""
    fill(data_dir)
    unnamed = run(data_dir, command)

    assert unnamed.exit_code == 2
    assert len(left(data_dir)) == 3
    assert run(data_dir, "drop", "--all", "--yes").exit_code == 0
    assert "The quarantine is empty" in run(data_dir, command, "--all").output


def test_locked(data_dir: Path) -> None:
    """While a process owns the journal and does not answer, nothing is changed."""
    fill(data_dir)
    with locked(data_dir / "journal"):
        dropped = run(data_dir, "drop", "--all", "--yes")

    assert (dropped.exit_code, "in use by process" in dropped.output) == (1, True)
    assert len(left(data_dir)) == 3


def test_retried_without_a_service(data_dir: Path) -> None:
    """What the tables take now is stored and leaves; what they refuse stays, and the exit code says so."""
    fill(data_dir)
    asyncio.run(_prepare(data_dir, "ALTER TABLE events_v2 ADD CONSTRAINT named CHECK hostname != ''"))
    first = run(data_dir, "retry", "--all", "--json")
    between = left(data_dir)
    asyncio.run(_prepare(data_dir, "ALTER TABLE events_v2 DROP CONSTRAINT named"))
    second = run(data_dir, "retry", "--all")

    assert (first.exit_code, json.loads(first.output)["stored"]) == (1, 2)
    assert "Constraint `named`" in json.loads(first.output)["refused"][ROWS[1].id]
    assert between == [ROWS[1].id]
    assert (second.exit_code, second.output) == (0, "1 row stored, 0 refused again.\n")
    assert left(data_dir) == []
    assert asyncio.run(_prepare(data_dir, "SELECT 1")) == (2, 1)


async def _prepare(folder: Path, statement: str) -> tuple[object, object]:
    """Migrate the embedded store, run a statement, and count events and session rows."""
    store = EmbeddedStore(folder / "clickhouse")
    try:
        await migrate(store, cluster=None)
        await store.execute(statement)
        [events] = await store.query("SELECT count() AS rows FROM events_v2")
        [sessions] = await store.query("SELECT count() AS rows FROM sessions_v2")
    finally:
        await store.close()
    return events["rows"], sessions["rows"]


def _is_poison(row: ClickhouseEvent | ClickhouseSession) -> bool:
    return isinstance(row, ClickhouseEvent) and row.pathname == "/poison"


def test_through_a_running_service(data_dir: Path) -> None:
    """The service retries and drops what it owns, and its figures follow."""

    async def play() -> None:
        async with admin_server(data_dir, socket=data_dir / "admin.sock") as server:
            running = server.running
            running.store.refuses = _is_poison
            for visitor in (1, 2):
                request = running.request(pathname="/poison", visitor=visitor)
                assert await running.send(request) == [BUFFERED]
            await running.system.flush()
            assert running.system.statistics["quarantine_rows"] == 2
            [first, second] = left(data_dir)

            refused = await asyncio.to_thread(run, data_dir, "retry", first)
            running.store.refuses = lambda _: False
            stored = await asyncio.to_thread(run, data_dir, "retry", first)
            dropped = await asyncio.to_thread(run, data_dir, "drop", second, "--yes")

            assert (refused.exit_code, "0 rows stored, 1 refused again" in refused.output) == (1, True)
            assert (stored.exit_code, stored.output) == (0, "1 row stored, 0 refused again.\n")
            assert (dropped.exit_code, dropped.output) == (0, "1 row dropped.\n")
            assert [event.pathname for event in running.store.events] == ["/poison"]
            assert running.system.statistics["quarantine_rows"] == 0

    asyncio.run(play())
