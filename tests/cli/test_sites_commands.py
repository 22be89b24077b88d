"""``gatehouse sites``, ``goals`` and ``shields``: on the data folder itself and through a running service."""

import asyncio
import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.ingestion.verdict import BUFFERED, Dropped, DropReason
from tests.support.admin_server import admin_server
from tests.support.folders import short_folder

Command = Callable[..., Result]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder in which no service runs."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def gatehouse(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, working on the data folder."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*arguments: str, answer: str | None = None) -> Result:
        return runner.invoke(app, ["--data-dir", str(data_dir), *arguments], input=answer)

    return run


@pytest.fixture
def furnished(gatehouse: Command) -> Command:
    """The command, on a folder with the site example.com."""
    assert gatehouse("sites", "add", "example.com").exit_code == 0
    return gatehouse


class TestSites:
    def test_added_site_is_listed(self, gatehouse: Command) -> None:
        """A site is added by what a person would write."""
        added = gatehouse("sites", "add", "https://www.Example.com/", "--timezone", "Europe/Tallinn")
        assert (added.exit_code, added.output) == (0, "Added example.com (site 1).\n")
        listed = gatehouse("sites", "list").output
        assert listed.splitlines()[0].split() == ["id", "domain", "timezone", "traffic"]
        assert listed.splitlines()[2].split() == ["1", "example.com", "Europe/Tallinn", "no", "limit"]

    def test_list_is_json_for_scripts(self, gatehouse: Command) -> None:
        """JSON holds every site, also more than one part of the list has."""
        for number in range(3):
            gatehouse("sites", "add", f"site{number}.example")
        found = json.loads(gatehouse("sites", "list", "--json").output)
        assert [(site["id"], site["domain"]) for site in found] == [
            (1, "site0.example"),
            (2, "site1.example"),
            (3, "site2.example"),
        ]

    def test_folder_is_made_for_the_owner_alone(self, gatehouse: Command, data_dir: Path) -> None:
        """The first site makes the data folder, if need be."""
        data_dir.rmdir()
        gatehouse("sites", "add", "example.com")
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700

    def test_empty_list_says_what_to_do(self, gatehouse: Command) -> None:
        """Without sites the list says how to add one, and its JSON is empty."""
        assert "gatehouse sites add example.com" in gatehouse("sites", "list").output
        assert json.loads(gatehouse("sites", "list", "--json").output) == []

    def test_site_is_added_with_its_limits(self, gatehouse: Command) -> None:
        """Limits may be given at once."""
        limits = ("--threshold", "10", "--scale-seconds", "5", "--accept-until", "2027-12-31")
        added = gatehouse("sites", "add", "example.com", *limits, "--json")
        assert json.loads(added.output)["limits"] == {
            "threshold": 10,
            "scale_seconds": 5,
            "accept_traffic_until": "2027-12-31",
        }

    def test_site_that_is_there_is_fine_if_missing_is_said(self, furnished: Command) -> None:
        """A script may add a site any number of times."""
        again = furnished("sites", "add", "example.com", "--if-missing")
        assert (again.exit_code, again.output) == (0, "Already there: example.com (site 1).\n")
        other = furnished("sites", "add", "other.example", "--if-missing")
        assert (other.exit_code, other.output) == (0, "Added other.example (site 2).\n")

    def test_site_is_shown_with_goals_and_shields(self, furnished: Command) -> None:
        """Everything about a site stands on one page."""
        furnished("goals", "add", "example.com", "--event", "Signup")
        furnished("shields", "add", "example.com", "ip", "10.0.0.0/8")
        furnished("sites", "set", "example.com", "--threshold", "0")
        shown = furnished("sites", "show", "example.com").output
        lines = [line.split(maxsplit=1) for line in shown.splitlines()]
        assert ["domain", "example.com"] in lines
        assert ["traffic", "blocked"] in lines
        assert ["goal", "Signup"] in lines
        assert ["address", "blocked  10.0.0.0/8"] in lines
        found = json.loads(furnished("sites", "show", "example.com", "--json").output)
        assert (found["id"], found["shields"]["ips"]) == (1, ["10.0.0.0/8"])
        assert [goal["event_name"] for goal in found["goals"]] == ["Signup"]

    def test_site_is_changed(self, furnished: Command) -> None:
        """What is named changes, the rest stays; the old domain still finds the site."""
        changed = furnished("sites", "set", "example.com", "--domain", "new.example", "--threshold", "7")
        assert changed.output == "new.example (site 1): Etc/UTC, at most 7 events in 60 s.\n"
        shown = furnished("sites", "show", "example.com").output
        assert "example.com, taken for 72 hours after the change" in shown
        furnished("sites", "set", "new.example", "--threshold", "none", "--accept-until", "2027-12-31")
        found = json.loads(furnished("sites", "show", "new.example", "--json").output)
        assert found["limits"] == {
            "threshold": None,
            "scale_seconds": 60,
            "accept_traffic_until": "2027-12-31",
        }

    def test_site_is_removed_when_the_question_is_answered(self, furnished: Command) -> None:
        """Removing asks first, unless told not to."""
        assert furnished("sites", "remove", "example.com", answer="n\n").exit_code == 1
        assert furnished("sites", "show", "example.com").exit_code == 0
        assert furnished("sites", "remove", "example.com", answer="y\n").exit_code == 0
        assert furnished("sites", "show", "example.com").exit_code == 1

    def test_domain_is_printed_as_it_is(self, gatehouse: Command) -> None:
        """A goal's name that looks like markup is text in a table, and is not cut in a pipe."""
        gatehouse("sites", "add", "example.com")
        name = "[bold]" + "x" * 150
        gatehouse("goals", "add", "example.com", "--event", "Signup", "--name", name)
        assert name in gatehouse("goals", "list", "example.com").output


