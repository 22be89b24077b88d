"""A sites' store and its provisioning for tests: real SQLite, and time as the test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from service.sites.provisioning import StoreProvisioning
from service.sites.sqlite import SqliteSiteStore

NOON = 1_795_003_200.0
"""2026-11-18 12:00:00 UTC."""
HOUR_S = 3600.0


class SettableClock:
    """A clock that shows what it was set to."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Desk:
    """A provisioning with all that stands behind it."""

    def __init__(self, path: Path) -> None:
        self.clock = SettableClock()
        self.store = SqliteSiteStore(path, clock=self.clock)
        self.changed: list[int] = []
        """The sites that were reported as changed, in order."""
        self.provisioning = StoreProvisioning(self.store, self._note)

    async def _note(self, site_id: int) -> None:
        self.changed.append(site_id)


@asynccontextmanager
async def open_desk(folder: Path) -> AsyncIterator[Desk]:
    """Give a desk whose store is open."""
    desk = Desk(folder / "sites.sqlite3")
    await desk.store.start()
    try:
        yield desk
    finally:
        await desk.store.close()
