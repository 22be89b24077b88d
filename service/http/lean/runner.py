"""The runner of the public listener: aiohttp's, whose sites make lean connections.

Everything about addresses, sockets and the order of a stop stays aiohttp's.
"""

import asyncio
from typing import Any, Final, cast

from aiohttp import web
from msgspec import Struct

from service.http.intake import EventIntake
from service.http.lean.connection import LeanConnection, Limits, Surroundings
from service.http.lean.heads import TURN_S, Heads
from service.http.lean.replies import ReplyBytes
from service.http.lean.watch import Watch
from service.http.settings import EventSystem

LOOK_S: Final = 0.5
"""How often connections are looked at for what takes too long."""


class LeanParts(Struct, frozen=True, kw_only=True):
    """What lean connections are made of, apart from the running listener."""

    system: EventSystem
    intake: EventIntake
    replies: ReplyBytes
    watch: Watch | None
    limits: Limits


class LeanServer:
    """Makes the connections of a listener, looks at them from time to time, and ends them."""

    def __init__(self, parts: LeanParts, aiohttp_server: web.Server) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections: set[LeanConnection] = set()
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

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(self._look_s, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for connection in list(self._connections):
            connection.look_at(now)
        if now >= self._heads_turn_at:
            self._heads.turn()
            self._heads_turn_at = now + TURN_S
        if self._connections or self._heads:
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
