"""``POST /api/v1/explain``: what would become of an event, and why. It is ours.

::

    POST /api/v1/explain   the JSON of /api/event, and ``headers``, ``ip``, ``user_agent``:
                           {"request": [steps], "domains": [{"domain", "verdict", "steps", "rows", ...}]}
"""

from collections.abc import Iterable
from typing import Protocol

from aiohttp import web

from service.clock import Clock
from service.http.shapes import answer
from service.ingestion.explanation import DryRun, Explanation
from service.ingestion.request import Request
from service.wire.explain_api import Asked, decode_question, describe_errors
from service.wire.forwarded import TrustedProxies


class ExplainingSystem(Protocol):
    """What is needed of the running system (``actors.system.System``)."""

    async def explain(self, request: Request) -> list[Explanation]:
        """Explain what would become of the request for each of its domains."""


class ExplainRoutes:
    """The handler, around the system that knows."""

    def __init__(self, system: ExplainingSystem, trusted_proxies: TrustedProxies, clock: Clock) -> None:
        self._system = system
        self._trusted_proxies = trusted_proxies
        self._clock = clock

    def routes(self) -> Iterable[web.RouteDef]:
        """Give the route."""
        return [web.post("/api/v1/explain", self.explain)]

    async def explain(self, request: web.Request) -> web.Response:
        """Explain one event; nothing is stored or changed."""
        asked = decode_question(await request.read(), now=self._clock(), trusted=self._trusted_proxies)
        if not isinstance(asked, Asked):
            raise web.HTTPBadRequest(text=describe_errors(asked))
        return answer(DryRun(asked.steps, await self._system.explain(asked.request)))
