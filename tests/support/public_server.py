"""The public listener on a real port, and a client that sends the bytes it is given."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from msgspec import Struct

from actors.messages import BuildResult
from actors.runtime import ActorError, Envelope
from service.http.app import AIOHTTP_OPTIONS, public_app, public_runner
from service.http.settings import Build, EventSystem, PublicSettings
from service.ingestion.request import Request
from service.ingestion.verdict import BUFFERED, Verdict
from service.telemetry import Telemetry
from service.tracing.records import RequestTrace
from service.tracing.spans import Tracing
from service.wire.forwarded import TrustedProxies

NOW = 1_795_003_200.75
TOKEN = "sender-token"
EVENT = b'{"n":"pageview","u":"https://e.com/","d":"e.com"}'
TIMEOUT_S = 20.0


class Report(Struct, frozen=True):
    """A readiness that a test decides."""

    ready: bool
    checks: Mapping[str, str]


ALL_WELL = Report(ready=True, checks={"sites": "ok", "salts": "ok", "journal": "ok", "clickhouse": "ok"})


class ScriptedSystem:
    """Stands for the system where a test is about HTTP alone.

    Keeps what it is sent and answers what it is told to.
    """

    def __init__(self, verdicts: Mapping[str, Verdict] | None = None) -> None:
        self.verdicts = dict(verdicts or {})
        self.error: Exception | None = None
        self.report = ALL_WELL
        self.requests: list[Request] = []
        self.overloaded = False

    def turns_away(self) -> bool:
        """Say what the test decided."""
        return self.overloaded

    def offer(self, envelope: Envelope) -> None:
        """Answer with the verdict of each domain, or fail."""
        try:
            envelope.reply(self._judge(envelope.message.request))
        except (ActorError, RuntimeError) as error:
            envelope.fail(error)

    async def build_and_buffer(self, request: Request, trace: RequestTrace | None = None) -> BuildResult:
        """Give the verdict of each domain, or fail."""
        return self._judge(request)

    def _judge(self, request: Request) -> BuildResult:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return BuildResult(tuple((domain, self.verdicts.get(domain, BUFFERED)) for domain in request.domains))

    async def build_and_buffer_batch(
        self, requests: Sequence[Request], trace: RequestTrace | None = None
    ) -> list[BuildResult]:
        """Answer each request by itself."""
        return [await self.build_and_buffer(request, trace) for request in requests]

    def readiness(self) -> Report:
        """Give the report that the test decided."""
        return self.report


class RawResponse(Struct, frozen=True):
    """One response, cut apart; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


class PublicServer:
    """A running public listener."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def exchange(self, sent: bytes, *, then_close: bool = True) -> bytes:
        """Send bytes on a new connection and give all that comes back until the server closes it."""
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(sent)
                if then_close:
                    writer.write_eof()
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> RawResponse:
        """Send one well-formed request and give its response."""
        lines = {
            "Host": "localhost",
            "Connection": "close",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        sent = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body
        return parse_response(await self.exchange(sent, then_close=False))

    async def post(self, body: bytes, content_type: str | None = "text/plain", **headers: str) -> RawResponse:
        """Post an event; underscores in header names become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            named["Content-Type"] = content_type
        return await self.send("POST", "/api/event", body, named)


def parse_response(received: bytes) -> RawResponse:
    """Cut the bytes of one response apart."""
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return RawResponse(int(status_line.split()[1]), headers, body)


def parse_responses(received: bytes) -> list[RawResponse]:
    """Cut the bytes of any number of responses, each with its length, apart."""
    responses = []
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        response = parse_response(head + separator)
        size = int(response.headers.get("content-length", "0"))
        responses.append(RawResponse(response.status, response.headers, rest[:size]))
        received = rest[size:]
    return responses


def public_settings(trusted: Sequence[str] = ("127.0.0.0/8",), **changes: Any) -> PublicSettings:
    """Give settings of the public listener, with changes."""
    return PublicSettings(
        **{
            "trusted_proxies": TrustedProxies(trusted),
            "sender_token": TOKEN,
            "build": Build(version="1.2.3"),
            "geo_database": lambda: "GeoLite2-City",
            **changes,
        }
    )


def make_app(
    system: EventSystem,
    settings: PublicSettings,
    telemetry: Telemetry | None = None,
    tracing: Tracing | None = None,
) -> web.Application:
    """Give the application of the public listener, whose clock stands still."""
    return public_app(
        system=system,
        settings=settings,
        clock=lambda: NOW,
        telemetry=telemetry or Telemetry(),
        tracing=tracing,
    )


@asynccontextmanager
async def public_server(
    system: EventSystem,
    *,
    trusted: Sequence[str] = ("127.0.0.0/8",),
    tracing: Tracing | None = None,
    telemetry: Telemetry | None = None,
    **changes: Any,
) -> AsyncIterator[PublicServer]:
    """Serve on a free port of this machine, with changes to the settings."""
    settings = public_settings(trusted, **changes)
    app = public_app(
        system=system,
        settings=settings,
        clock=lambda: NOW,
        telemetry=telemetry or Telemetry(),
        tracing=tracing,
    )
    async with _serving(public_runner(app)) as server:
        yield server


@asynccontextmanager
async def aiohttp_server(system: EventSystem, **changes: Any) -> AsyncIterator[PublicServer]:
    """Serve the same with aiohttp alone, to compare with."""
    app = public_app(
        system=system, settings=public_settings(**changes), clock=lambda: NOW, telemetry=Telemetry()
    )
    async with _serving(web.AppRunner(app, **AIOHTTP_OPTIONS)) as server:
        yield server


@asynccontextmanager
async def _serving(runner: web.AppRunner) -> AsyncIterator[PublicServer]:
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield PublicServer(runner.addresses[0][1])
    finally:
        await runner.cleanup()
