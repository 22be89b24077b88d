"""The awake sites: finds or starts a site's actor by its id, lets idle ones go, gives each its ticks.

Part of the System, which alone calls it, always in the loop.
"""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any, Final

from actors.messages import Remember, Tick
from actors.runtime import ActorError, Ref
from actors.site import SiteActor, SiteSurroundings
from actors.supervision import ChildSpec, Down, Supervisor
from actors.turns import Turns
from service.clock import Clock

TICK_SLICES: Final = 100
"""Each site gets one tick in so many, a slice of them at a time, so that many sites never tick at once."""
DOWN_S: Final = 30.0
"""How long a site that crashed too often answers ``site_unavailable`` before it is tried again."""
LEAST_PATIENCE_S: Final = 0.1
"""What each part may take of a stop whose deadline has passed."""


class AwakeSites:
    """The sites that have an actor; they are independent of each other, and stopped all at once."""

    def __init__(self, clock: Clock, turns: Turns) -> None:
        self._clock = clock
        self._refs: dict[int, Ref[Any]] = {}
        self.supervisor: Final = Supervisor(on_down=self._went_down, turns=turns)
        self.lives: Final[itertools.count[int]] = itertools.count(1)
        """Numbers the lives of site actors, for their names and to fence their appends."""
        self._around: SiteSurroundings | None = None
        self._down_until: dict[int, float] = {}
        """Sites that crashed too often, until when they are not tried again."""
        self._queue: list[int] = []
        """Sites that have not had their tick in this round."""
        self._depth = 0
        """Messages that were found waiting in this round."""
        self.waiting = 0
        """Messages that waited for sites, counted over the last whole round of ticks."""

    @property
    def by_id(self) -> Mapping[int, Ref[Any]]:
        """The awake ones, to look at."""
        return self._refs

    def open(self, around: SiteSurroundings) -> None:
        """Begin to start actors, each with these surroundings."""
        self._around = around

    def find(self, site_id: int) -> Ref[Any] | None:
        """Give the actor of a site, started if need be; None while a crashed one is not tried."""
        ref = self._refs.get(site_id)
        if ref is None and self._may_start(site_id):
            around = self._around
            assert around is not None, "sites are looked for after the buffer was started"
            # A name a life: the one before may still be on its way out.
            name = f"site-{site_id}-{next(self.lives)}"
            spec = ChildSpec(name, lambda: SiteActor(site_id, around))
            ref = self._refs[site_id] = self.supervisor.start_child_now(spec)
        return ref

    def is_down(self, site_id: int) -> bool:
        """Tell whether the site crashed too often and is not tried yet."""
        return self._clock() < self._down_until.get(site_id, 0.0)

    def passivate(self, site_id: int) -> None:
        """Let an idle site go; it asks for it itself."""
        # Taken out of the table first: whatever comes next for this site starts a new actor. Nothing can lie
        # in the old one's mailbox, because it asks only when its batch held no event, and nobody awaits in
        # between.
        ref = self._refs.get(site_id)
        if ref is not None and not ref.statistics().depth:
            del self._refs[site_id]
            self.supervisor.release(ref.name)

    def tick(self, tick: Tick, number: int) -> None:
        """Give the next slice of the sites its tick, the ``number``-th of the system."""
        if number % TICK_SLICES == 0:
            self._queue = list(self._refs)
            self.waiting, self._depth = self._depth, 0
        slice_size = -(-len(self._queue) // (TICK_SLICES - number % TICK_SLICES))
        for _ in range(min(slice_size, len(self._queue))):
            ref = self._refs.get(self._queue.pop())
            if ref is not None:
                self._depth += ref.depth
                ref.tell(tick)

    async def remember(self, end: float) -> dict[int, bytes]:
        """Ask each site what it remembers, until ``end`` on the clock of the loop."""
        memories: dict[int, bytes] = {}
        for site_id, ref in self._refs.items():
            left_s = max(LEAST_PATIENCE_S, end - asyncio.get_running_loop().time())
            try:
                memory: bytes | None = await ref.ask(Remember(), timeout_s=left_s)
            except ActorError:
                continue  # that site begins its sessions anew
            if memory is not None:
                memories[site_id] = memory
        return memories

    async def stop(self) -> None:
        """Stop them all."""
        await self.supervisor.stop_together()

    def _may_start(self, site_id: int) -> bool:
        if self.is_down(site_id):
            return False
        self._down_until.pop(site_id, None)
        return True

    def _went_down(self, down: Down) -> None:
        site_id = int(down.name.split("-")[1])
        del self._refs[site_id]
        self._down_until[site_id] = self._clock() + DOWN_S
        self.supervisor.forget(down.name)
