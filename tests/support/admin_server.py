"""The admin API on a real port or socket, around a running system with real sites."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from service.errors import QueryFailed, StoreUnavailable
from service.http.admin import admin_app
from service.http.admin_tokens import prepare_admin_tokens
from service.http.listener import admin_runner
from service.http.tokens import ADMIN_TOKEN_FILE
from service.sites.provisioning import StoreProvisioning
from service.wire.forwarded import TrustedProxies
from tests.support.memory_store import MemoryStore
from tests.support.running_system import RunningSystem, running_system

TOKEN = "the-token-of-the-tests"
STOP_S = 5.0


class Answer(msgspec.Struct, frozen=True):
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body, which must be JSON."""
        assert self.headers["Content-Type"].startswith("application/json")
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> str:
        """The sentence of a refusal."""
        answer = self.json()
        assert isinstance(answer, dict)
        assert list(answer) == ["error"]
        return str(answer["error"])


class TalkingStore(MemoryStore):
    """Answers questions as a test scripted them; what it was asked is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    async def query_text(self, sql: str, *, output_format: str) -> AsyncIterator[bytes]:
        """Answer ``one``, ``two``; fail at once or between them when the statement says so."""
        self.asked.append((sql, output_format))
        if sql == "NONSENSE":
            raise QueryFailed("Syntax error: NONSENSE")
        if sql == "SELECT nothing":
            return
        yield b"one\n"
        if sql == "SELECT half":
            raise StoreUnavailable("it went away")
        yield b"two\n"


class AdminServer:
    """A client of the running admin API."""

    def __init__(
        self,
        running: RunningSystem,
        store: TalkingStore,
        session: aiohttp.ClientSession,
        base: str,
        app: web.Application,
    ) -> None:
        self.running = running
        self.store = store
        self._base = base
        self._app = app
        self._session = session

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Method and pattern of every route."""
        return [
            (route.method, route.resource.canonical)
            for route in self._app.router.routes()
            if route.resource is not None
        ]

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        form: aiohttp.FormData | dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request, with the token unless ``headers`` say otherwise; ``path`` is sent as it is."""
        sent = {"Authorization": f"Bearer {TOKEN}"} if headers is None else dict(headers)
        # As a file, because aiohttp warns of large bodies that are bytes.
        data: object = (None if body is None else io.BytesIO(body)) if form is None else form
        if json is not None:
            data = msgspec.json.encode(json)
            sent["Content-Type"] = "application/json"
        url = URL(self._base + path, encoded=True)
        async with self._session.request(method, url, data=data, headers=sent) as response:
            return Answer(response.status, dict(response.headers), await response.read())


@asynccontextmanager
async def admin_server(folder: Path, *, socket: Path | None = None) -> AsyncIterator[AdminServer]:
    """Serve the admin API of a system with the site example.com.

    With the token of the folder on a free port, or without one on a Unix socket.
    """
    (folder / ADMIN_TOKEN_FILE).write_text(TOKEN)
    store = TalkingStore()
    async with running_system(folder, store=store) as running:
        app = admin_app(
            provisioning=StoreProvisioning(running.sites, running.system.site_changed),
            system=running.system,
            store=store,
            trusted_proxies=TrustedProxies(("127.0.0.0/8",)),
            clock=running.clock,
            telemetry=running.telemetry,
            tokens=prepare_admin_tokens(folder, now=running.clock()) if socket is None else None,
        )
        runner = admin_runner(app, shutdown_timeout_s=STOP_S)
        await runner.setup()
        try:
            if socket is None:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                host, port = runner.addresses[0][:2]
                session = aiohttp.ClientSession()
            else:
                await web.UnixSite(runner, str(socket)).start()
                host, port = "gatehouse", 80
                session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)))
            async with session:
                yield AdminServer(running, store, session, f"http://{host}:{port}", app)
        finally:
            await runner.cleanup()