class TestGoals:
    def test_goals_come_and_go(self, furnished: Command) -> None:
        """A goal is added once, listed, and removed by its number."""
        add = (
            "goals",
            "add",
            "example.com",
            "--event",
            "Purchase",
            "--currency",
            "EUR",
            "--prop",
            "plan=pro",
        )
        assert furnished(*add).output == "example.com has the goal Purchase (goal 1).\n"
        assert furnished(*add).output == "example.com has the goal Purchase (goal 1).\n"
        page = json.loads(furnished("goals", "add", "example.com", "--page", "/thanks", "--json").output)
        assert (page["id"], page["display_name"]) == (2, "Visit /thanks")
        lines = furnished("goals", "list", "example.com").output.splitlines()
        assert lines[2].split() == ["1", "Purchase", "event", "Purchase", "EUR", "plan=pro"]
        assert furnished("goals", "remove", "example.com", "1").output == "Removed goal 1 of example.com.\n"
        left = json.loads(furnished("goals", "list", "example.com", "--json").output)
        assert [goal["id"] for goal in left] == [2]

    def test_empty_list_says_what_to_do(self, furnished: Command) -> None:
        """Without goals the list says how to add one."""
        assert (
            "gatehouse goals add example.com --event Signup"
            in furnished("goals", "list", "example.com").output
        )


class TestShields:
    def test_shields_come_and_go(self, furnished: Command) -> None:
        """A rule is added, listed in canonical text, and removed however it is written."""
        added = furnished("shields", "add", "example.com", "ip", "10.0.0.1/8")
        assert added.output == "example.com keeps out ip 10.0.0.0/8.\n"
        added = furnished("shields", "add", "example.com", "hostname", "*.example.com")
        assert added.output == "example.com lets in hostname *.example.com.\n"
        lines = furnished("shields", "list", "example.com").output.splitlines()
        assert [line.split() for line in lines[2:4]] == [["hostname", "*.example.com"], ["ip", "10.0.0.0/8"]]
        assert furnished("shields", "remove", "example.com", "ip", "10.2.3.4/8").exit_code == 0
        left = json.loads(furnished("shields", "list", "example.com", "--json").output)
        assert left == {"hostnames": ["*.example.com"], "pages": [], "ips": [], "countries": []}

    def test_empty_list_says_what_to_do(self, furnished: Command) -> None:
        """Without rules the list says how to add one."""
        assert "gatehouse shields add example.com ip" in furnished("shields", "list", "example.com").output


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("sites", "show", "nobody.example"), "No site is registered as nobody.example."),
            (("goals", "list", "nobody.example"), "`gatehouse sites list` shows all of them"),
            (("shields", "list", "nobody.example"), "`gatehouse sites add nobody.example` adds it."),
            (("sites", "add", "example.com"), "This domain cannot be registered."),
            (("sites", "add", "a:b"), "domain: must not contain URI reserved characters"),
            (("sites", "add", "a.example", "--timezone", "Moon"), "timezone: is invalid"),
            (
                ("sites", "set", "example.com", "--threshold", "-1"),
                "threshold: must be empty, zero or positive",
            ),
            (("goals", "remove", "example.com", "9"), "Goal could not be found"),
            (("goals", "add", "example.com", "--page", "x"), "page_path: must start with /"),
            (("shields", "remove", "example.com", "page", "/x"), "Shield rule could not be found"),
            (("shields", "add", "example.com", "ip", "x"), "ip: is invalid"),
        ],
    )
    def test_refusal_is_a_sentence(
        self, furnished: Command, arguments: tuple[str, ...], sentence: str
    ) -> None:
        """What is refused is said in one sentence on stderr, with exit code 1."""
        result = furnished(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert sentence in result.stderr

    @pytest.mark.parametrize(
        "arguments",
        [
            ("sites", "set", "example.com"),
            ("sites", "set", "example.com", "--threshold", "many"),
            ("sites", "set", "example.com", "--accept-until", "soon"),
            ("goals", "add", "example.com"),
            ("goals", "add", "example.com", "--event", "a", "--page", "/b"),
            ("goals", "add", "example.com", "--event", "a", "--prop", "x"),
            ("goals", "remove", "example.com", "first"),
            ("shields", "add", "example.com", "moon", "x"),
        ],
    )
    def test_wrong_use_is_told(self, furnished: Command, arguments: tuple[str, ...]) -> None:
        """A command line that makes no sense is explained, with exit code 2."""
        result = furnished(*arguments)
        assert result.exit_code == 2
        assert "Usage:" in result.stderr


@pytest.mark.parametrize("group", ["sites", "goals", "shields"])
def test_every_command_teaches_by_example(gatehouse: Command, group: str) -> None:
    """The help of each command shows a whole command line that can be copied."""
    shown = gatehouse(group, "--help").output
    for name in ("add", "list", "show", "set", "remove"):
        if f"│ {name} " in shown:
            assert f"gatehouse {group} {name}" in gatehouse(group, name, "--help").output


async def test_running_service_takes_the_change_at_once(
    gatehouse: Command, data_dir: Path, tmp_path: Path
) -> None:
    """While a service runs the commands work through it, and the next event meets the change."""
    async with admin_server(tmp_path, socket=data_dir / "admin.sock") as server:
        running = server.running
        request = running.request("new.example")
        assert await running.send(request) == [Dropped(DropReason.NOT_FOUND)]
        added = await asyncio.to_thread(gatehouse, "sites", "add", "new.example")
        assert added.output == "Added new.example (site 2).\n"
        assert await running.send(request) == [BUFFERED]
        await asyncio.to_thread(gatehouse, "shields", "add", "new.example", "page", "/*")
        assert await running.send(request) == [Dropped(DropReason.SITE_PAGE_BLOCKLIST)]
        await asyncio.to_thread(gatehouse, "sites", "remove", "new.example", "--yes")
        assert await running.send(request) == [Dropped(DropReason.NOT_FOUND)]
        missing = await asyncio.to_thread(gatehouse, "sites", "show", "new.example")
        assert missing.exit_code == 1
    assert _names(data_dir) == {"admin.sock"}


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}
