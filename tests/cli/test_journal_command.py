"""``gatehouse journal``: what it says of whole, torn and damaged journals, and what it gets out of them."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.clickhouse.embedded import EmbeddedStore
from service.clickhouse.migrations import migrate
from service.ingestion.rows import Entry
from service.journal import Journal, locked
from service.quarantine import read_rows
from tests.support.entries import make_entry
from tests.support.folders import short_folder

NOW = 1_795_000_000.0


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder in which no service runs."""
    with short_folder() as folder:
        yield folder


def run(folder: Path, *arguments: str) -> Result:
    """Run ``gatehouse journal`` on a data folder."""
    return CliRunner().invoke(app, ["--data-dir", str(folder), "journal", *arguments])


def fill(folder: Path, *blocks: list[Entry]) -> list[Path]:
    """Leave these blocks in the folder's journal, as a killed service does; gives their files."""
    journal = Journal.open(folder / "journal", durability="os", max_bytes=10**7, now=lambda: NOW)
    for entries in blocks:
        for entry in entries:
            journal.append([entry])
        journal.rotate()
    journal.close()
    return sorted((folder / "journal").glob("*.gh"))


def visits(first: int, count: int) -> list[Entry]:
    """Entries of so many visitors with one pageview each."""
    return [make_entry(session_id=number, pathname=f"/{number}") for number in range(first, first + count)]


def test_empty(data_dir: Path) -> None:
    """A journal that is not there, or holds nothing, is fine."""
    assert "The journal is empty" in run(data_dir, "inspect").output
    assert run(data_dir, "verify").exit_code == 0
    assert run(data_dir, "export").output == ""
    assert json.loads(run(data_dir, "inspect", "--json").output) == {"segments": [], "damaged": []}


def test_inspected(data_dir: Path) -> None:
    """A line a block with its id, its events and its bytes, and the sum; the same as JSON."""
    files = fill(data_dir, visits(0, 2), visits(2, 3))
    lines = run(data_dir, "inspect").output.splitlines()
    found = json.loads(run(data_dir, "inspect", "--json").output)["segments"]
    size = sum(file.stat().st_size for file in files)

    assert lines[2].split()[0] == files[0].stem.partition("-")[2]
    assert lines[-1] == f"2 blocks, 5 events, {size:,} bytes."
    assert [(one["file"], one["records"], one["problem"]) for one in found] == [
        (files[0].name, 2, ""),
        (files[1].name, 3, ""),
    ]
    assert found[0]["created"] == "2026-11-18 11:06:40"


@pytest.mark.parametrize(
    ("harm", "problem", "records"),
    [
        (lambda content: content[:-1], "torn", 1),
        (lambda content: content[:-1] + b"\x00", "damaged", 1),
        (lambda content: b"x" + content[1:], "not a segment", 0),
    ],
)
def test_harmed(data_dir: Path, harm: object, problem: str, records: int) -> None:
    """What cannot be read is named with how much of it, changes nothing, and gives exit code 1."""
    files = fill(data_dir, visits(0, 2), visits(2, 2))
    harmed = harm(files[0].read_bytes())  # type: ignore[operator]  # a function of bytes
    files[0].write_bytes(harmed)
    verified = run(data_dir, "verify")
    found = json.loads(run(data_dir, "verify", "--json").output)
    inspected = run(data_dir, "inspect")

    assert (verified.exit_code, run(data_dir, "inspect").exit_code) == (1, 0)
    assert f"{files[0].name}: " in verified.output
    assert "1 of 2 segments are whole" in verified.output
    assert (found["ok"], found["segments"]) == (False, 2)
    assert [one["records"] for one in found["bad"]] == [records]
    assert problem in found["bad"][0]["problem"]
    assert "cannot be read" in inspected.output
    assert files[0].read_bytes() == harmed


def test_exported(data_dir: Path) -> None:
    """Every row that would be inserted, one a line, under the names of the columns."""
    first, _ = fill(data_dir, visits(0, 2), visits(2, 1))
    lines = [json.loads(line) for line in run(data_dir, "export").output.splitlines()]
    events = run(data_dir, "export", "--table", "events", "--block", first.stem.partition("-")[2][:20])

    assert [(line["table"], line["row"]) for line in lines] == [
        ("events", 0),
        ("events", 1),
        ("sessions", 0),
        ("sessions", 1),
        ("events", 0),
        ("sessions", 0),
    ]
    assert [line["values"]["pathname"] for line in lines if line["table"] == "events"] == ["/0", "/1", "/2"]
    assert lines[2]["values"]["sign"] == 1
    assert [json.loads(line)["values"]["pathname"] for line in events.output.splitlines()] == ["/0", "/1"]


def test_replayed(data_dir: Path) -> None:
    """What waits is inserted without the service: good rows once, bad ones into the quarantine."""
    bad = make_entry(session_id=9, pathname="/bad")
    bad = replace(bad, event=replace(bad.event, scroll_depth=256))
    fill(data_dir, visits(0, 3), [*visits(3, 2), bad], *(visits(number, 1) for number in range(5, 11)))
    with locked(data_dir / "journal"):
        refused = run(data_dir, "replay")
    asyncio.run(_stored(data_dir))
    done = run(data_dir, "replay", "--json")
    again = run(data_dir, "replay")

    assert (refused.exit_code, "stop it to do it here" in refused.output) == (1, True)
    assert (done.exit_code, json.loads(done.output)) == (
        0,
        {"blocks": 8, "events": 11, "session_rows": 12, "quarantined": 1, "waiting": 0, "problem": ""},
    )
    assert again.output == "0 blocks with 0 events are in ClickHouse.\n"
    assert asyncio.run(_stored(data_dir)) == sorted(f"/{number}" for number in range(11))
    assert [row.table for row in read_rows(data_dir / "quarantine")] == ["events"]
    assert list((data_dir / "journal").glob("0*")) == []


def test_replayed_with_a_full_quarantine(data_dir: Path) -> None:
    """A block with rows that have no room waits, and says so; what is good is stored."""
    bad = make_entry(session_id=9)
    bad = replace(bad, event=replace(bad.event, scroll_depth=256), session=None)
    fill(data_dir, [*visits(0, 1), *[bad] * 30])
    asyncio.run(_stored(data_dir))
    arguments = ["--data-dir", str(data_dir), "--set", "quarantine_max_bytes=1024", "journal", "replay"]
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 1
    assert "1 blocks wait in the journal: The quarantine is full" in done.output
    assert "rows are refused" in run(data_dir, "inspect").output
    assert asyncio.run(_stored(data_dir)) == ["/0"]


def test_replayed_without_tables(data_dir: Path) -> None:
    """Without tables the sentence says what makes them, and nothing is lost."""
    fill(data_dir, visits(0, 1))
    done = run(data_dir, "replay")

    assert (done.exit_code, "gatehouse migrate" in done.output) == (1, True)
    assert "1 blocks, 1 events" in run(data_dir, "inspect").output


async def _stored(folder: Path) -> list[object]:
    """Make the embedded store's tables and give the pages that are in them."""
    store = EmbeddedStore(folder / "clickhouse")
    try:
        await migrate(store, cluster=None)
        return [row["pathname"] for row in await store.query("SELECT pathname FROM events_v2 ORDER BY 1")]
    finally:
        await store.close()
