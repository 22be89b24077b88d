"""The tokens of the admin API: who may read, who may change. Only their SHA-256 is kept.

A token is 32 random bytes, so nobody finds it from its hash and no slow hash is needed. The list is one small
file in the data folder that is only ever replaced as a whole, under a lock: `gatehouse token` changes it
whether the service runs or not, and the service reads it again when it has changed, before its next request.

The first start makes a token with scope ``write`` and leaves it, for the owner, in a file ``admin-token``.
The service needs that file no more; another token put into it counts from the next start on, instead of the
former.
"""

import contextlib
import fcntl
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from service.errors import ConfigError, TokenInvalid
from service.http.tokens import ADMIN_TOKEN_FILE, TOKEN_BYTES, ensure_token, read_token

TOKEN_LIST_FILE: Final = "admin-tokens.json"  # noqa: S105 - a file's name
LOCK_FILE: Final = "admin-tokens.lock"
VERSION: Final = 1
MAX_TOKENS: Final = 100
"""Each request is compared with all of them."""

FIRST_TOKEN: Final = "admin-token"  # noqa: S105 - a token's name
PREFIX: Final = "gatehouse_"
"""By which programs that look for secrets in code and logs know one."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Scope(StrEnum):
    """What a token is good for; ``write`` includes ``read``."""

    READ = "read"
    WRITE = "write"


class AdminToken(Struct, frozen=True):
    """A token as it is kept: without itself. ``created_at`` is UTC epoch seconds."""

    name: str
    scope: Scope
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    created_at: int


class _TokenList(Struct, frozen=True):
    version: int
    tokens: tuple[AdminToken, ...]


class AdminTokens:
    """The tokens in force, as the running service knows them."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TOKEN_LIST_FILE
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[AdminToken, ...] = ()

    def find(self, given: str) -> AdminToken | None:
        """Give the token that this is, None when there is no such one. Raises ConfigError.

        Takes the same time whichever it is, or almost is.
        """
        self._refresh()
        digest = _digest(given)
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def _refresh(self) -> None:
        """Read the list if it is another file than before: a change replaces it."""
        try:
            now = self._path.stat()
        except OSError as error:
            raise _unreadable(self._path, error) from error
        seen = (now.st_ino, now.st_mtime_ns, now.st_size)
        if seen != self._seen:
            self._tokens = _read_list(self._path) or ()
            self._seen = seen


def prepare_admin_tokens(folder: Path, *, now: float) -> AdminTokens:
    """Give the tokens kept in the data folder, at the first start a new one. Raises ConfigError."""
    with _changing(folder):
        kept = _read_list(folder / TOKEN_LIST_FILE)
        path = folder / ADMIN_TOKEN_FILE
        if kept is None or path.exists():
            digest = _digest(ensure_token(path))
            tokens = kept or ()
            if all(token.sha256 != digest for token in tokens):
                others = tuple(token for token in tokens if token.name != FIRST_TOKEN)
                _write_list(folder, (AdminToken(FIRST_TOKEN, Scope.WRITE, digest, int(now)), *others))
    return AdminTokens(folder)


def list_tokens(folder: Path) -> tuple[AdminToken, ...]:
    """Give all tokens of the data folder, the oldest first. Raises ConfigError."""
    return _read_list(folder / TOKEN_LIST_FILE) or ()


def create_token(folder: Path, name: str, scope: Scope, *, now: float) -> str:
    """Make a token and give it; it is kept nowhere. Raises TokenInvalid and ConfigError."""
    if not _NAME.fullmatch(name):
        raise TokenInvalid(f"{name!a} is no name for a token: 1 to 64 letters, digits and . _ - are.")
    prepare_admin_tokens(folder, now=now)  # so that the first start still makes its own
    with _changing(folder):
        tokens = list_tokens(folder)
        if any(token.name == name for token in tokens):
            raise TokenInvalid(f"There is a token called {name}; revoke it or choose another name.")
        if len(tokens) >= MAX_TOKENS:
            raise TokenInvalid(f"There are {MAX_TOKENS} tokens, which is the most; revoke one first.")
        secret = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        _write_list(folder, (*tokens, AdminToken(name, scope, _digest(secret), int(now))))
    return secret


def revoke_token(folder: Path, name: str) -> None:
    """Let a token count no more, from the next request on. Raises TokenInvalid and ConfigError."""
    with _changing(folder):
        tokens = list_tokens(folder)
        revoked = next((token for token in tokens if token.name == name), None)
        if revoked is None:
            raise TokenInvalid(f"No token is called {name}; `gatehouse token list` shows all.")
        if plain_copy(folder) == revoked:
            (folder / ADMIN_TOKEN_FILE).unlink()  # before the list, or the next start would take it up again
        _write_list(folder, tuple(token for token in tokens if token is not revoked))


def plain_copy(folder: Path) -> AdminToken | None:
    """Give the token that can still be read in the file of the first start. Raises ConfigError."""
    path = folder / ADMIN_TOKEN_FILE
    if not path.exists():
        return None
    digest = _digest(read_token(path))
    return next((token for token in list_tokens(folder) if token.sha256 == digest), None)


def _digest(token: str) -> str:
    # Headers may hold any byte; what is no UTF-8 comes as surrogates and must not end in an error.
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _read_list(path: Path) -> tuple[AdminToken, ...] | None:
    """Give the tokens of the list, None when there is none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        found = msgspec.json.decode(data, type=_TokenList)
    except msgspec.DecodeError as error:
        raise ConfigError(f"The list of admin tokens {path} is damaged: {error}.") from error
    if found.version != VERSION:
        raise ConfigError(f"The list of admin tokens {path} has version {found.version}, not {VERSION}.")
    return found.tokens


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"The list of admin tokens {path} cannot be read: {error.strerror}.")


def _write_list(folder: Path, tokens: tuple[AdminToken, ...]) -> None:
    path = folder / TOKEN_LIST_FILE
    draft = path.with_suffix(".new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(
                msgspec.json.format(msgspec.json.encode(_TokenList(VERSION, tokens)), indent=2) + b"\n"
            )
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError as error:
        raise ConfigError(f"The list of admin tokens {path} cannot be written: {error.strerror}.") from error


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Keep other processes from changing the list meanwhile."""
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"The file {path} cannot be made: {error.strerror}.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
