"""``gatehouse spam update``."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.tables.spam import STORED_LIST
from tests.support.file_server import file_server


def run(folder: Path, *arguments: str) -> Result:
    """Run the command on a data folder."""
    return CliRunner().invoke(app, ["--data-dir", str(folder), *arguments])


def test_from_a_file(tmp_path: Path) -> None:
    """The list is kept in the data folder, which is made if need be."""
    file = tmp_path / "list.txt"
    file.write_text("a.example\nb.example\n")
    result = run(tmp_path / "data", "spam", "update", "--file", str(file))

    assert result.exit_code == 0
    assert "2 hosts" in result.output
    assert (tmp_path / "data" / STORED_LIST).read_text() == file.read_text()


def test_from_a_url(tmp_path: Path) -> None:
    """The list is fetched where the setting says."""
    (tmp_path / "list.txt").write_text("a.example\nb.example\n")
    with file_server(tmp_path) as url:
        result = run(tmp_path / "data", "--set", f"spam_list_url={url}/list.txt", "spam", "update")

    assert result.exit_code == 0
    assert "2 hosts" in result.output
    assert (tmp_path / "data" / STORED_LIST).read_text() == "a.example\nb.example\n"


@pytest.mark.parametrize(
    ("flags", "update", "sentence"),
    [
        ([], [], "Say where the list is to be had"),
        ([], ["--file", "none.txt"], "none.txt cannot be read: No such file"),
        (["--set", "spam_list=own.txt"], ["--file", "none.txt"], "which is used instead"),
        ([], ["--url", "http://127.0.0.1:9/list"], "127.0.0.1 cannot be fetched"),
    ],
)
def test_what_goes_wrong(tmp_path: Path, flags: list[str], update: list[str], sentence: str) -> None:
    """Each mistake is one sentence, and nothing is stored."""
    result = run(tmp_path, *flags, "spam", "update", *update)

    assert result.exit_code in (1, 2)
    assert sentence in result.output
    assert not (tmp_path / STORED_LIST).exists()
