"""Tables are refreshed while the system runs, and it says when one could not be."""

import asyncio
from pathlib import Path

from actors.system import SystemSettings
from service.ingestion.verdict import Buffered, Dropped, DropReason
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
