"""The secret of trusted senders, and the first one of the admin API: a line in a file for its owner.

The first start makes them. Two starts at once agree on one: a token is written to a file of its own first and
gets its name by a link, which fails when the name is taken, so nobody ever reads half a token.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from service.errors import ConfigError

ADMIN_TOKEN_FILE: Final = "admin-token"  # noqa: S105 - a file's name
SENDER_TOKEN_FILE: Final = "sender-token"  # noqa: S105 - a file's name

TOKEN_BYTES: Final = 32
"""Security limit: what cannot be guessed."""


def ensure_token(path: Path) -> str:
    """Give the token kept in the file, making file and token if there is none. Raises ConfigError."""
    try:
        if not path.exists():
            _make_token(path)
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"The token file {path} cannot be made: {error.strerror}.") from error
    return read_token(path)


def read_token(path: Path) -> str:
    """Give the token kept in the file. Raises ConfigError when it cannot be read or holds none."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigError(f"The token file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The token file {path} holds something that is no token.") from error
    if not token:
        raise ConfigError(f"The token file {path} is empty; delete it and start again.")
    return token


def _make_token(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        # Another start was quicker; its token is the one.
        return
    finally:
        draft.unlink()
