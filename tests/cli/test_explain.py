"""``gatehouse explain``: on the data folder itself and through a running service."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.clock import wall
from tests.support.admin_server import admin_server
from tests.support.folders import short_folder
from tests.support.running_system import FIREFOX, SetClock, running_system

PAGE = ("explain", "--url", "https://example.com/hello")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder in which no service runs."""
    with short_folder() as folder:
        yield folder


def run(data_dir: Path, *arguments: str) -> Result:
    """Run the command on a data folder."""
    return CliRunner().invoke(app, ["--data-dir", str(data_dir), *arguments])


def answer(result: Result) -> Any:
    """Give the JSON that the command printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def contents(folder: Path) -> dict[str, bytes]:
    """Give all files of a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_on_a_folder_that_is_not_there(data_dir: Path) -> None:
    """Without a data folder no site is known, and none is made."""
    result = run(data_dir / "none", *PAGE)
    assert result.exit_code == 0
    assert "example.com would be dropped: not_found" in result.stdout
    assert "gatehouse sites add example.com" in result.stdout
    assert not (data_dir / "none").exists()


def test_offline(data_dir: Path) -> None:
    """Where no service runs, the sites and rules of the folder decide, and the folder stays as it is."""
    run(data_dir, "sites", "add", "example.com")
    run(data_dir, "shields", "add", "example.com", "page", "/admin/*")
    before = contents(data_dir)
    stored = run(data_dir, *PAGE, "--user-agent", FIREFOX, "--ip", "203.0.113.7")
    dropped = run(data_dir, "explain", "--url", "https://example.com/admin/x")

    assert contents(data_dir) == before
    for part in (
        "nothing was stored",
        "(site 1) would be stored",
        "It is Firefox 145.0",
        "events_v2",
        "sign +1",
    ):
        assert part in stored.stdout
    assert "would be dropped: site_page_blocklist" in dropped.stdout
    assert "The page rule /admin/* keeps out /admin/x." in dropped.stdout


async def test_what_was_remembered_counts_offline(data_dir: Path) -> None:
    """After an orderly stop the visitor's session is the one that the next start would join."""
    async with running_system(data_dir, clock=SetClock(wall())) as running:
        await running.send(running.request(visitor=1))
        await running.system.flush()
        (event,) = running.store.events
    before = contents(data_dir)
    options = ("--ip", "203.0.113.1", "--user-agent", FIREFOX, "--json")
    found = answer(await asyncio.to_thread(run, data_dir, *PAGE, *options))

    session = found["domains"][0]["session"]
    assert (session["does"], session["session_id"]) == ("joins", str(event.session_id))
    assert found["domains"][0]["rows"]["events_v2"][0]["user_id"] == str(event.user_id)
    assert contents(data_dir) == before


def test_all_options(data_dir: Path) -> None:
    """Every option reaches the event, as a tracker would send it."""
    run(data_dir, "sites", "add", "shop.example")
    run(data_dir, "goals", "add", "shop.example", "--event", "Purchase", "--currency", "EUR")
    options = [
        "--site",
        "shop.example",
        "--domain",
        "other.example",
        "--name",
        "Purchase",
        "--no-interactive",
    ]
    options += ["--referrer", "https://www.google.com/", "--revenue", "29.90 EUR", "--json"]
    options += [
        "--props",
        '{"plan": "free", "n": 1}',
        "--prop",
        "plan=pro",
        "--header",
        f"User-Agent: {FIREFOX}",
    ]
    found = answer(run(data_dir, *PAGE, *options, "--header", "X-Forwarded-For: 203.0.113.7"))

    shop, other = found["domains"]
    (row,) = shop["rows"]["events_v2"]
    assert (other["domain"], other["reason"]) == ("other.example", "not_found")
    assert found["request"][0]["set"] == {"remote_ip": "203.0.113.7"}
    assert found["request"][1]["set"]["interactive"] is False
    assert (row["name"], row["referrer_source"], row["browser"]) == ("Purchase", "Google", "Firefox")
    assert (row["meta.key"], row["meta.value"]) == (["n", "plan"], ["1", "pro"])
    assert (row["revenue_source_amount"], row["revenue_reporting_currency"]) == ("29.900", "EUR")


def test_an_engagement(data_dir: Path) -> None:
    """An engagement has its own two figures."""
    run(data_dir, "sites", "add", "example.com")
    options = ["--name", "engagement", "--scroll-depth", "70", "--engagement-time", "3000", "--json"]
    found = answer(run(data_dir, *PAGE, *options))
    assert found["domains"][0]["reason"] == "no_session_for_engagement"
    assert "sd" in run(data_dir, *PAGE, "--name", "engagement").stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--url", "data:text/html,x", "--site", "example.com"], "gatehouse: url: scheme is not allowed."),
        (["--ip", "localhost"], "gatehouse: ip: must be an IPv4 or IPv6 address."),
        (["--name", ""], "gatehouse: event_name: can't be blank."),
        (["--header", "nonsense"], "write it as NAME: VALUE"),
        (["--prop", "nonsense"], "write it as KEY=VALUE"),
        (["--props", "[]"], "no JSON object"),
        (["--revenue", "29.90"], '"29.90 EUR"'),
        (["--referrer", "\udcff"], "not valid UTF-8"),
    ],
)
def test_bad_input(data_dir: Path, options: list[str], sentence: str) -> None:
    """A mistake is told in a sentence, with exit code 2."""
    result = run(data_dir, *PAGE, *options)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.replace("│", " ").split())


def test_nothing_a_terminal_would_obey(data_dir: Path) -> None:
    """What somebody else wrote cannot steer the terminal."""
    run(data_dir, "sites", "add", "example.com")
    result = run(data_dir, "explain", "--url", "https://example.com/%1b[31mred", "--prop", "a=\x1b[2J")
    assert result.exit_code == 0
    assert "\x1b[31m" not in result.stdout
    assert "\\x1b[31mred" in result.stdout
    assert "\\x1b[2J" in result.stdout


async def test_through_a_running_service(data_dir: Path, tmp_path: Path) -> None:
    """While a service runs its live sessions are seen, and its sentences for mistakes."""
    async with admin_server(tmp_path, socket=data_dir / "admin.sock") as server:
        running = server.running
        await running.send(running.request(visitor=1))
        options = ("--ip", "203.0.113.1", "--user-agent", FIREFOX)
        found = answer(await asyncio.to_thread(run, data_dir, *PAGE, *options, "--json"))
        words = await asyncio.to_thread(run, data_dir, *PAGE, *options)
        wrong = await asyncio.to_thread(run, data_dir, *PAGE, "--ip", "x")

    assert found["domains"][0]["session"]["does"] == "joins"
    assert "Explained by the running service" in words.stdout
    assert "sign -1" in words.stdout
    assert (wrong.exit_code, wrong.stderr) == (2, "gatehouse: ip: must be an IPv4 or IPv6 address.\n")


def test_a_folder_of_another_version(data_dir: Path) -> None:
    """Sites of an older version are not brought up to date by a mere question."""
    (data_dir / "sites.sqlite3").touch()
    result = run(data_dir, *PAGE)
    assert (result.exit_code, "another version" in result.stderr) == (1, True)
    assert contents(data_dir) == {"sites.sqlite3": b""}
