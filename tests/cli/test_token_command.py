"""``gatehouse token``: what is printed, and what is not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.http.admin_tokens import AdminTokens, Scope

Command = Callable[..., Result]


@pytest.fixture
def gatehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments))


def test_output_of_create_is_the_token_alone(gatehouse: Command, tmp_path: Path) -> None:
    """A script takes it as it is; the words for people go to standard error. The default is to read only."""
    result = gatehouse("token", "create", "dashboard")
    found = AdminTokens(tmp_path / "data").find(result.stdout.removesuffix("\n"))

    assert result.exit_code == 0
    assert found is not None
    assert found.scope is Scope.READ
    assert result.stderr == "Token dashboard (read). Keep it now, it cannot be shown again:\n"


def test_list_shows_names_and_scopes_and_no_token(gatehouse: Command) -> None:
    """Whoever looks over the shoulder learns nothing, and the copy in plain is not forgotten."""
    token = gatehouse("token", "create", "deploy", "--scope", "write").stdout.strip()
    shown = gatehouse("token", "list").stdout
    kept = json.loads(gatehouse("token", "list", "--json").stdout)

    assert [(entry["name"], entry["scope"]) for entry in kept] == [
        ("admin-token", "write"),
        ("deploy", "write"),
    ]
    assert "deploy" in shown
    assert "admin-token can be read in data/admin-token" in shown
    assert token not in shown


def test_revoke_takes_several(gatehouse: Command) -> None:
    """What is revoked is listed no more; without any, the list says how to make one."""
    gatehouse("token", "create", "one")
    revoked = gatehouse("token", "revoke", "one", "admin-token")

    assert revoked.stdout == "Revoked one.\nRevoked admin-token.\n"
    assert gatehouse("token", "list").stdout.startswith("There are no tokens. Make one: gatehouse token")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("create", "a b"),
            "gatehouse: 'a b' is no name for a token: 1 to 64 letters, digits and . _ - are.",
        ),
        (("revoke", "nobody"), "gatehouse: No token is called nobody; `gatehouse token list` shows all."),
    ],
)
def test_mistake_is_told_in_a_sentence(gatehouse: Command, arguments: tuple[str, ...], sentence: str) -> None:
    """No traceback, exit code 1."""
    result = gatehouse("token", *arguments)

    assert (result.exit_code, result.stderr) == (1, sentence + "\n")


def test_unknown_scope_is_refused(gatehouse: Command) -> None:
    """There are two, and the option is named."""
    result = gatehouse("token", "create", "x", "--scope", "root")

    assert result.exit_code == 2
    assert "--scope" in result.stderr
