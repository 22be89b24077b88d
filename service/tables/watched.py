"""A table that is read from files, and read again when one of them changes while the service runs.

The files are looked at from time to time (``refresh``); that costs a ``stat`` each. A changed file is read
once it stood still from one look to the next, so that none is read half written. One that cannot be used
changes nothing: the old table stays in force, and ``problem`` says why until the file is right again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from service.errors import ConfigError
from service.ingestion.published import Published

log = logging.getLogger(__name__)

T = TypeVar("T")

Signature = tuple[tuple[int, int, int] | None, ...]
"""Inode, size and time of change of each file; None for one that is not there."""


class Watched(Generic[T]):
    """One published table and the files it is made of. ``load`` raises ConfigError."""

    def __init__(self, name: str, files: Sequence[Path], load: Callable[[], T]) -> None:
        self.name = name
        """What it is called in logs and readiness."""
        self._files = tuple(files)
        self._load = load
        # Taken before the files are read: a change in between is then seen as one.
        self._known = _signature(self._files)
        """Of the files that the table was made of, or that could not be used."""
        self._seen = self._known
        """At the last look."""
        self.published = Published(load())
        """The table; nobody else sets it."""
        self.problem: str | None = None
        """Why the files as they are now cannot be used; may name them, so it is for logs."""

    async def refresh(self, now: float) -> None:
        """Look at the files, and publish the table again when they changed."""
        del now
        signature = await asyncio.to_thread(_signature, self._files)
        settled = signature == self._seen
        self._seen = signature
        if signature == self._known or not settled:
            return
        self._known = signature
        try:
            self.published.value = await asyncio.to_thread(self._load)
        except ConfigError as error:
            self.problem = str(error)
            log.warning("The %s changed and cannot be used, the old one stays in force: %s", self.name, error)
        else:
            self.problem = None
            log.info("The %s changed and was read again", self.name)


def _signature(files: Sequence[Path]) -> Signature:
    return tuple(map(_file_signature, files))


def _file_signature(file: Path) -> tuple[int, int, int] | None:
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns
