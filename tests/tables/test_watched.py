"""A table follows its files while the service runs, and keeps what it has when they are wrong."""

from pathlib import Path

import pytest

from service.errors import ConfigError
from service.tables.files import replacing
from service.tables.watched import Watched


def watch(path: Path) -> Watched[int]:
    """Follow a file that holds a number."""

    def load() -> int:
        try:
            return int(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ConfigError("no number") from None

    return Watched("number", [path], load)


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """The new table is in force at the look after the one that saw the change, not while it is written."""
    file = tmp_path / "number"
    file.write_text("1")
    watched = watch(file)
    file.write_text("20")
    await watched.refresh(0)
    assert watched.published.value == 1
    file.write_text("300")
    await watched.refresh(0)
    assert watched.published.value == 1
    await watched.refresh(0)
    assert (watched.published.value, watched.problem) == (300, None)


@pytest.mark.parametrize("change", [lambda file: file.write_text("x"), lambda file: file.unlink()])
async def test_a_wrong_file_changes_nothing(
    tmp_path: Path, change: object, caplog: pytest.LogCaptureFixture
) -> None:
    """The old table stays in force and the problem is said once, until the file is right again."""
    file = tmp_path / "number"
    file.write_text("1")
    watched = watch(file)
    assert callable(change)
    change(file)
    for _ in range(5):
        await watched.refresh(0)
    assert (watched.published.value, watched.problem) == (1, "no number")
    assert len(caplog.records) == 1

    file.write_text("22")
    await watched.refresh(0)
    await watched.refresh(0)
    assert (watched.published.value, watched.problem) == (22, None)


async def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    """Looking costs a stat: the table stays the very same object."""
    file = tmp_path / "number"
    file.write_text("100000")
    watched = watch(file)
    before = watched.published.value
    await watched.refresh(0)
    await watched.refresh(0)
    assert watched.published.value is before


def test_a_replacement_is_whole_or_not_there(tmp_path: Path) -> None:
    """An error in the middle leaves the old file and nothing beside it."""
    file = tmp_path / "folder" / "list"
    with replacing(file) as new:
        new.write_text("old")

    def fail() -> None:
        with replacing(file) as new:
            new.write_text("half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - it is our own
        fail()
    assert [path.name for path in file.parent.iterdir()] == ["list"]
    assert file.read_text() == "old"
