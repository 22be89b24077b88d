"""The routes about rows that ClickHouse refuses. They are ours.

::

    POST /api/v1/quarantine/retry   {"ids": [...]}: {"stored": n, "refused": {id: why}}; 100 ids at most
    POST /api/v1/quarantine/drop    {"ids": [...]}: {"dropped": n}; their rows are gone for good
"""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from aiohttp import web
from msgspec import Struct

from service.http.parameters import convert, read_parameters
from service.http.shapes import answer
from service.insertion import Retried

MAX_RETRIED: Final = 100
"""Rows of one request: while they are inserted, blocks wait."""


class QuarantineSystem(Protocol):
    """What is needed of the running system (``actors.system.System``)."""

    async def retry_rows(self, ids: Sequence[str]) -> Retried:
        """Insert rows of the quarantine again."""

    async def drop_rows(self, ids: Sequence[str]) -> int:
        """Let go of rows of the quarantine; give how many there were."""


class _Ids(Struct):
    ids: list[str]


class QuarantineRoutes:
    """The handlers, around the system that owns the quarantine."""

    def __init__(self, system: QuarantineSystem) -> None:
        self._system = system

    def routes(self) -> Iterable[web.RouteDef]:
        """Give the routes."""
        return [
            web.post("/api/v1/quarantine/retry", self.retry),
            web.post("/api/v1/quarantine/drop", self.drop),
        ]

    async def retry(self, request: web.Request) -> web.Response:
        """Insert rows again; those that are stored now leave the quarantine."""
        ids = convert(await read_parameters(request), _Ids).ids
        if len(ids) > MAX_RETRIED:
            raise web.HTTPBadRequest(text=f"At most {MAX_RETRIED} rows are retried at once.")
        return answer(await self._system.retry_rows(ids))

    async def drop(self, request: web.Request) -> web.Response:
        """Let go of rows for good."""
        ids = convert(await read_parameters(request), _Ids).ids
        return answer({"dropped": await self._system.drop_rows(ids)})
