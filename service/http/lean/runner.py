"""The runner of the public listener: aiohttp's, whose sites make lean connections.

Everything about addresses, sockets and the order of a stop stays aiohttp's.
"""

import asyncio
from heapq import nsmallest
from operator import itemgetter
from typing import Any, Final, cast

from aiohttp import web
from msgspec import Struct

from service.http.intake import EventIntake
from service.http.lean.connection import LeanConnection, Limits, Surroundings
from service.http.lean.door import QUIET_S, Door
from service.http.lean.heads import TURN_S, Heads
from service.http.lean.replies import ReplyBytes
from service.http.lean.watch import Watch
from service.http.settings import EventSystem

LOOK_S: Final = 0.5
"""How often connections are looked at for what takes too long."""
HANDLER_END_S: Final = 15.0
"""How long a request of aiohttp's that is under way may take when its connection has to make room."""
LOOKED_AT: Final = 256
"""Connections that are looked at in one turn of the loop."""


class LeanParts(Struct, frozen=True, kw_only=True):
    """What lean connections are made of, apart from the running listener."""

    system: EventSystem
    intake: EventIntake
    replies: ReplyBytes
    watch: Watch | None
    limits: Limits
    door: Door


class LeanServer:
    """Makes the connections of a listener, looks at them from time to time, and ends them."""

    def __init__(self, parts: LeanParts, aiohttp_server: web.Server) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections: set[LeanConnection] = set()
        self._aiohttp_server = aiohttp_server
        self._ending: set[asyncio.Task[None]] = set()
        """Ends of aiohttp's connections under way."""
        parts.door.count = self._count
        self._look_s = min(LOOK_S, parts.limits.body_s, parts.limits.linger_s)
        self._heads = Heads()
        self._heads_turn_at = 0.0  # on the loop's clock
        # Running while there are connections, or heads to forget.
        self._timer: asyncio.TimerHandle | None = None
        # Done when the last connection has ended; None unless somebody waits for that.
        self._empty: asyncio.Future[None] | None = None
        self._around = Surroundings(
            system=parts.system,
            intake=parts.intake,
            replies=parts.replies,
            heads=self._heads,
            watch=parts.watch,
            limits=parts.limits,
            loop=self._loop,
            make_handler=aiohttp_server,
            connections=self._connections,
            door=parts.door,
            let_go=self._let_go,
            on_connection=self._arm,
            on_end=self._note_end,
        )

    def __call__(self) -> LeanConnection:
        """Make the protocol of a new connection."""
        return LeanConnection(self._around)

    async def shutdown(self, timeout_s: float) -> None:
        """Let every connection answer what it took, and close it; cut off what is left after the time."""
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            self._empty = self._loop.create_future()
            await asyncio.wait([self._empty], timeout=timeout_s)
        for connection in list(self._connections):
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count(self) -> int:
        lean = len(self._connections) - self._around.door.lingering
        return lean + len(self._aiohttp_server.connections)

    def _let_go(self, wanted: int) -> int:
        """Close the connections that have been quiet longest; gives how many."""
        limit = self._loop.time() - QUIET_S
        quiet = [
            (since, connection)
            for connection in self._connections
            if (since := connection.quiet_since()) is not None and since <= limit
        ]
        for _, connection in nsmallest(wanted, quiet, key=itemgetter(0)):
            connection.let_go()
        if not quiet and not self._ending:
            # aiohttp ends its own when they have nothing to do, and not at once; oldest first.
            for handler in self._aiohttp_server.connections[:wanted]:
                handler.close()
                ending = self._loop.create_task(handler.shutdown(HANDLER_END_S))
                self._ending.add(ending)
                ending.add_done_callback(self._ending.discard)
        return min(wanted, len(quiet))

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._look_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now >= self._heads_turn_at:
            self._heads.turn()
            self._heads_turn_at = now + TURN_S
        self._look_on(list(self._connections))

    def _look_on(self, rest: list[LeanConnection]) -> None:
        """Look at some of them, then let others have their turn: there may be thousands."""
        now = self._loop.time()
        for connection in rest[-LOOKED_AT:]:
            connection.look_at(now)
        del rest[-LOOKED_AT:]
        if rest:
            self._loop.call_soon(self._look_on, rest)
        elif self._connections or self._heads:
            self._arm()

    def _note_end(self) -> None:
        if self._empty is not None and not self._connections and not self._empty.done():
            self._empty.set_result(None)


class LeanRunner(web.AppRunner):
    """An ``AppRunner`` whose sites make lean connections, which hand over to its own server."""

    def __init__(
        self, app: web.Application, parts: LeanParts, *, shutdown_timeout: float, **kwargs: Any
    ) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout, **kwargs)
        self._parts = parts
        self._patience_s = shutdown_timeout
        self._lean: LeanServer | None = None

    @property
    def server(self) -> web.Server | None:
        """What sites call to make the protocol of a connection; None before ``setup``."""
        return cast("web.Server | None", self._lean)

    async def setup(self) -> None:
        """Make ready what listening needs."""
        await super().setup()
        aiohttp_server = super().server
        assert aiohttp_server is not None, "setup makes it"
        self._lean = LeanServer(self._parts, aiohttp_server)

    async def shutdown(self) -> None:
        """End the lean connections, then whatever the application has; part of ``cleanup``."""
        if self._lean is not None:
            await self._lean.shutdown(self._patience_s)
        await super().shutdown()
