"""Tables are refreshed while the system runs, and it says when one could not be."""

import asyncio
from pathlib import Path

from actors.system import SystemSettings
from service.ingestion.verdict import Buffered, Dropped, DropReason
from service.tables.geo import open_geolocator
from tests.support.geo import CITY_RECORD, write_geo_database
from tests.support.running_system import running_system, tables


class Table:
    """A table that notes when it was refreshed."""

    name = "spam list"

    def __init__(self) -> None:
        self.problem: str | None = None
        self.refreshed = asyncio.Event()

    async def refresh(self, now: float) -> None:
        """Note it."""
        del now
        self.problem = "https://lists.example/?key=abc is away"
        self.refreshed.set()


async def test_a_failed_refresh_is_visible(tmp_path: Path) -> None:
    """Readiness and the figures say so, without the detail; events are taken all the same."""
    table = Table()
    async with running_system(tmp_path, settings=SystemSettings(tick_s=0.001), refreshed=[table]) as running:
        await asyncio.wait_for(table.refreshed.wait(), 10)
        readiness = running.system.readiness()

        assert readiness.ready
        assert "failed" in readiness.checks["spam_list"]
        assert "key" not in readiness.checks["spam_list"]
        assert running.system.statistics["tables_stale"] == 1


async def test_the_age_of_the_database_of_locations_is_a_figure(tmp_path: Path) -> None:
    """It is told in seconds, with the look-ups that failed; 0 when the database does not say its age."""
    async with running_system(tmp_path) as running:
        geo = tables().geo
        before = geo.value
        assert running.system.statistics["geo_database_age_s"] == 0
        try:
            built_at = int(running.clock.now) - 86_400
            path = write_geo_database(tmp_path / "geo.mmdb", {"203.0.113.0/24": CITY_RECORD})
            opened = open_geolocator(path)
            opened.built_at, opened.failures = built_at, 2
            geo.value = opened
            assert running.system.statistics["geo_database_age_s"] in (86_400, 86_401)
            assert running.system.statistics["geo_lookups_failed"] == 2
        finally:
            geo.value = before  # the tables are shared by all tests of the process


async def test_a_new_spam_list_holds_for_the_next_event(tmp_path: Path) -> None:
    """What the owner of the list publishes acts without a restart."""
    async with running_system(tmp_path) as running:
        spam = tables().spam
        before = spam.value
        request = running.request(referrer="https://new-spam.example/")
        assert await running.send(request) == [Buffered()]
        try:
            spam.value = frozenset({"new-spam.example"})
            assert await running.send(request) == [Dropped(DropReason.SPAM_REFERRER)]
        finally:
            spam.value = before  # the tables are shared by all tests of the process
