"""The files that hold the service's secrets."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.errors import ConfigError
from service.http.tokens import ensure_token, read_token


def test_first_start_makes_a_token(tmp_path: Path) -> None:
    """The file is made with a long random token, for its owner only, and nothing else is left behind."""
    path = tmp_path / "admin-token"
    token = ensure_token(path)
    assert len(token) >= 43
    assert path.read_text() == token + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_later_starts_keep_the_token(tmp_path: Path) -> None:
    """The token stays the same, and a file that was open to others is closed to them."""
    path = tmp_path / "admin-token"
    token = ensure_token(path)
    path.chmod(0o644)
    assert ensure_token(path) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_tokens_differ(tmp_path: Path) -> None:
    """Each file has a token of its own."""
    assert ensure_token(tmp_path / "admin-token") != ensure_token(tmp_path / "sender-token")


def test_starts_at_once_agree(tmp_path: Path) -> None:
    """However many starts make the token at once, all of them read the same."""
    with ThreadPoolExecutor(16) as starts:
        tokens = list(starts.map(lambda _: ensure_token(tmp_path / "admin-token"), range(64)))
    assert len(set(tokens)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["admin-token"]


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b" \n", "is empty"), (b"\xff\n", "no token")]
)
def test_useless_file_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    """A file without a token stops the start with a sentence."""
    path = tmp_path / "admin-token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        ensure_token(path)


def test_missing_file_is_told(tmp_path: Path) -> None:
    """Reading a token that was never made says which file is missing."""
    with pytest.raises(ConfigError, match="admin-token cannot be read: No such file"):
        read_token(tmp_path / "admin-token")


def test_missing_folder_is_told(tmp_path: Path) -> None:
    """A token cannot be made in a folder that is not there."""
    with pytest.raises(ConfigError, match="cannot be made: No such file"):
        ensure_token(tmp_path / "nowhere" / "admin-token")
