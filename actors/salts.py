"""The SaltsActor: the salt of each day, rotated at 00:00 UTC by the clock and not by a job that may not run.

Tomorrow's salt is made today, so the rotation itself needs no I/O and cannot be late; salts before yesterday
are deleted for good, so that old visitor ids can never be computed again. Reference: section 7.1; design.md
section 5.
"""

import logging
from collections.abc import Mapping
from typing import ClassVar

from actors.messages import Tick
from actors.runtime import Actor, Envelope
from service.clock import Clock
from service.errors import GatehouseError
from service.sites.store import SiteStore

log = logging.getLogger(__name__)

DAY_S = 86_400


class SaltBook:
    """The salts as the sites read them: replaced as a whole by the SaltsActor, never changed in place."""

    __slots__ = ("by_day",)

    def __init__(self) -> None:
        self.by_day: Mapping[int, bytes] = {}

    def at(self, timestamp: int, *, now: float) -> tuple[bytes, bytes | None] | None:
        """Give the salt in force at ``timestamp`` and the one before it; None when today has none.

        The salt of a day that is no longer kept gives way to the current one (a back-dated event).
        """
        today = int(now) // DAY_S
        day = timestamp // DAY_S
        current = self.by_day.get(day)
        if current is None:
            day = today
            current = self.by_day.get(day)
        return None if current is None else (current, self.by_day.get(day - 1))

    def age_s(self, now: float) -> float | None:
        """Give the seconds since the day of the newest salt that is in force by now began; None without one.

        Above a day there is no salt for today, so that no event can be taken.
        """
        days = [day for day in self.by_day if day <= int(now) // DAY_S]
        return now - max(days) * DAY_S if days else None


class SaltsActor(Actor):
    """Keeps the book filled for yesterday, today and tomorrow."""

    kind: ClassVar[str] = "salts"
    mailbox_bound: ClassVar[int] = 16

    def __init__(self, store: SiteStore, book: SaltBook, clock: Clock) -> None:
        self._store = store
        self._book = book
        self._clock = clock
        self._filled_for: int | None = None
        """The day for which the book was last filled; None when the last try failed."""

    async def on_start(self) -> None:
        """Fill the book; without salts no event can be taken, so an error here stops the start."""
        await self._fill(int(self._clock()) // DAY_S)

    async def receive(self, envelope: Envelope) -> None:
        """Fill the book again when a day has passed, or when the last try failed."""
        match envelope.message:
            case Tick(now=now) if int(now) // DAY_S != self._filled_for:
                await self._refill(int(now) // DAY_S)
        envelope.reply(None)

    async def _refill(self, today: int) -> None:
        try:
            await self._fill(today)
        except GatehouseError as error:
            self._filled_for = None
            log.warning(
                "The salts could not be renewed; today's was made yesterday and is in force: %s", error
            )

    async def _fill(self, today: int) -> None:
        self._book.by_day = await self._store.salts(today=today)
        self._filled_for = today
