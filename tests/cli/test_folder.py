"""The data folder: what telemetry calls the service on it."""

import uuid
from pathlib import Path

import pytest

from service.cli.folder import INSTANCE_FILE, name_instance
from service.errors import ConfigError


def test_instance_keeps_its_name(tmp_path: Path) -> None:
    """The first start makes an id, later ones find it; another folder has another."""
    first, again = name_instance(tmp_path), name_instance(tmp_path)
    (tmp_path / "other").mkdir()

    assert str(uuid.UUID(first)) == first == again
    assert name_instance(tmp_path / "other") != first
    assert {path.name for path in tmp_path.iterdir()} == {INSTANCE_FILE, "other"}


@pytest.mark.parametrize("damaged", [b"", b"half an i", b"\xff\xfe"])
def test_damaged_name_is_made_anew(damaged: bytes, tmp_path: Path) -> None:
    """What is no id does not keep the service from its start."""
    (tmp_path / INSTANCE_FILE).write_bytes(damaged)

    assert name_instance(tmp_path) == name_instance(tmp_path)


def test_name_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """The sentence names the file."""
    (tmp_path / INSTANCE_FILE).mkdir()

    with pytest.raises(ConfigError, match=INSTANCE_FILE):
        name_instance(tmp_path)
