"""The TablesActor: keeps the tables that may change while the service runs up to date.

It owns the times at which files are looked at and lists fetched. A table that cannot be refreshed stays in
force as it was, and says so in its ``problem``.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from actors.messages import Tick
from actors.runtime import Actor, Envelope


class Refreshable(Protocol):
    """Something that follows a file or a URL."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def problem(self) -> str | None:
        """Why the last refresh failed; None after one that worked."""

    async def refresh(self, now: float) -> None:
        """Bring it up to date if that is due; what goes wrong becomes ``problem`` and is no exception."""


class TablesActor(Actor):
    """Refreshes one after the other at every tick."""

    kind: ClassVar[str] = "tables"
    mailbox_bound: ClassVar[int] = 100

    def __init__(self, tables: Sequence[Refreshable]) -> None:
        self._tables = tables

    async def receive_batch(self, envelopes: list[Envelope]) -> None:
        """Refresh everything; of ticks that came during a slow one, only the last counts."""
        match envelopes[-1].message:
            case Tick(now=now):
                for table in self._tables:
                    await table.refresh(now)
