"""The root command: global options, help, version, and how errors leave the program."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import __version__
from service.cli.main import app

COMMANDS = ("serve", "migrate", "check", "sites", "shields", "goals", "token", "sql", "version")


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A command line in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return CliRunner()


class TestHelp:
    def test_without_a_command_the_help_lists_all_of_them(self, cli: CliRunner) -> None:
        """Who types only the name is told what there is."""
        shown = cli.invoke(app, []).output

        assert [name for name in COMMANDS if not re.search(rf"│ {name} ", shown)] == []

    @pytest.mark.parametrize("command", [name for name in COMMANDS if name != "version"])
    def test_help_of_a_command_shows_how_it_is_used(self, cli: CliRunner, command: str) -> None:
        """Every command's help, or its group's commands, can be read without a configuration."""
        result = cli.invoke(app, [command, "--help"], env={"GATEHOUSE_NONSENSE": "1"})

        assert result.exit_code == 0
        assert f"gatehouse {command}" in result.output or f"root {command}" in result.output


class TestVersion:
    def test_version_names_gatehouse_first(self, cli: CliRunner) -> None:
        """The first line is what a bug report needs first."""
        assert cli.invoke(app, ["version"]).output.splitlines()[0] == f"gatehouse {__version__}"

    def test_version_as_json_names_the_parts(self, cli: CliRunner) -> None:
        """Scripts get names and numbers."""
        found = json.loads(cli.invoke(app, ["version", "--json"]).output)

        assert found["gatehouse"] == __version__
        assert {"python", "aiohttp", "msgspec"} <= found.keys()


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "environ", "sentence"),
        [
            (
                ["--set", "durability=never", "migrate"],
                {},
                'gatehouse: --durability is "never"; allowed: `fsync` or `memory` or `os`.',
            ),
            (
                ["migrate"],
                {"GATEHOUSE_STOER": "native"},
                "gatehouse: environment variable GATEHOUSE_STOER: "
                'there is no setting "stoer"; did you mean "store"?',
            ),
            (
                ["--config", "missing.toml", "migrate"],
                {},
                "gatehouse: missing.toml: there is no such configuration file.",
            ),
            (
                ["--set", "durability", "migrate"],
                {},
                "gatehouse: --set durability: write it as NAME=VALUE, for example --set durability=fsync.",
            ),
        ],
    )
    def test_wrong_setting_is_one_sentence_and_exit_code_2(
        self, cli: CliRunner, arguments: list[str], environ: dict[str, str], sentence: str
    ) -> None:
        """No traceback: what is wrong, where it stands, what is allowed."""
        result = cli.invoke(app, arguments, env=environ)

        assert result.exit_code == 2
        assert result.stderr == sentence + "\n"

    def test_data_folder_that_is_a_file_is_a_wrong_setting(self, cli: CliRunner) -> None:
        """The sentence says which setting it is and why it cannot be used."""
        Path("data").write_text("")
        result = cli.invoke(app, ["sites", "list"])

        assert result.exit_code == 2
        assert result.stderr == "gatehouse: data_dir is data, which cannot be used: File exists.\n"

    def test_database_that_is_away_is_one_sentence_and_exit_code_1(self, cli: CliRunner) -> None:
        """An error that is no wrong setting has exit code 1."""
        result = cli.invoke(app, ["--set", "store=native", "--set", f"clickhouse_url={NOBODY}", "migrate"])

        assert result.exit_code == 1
        assert result.stderr.startswith("gatehouse: ")
        assert "Traceback" not in result.stderr


class TestOptions:
    def test_data_dir_is_a_setting_like_any_other(self, cli: CliRunner) -> None:
        """``--data-dir`` says where everything is kept."""
        cli.invoke(app, ["--data-dir", "elsewhere", "sites", "add", "example.com"])

        assert Path("elsewhere/sites.sqlite3").exists()

    def test_config_names_the_file(self, cli: CliRunner) -> None:
        """``--config`` reads another file than gatehouse.toml."""
        Path("other.toml").write_text('data_dir = "from-file"')
        cli.invoke(app, ["--config", "other.toml", "sites", "list"])

        assert Path("from-file/sites.sqlite3").exists()

    def test_later_set_wins(self, cli: CliRunner) -> None:
        """Two values for one setting: the last one counts."""
        cli.invoke(app, ["--set", "data_dir=one", "--set", "data_dir=two", "sites", "list"])

        assert [path.name for path in Path().iterdir()] == ["two"]


NOBODY = "clickhouse://127.0.0.1:1/nobody"
"""An address at which no ClickHouse answers."""
