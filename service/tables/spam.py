"""The list of referrer spam in force, and where it comes from.

One list is in force at a time: the operator's (``spam_list``), else the one that an update left in the data
folder, else the one that comes with the package.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from service.errors import ConfigError, GatehouseError
from service.ingestion.spam import parse_spam_list
from service.tables.files import read_packaged, read_text, replacing
from service.tables.watched import Watched

log = logging.getLogger(__name__)

STORED_LIST: Final = "spam-list.txt"
"""In the data folder."""
PACKAGED_LIST: Final = "spammers.txt"
REFRESH_S: Final = 7 * 86_400
RETRY_S: Final = 3_600
"""After a refresh that failed."""

Fetch = Callable[[str], Awaitable[bytes]]
"""Gives what stands at a URL, within bounds of size and time. Raises GatehouseError."""


def watch_spam_list(configured: Path | None, data_dir: Path | None) -> Watched[frozenset[str]]:
    """Load the list in force and follow its file. Raises ConfigError when it cannot be used."""
    if configured is not None:
        return Watched("spam list", [configured], lambda: _read(configured))
    stored = None if data_dir is None else data_dir / STORED_LIST

    def load() -> frozenset[str]:
        if stored is not None and stored.exists():
            return _read(stored)
        return parse_spam_list(read_packaged(PACKAGED_LIST))

    return Watched("spam list", [] if stored is None else [stored], load)


def store_spam_list(content: bytes, data_dir: Path) -> int:
    """Put a new list into the data folder, whole or not at all, and give the number of its hosts.

    Raises ConfigError when it is no list of hosts or names none, or the folder cannot be written.
    """
    try:
        text = content.decode("utf-8")
        hosts = parse_spam_list(text)
    except ValueError as error:  # what decode raises is one
        raise ConfigError(f"the new spam list cannot be used: {error}") from None
    if not hosts:
        raise ConfigError("the new spam list names no host")
    try:
        with replacing(data_dir / STORED_LIST) as file:
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the new spam list cannot be kept in {data_dir}: {error.strerror}") from None
    return len(hosts)


class SpamRefresh:
    """Fetches the list from its URL every week; a failed try leaves the old list and is repeated."""

    name: Final = "spam list refresh"

    def __init__(self, url: str, data_dir: Path, fetch: Fetch) -> None:
        self._url = url
        self._data_dir = data_dir
        self._fetch = fetch
        self._not_before = 0.0
        """Set by a failed try, UTC epoch seconds."""
        self.problem: str | None = None
        """Why the last try failed; None after one that worked."""

    async def refresh(self, now: float) -> None:
        """Fetch the list when the stored one is a week old or missing."""
        if now < self._not_before or now - self._stored_at() < REFRESH_S:
            return
        self._not_before = now + RETRY_S
        try:
            hosts = await asyncio.to_thread(self._store, await self._fetch(self._url), now)
        except GatehouseError as error:
            self.problem = str(error)
            log.warning("The spam list could not be refreshed, the old one stays in force: %s", error)
        else:
            self.problem = None
            log.info("The spam list was refreshed: %d hosts", hosts)

    def _store(self, content: bytes, now: float) -> int:
        hosts = store_spam_list(content, self._data_dir)
        os.utime(self._data_dir / STORED_LIST, (now, now))
        return hosts

    def _stored_at(self) -> float:
        try:
            return (self._data_dir / STORED_LIST).stat().st_mtime
        except OSError:
            return 0.0


def _read(path: Path) -> frozenset[str]:
    text = read_text("spam list", path)
    try:
        return parse_spam_list(text)
    except ValueError as error:
        raise ConfigError(f"the spam list {path} cannot be used: {error}") from None
