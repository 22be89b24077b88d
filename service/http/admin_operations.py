"""The routes that concern the running service as a whole; all of them are ours.

::

    POST /api/v1/flush   {"flushed": n}: all that was held is in ClickHouse, n events of it
    POST /api/v1/sql     a SELECT as the body, ``format`` in the query: the answer in that ClickHouse format;
                         or both as ``query`` and ``format`` in JSON
    GET /api/v1/status   {"ready", "checks", "statistics"}
"""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiohttp import web

from service.clickhouse.store import ClickhouseStore
from service.errors import StoreError
from service.http.parameters import read_parameters, require
from service.http.shapes import answer

log = logging.getLogger(__name__)

DEFAULT_FORMAT: Final = "TabSeparatedWithNames"

_FORMAT_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


class Readiness(Protocol):
    """Whether events are taken, and the state of each part."""

    @property
    def ready(self) -> bool:
        """Events are taken."""

    @property
    def checks(self) -> Mapping[str, str]:
        """``ok`` or a sentence, by part."""


class OperableSystem(Protocol):
    """What is needed of the running system (``actors.system.System``)."""

    async def flush(self) -> int:
        """Insert what is held; give the number of events."""

    def readiness(self) -> Readiness:
        """Tell whether events are taken, and what is wrong where something is."""

    @property
    def statistics(self) -> Mapping[str, int]:
        """Figures of the moment."""


class OperationRoutes:
    """The handlers, around the system and its store of rows."""

    def __init__(self, system: OperableSystem, store: ClickhouseStore) -> None:
        self._system = system
        self._store = store

    def routes(self) -> Iterable[web.RouteDef]:
        """Give the routes."""
        return [
            web.post("/api/v1/flush", self.flush),
            web.post("/api/v1/sql", self.sql),
            web.get("/api/v1/status", self.status),
        ]

    async def flush(self, _: web.Request) -> web.Response:
        """Flush now and answer when the rows are in."""
        return answer({"flushed": await self._system.flush()})

    async def status(self, _: web.Request) -> web.Response:
        """Answer the readiness and the figures of the moment."""
        readiness = self._system.readiness()
        return answer(
            {
                "ready": readiness.ready,
                "checks": dict(readiness.checks),
                "statistics": dict(self._system.statistics),
            }
        )

    async def sql(self, request: web.Request) -> web.StreamResponse:
        """Stream the answer of a SELECT; an error before its first byte is a proper refusal."""
        question, output_format = await _read_question(request)
        async with _closing(self._store.query_text(question, output_format=output_format)) as chunks:
            first = await anext(chunks, b"")
            content_type = "application/json" if output_format == "JSON" else "text/plain; charset=utf-8"
            response = web.StreamResponse(headers={"Content-Type": content_type})
            await response.prepare(request)
            try:
                await response.write(first)
                async for chunk in chunks:
                    await response.write(chunk)
            except ConnectionResetError:
                log.debug("The one who asked went away before the answer was whole")
            except StoreError as error:
                # The status is long sent; only a broken connection still tells that the answer is not whole.
                log.warning("A query failed in the middle of its answer: %s", error)
                if request.transport is not None:
                    request.transport.abort()
        return response


@asynccontextmanager
async def _closing(chunks: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """Let go of the query also when its reader goes away."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def _read_question(request: web.Request) -> tuple[str, str]:
    # Whatever else the body says to be, it is the statement: curl calls everything a form.
    if request.content_type == "application/json":
        parameters = await read_parameters(request)
        question = require(parameters, "query", "ask a question")
        output_format = str(parameters.get("format") or DEFAULT_FORMAT)
    else:
        try:
            question = (await request.read()).decode()
        except UnicodeDecodeError as error:
            raise web.HTTPBadRequest(text="The statement is not valid UTF-8.") from error
        output_format = request.query.get("format") or DEFAULT_FORMAT
    if not question.strip():
        raise web.HTTPBadRequest(text="The body must hold a SELECT statement.")
    if not _FORMAT_NAME.fullmatch(output_format):
        raise web.HTTPBadRequest(text="format must be the name of one of ClickHouse's output formats.")
    return question, output_format
