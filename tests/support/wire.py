"""A connection without a network: its bytes come in pieces, and its time is what a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from actors.messages import BuildResult
from actors.runtime import Envelope
from service.http.app import public_runner
from service.http.lean.connection import LeanConnection
from service.http.settings import EventSystem
from service.ingestion.verdict import BUFFERED, Verdict
from tests.support.public_server import ScriptedSystem, make_app, public_settings

IDLE_TURNS = 12
"""Turns of the loop without a change after which nothing more is expected."""


STOP_S = 0.1
"""How long a stop waits for what is never answered."""


class Wire(asyncio.Transport):
    """The transport, and the other end."""

    def __init__(self, connection: LeanConnection, peer: str = "127.0.0.1") -> None:
        super().__init__()
        self._peer = peer
        self.connection = connection
        self.writes: list[bytes] = []
        """What was written, call by call."""
        self.reads = True
        self.is_lost = False
        self._closing = False
        self._protocol: asyncio.BaseProtocol = connection
        connection.connection_made(self)

    @property
    def received(self) -> bytes:
        """All that the other end got."""
        return b"".join(self.writes)

    @property
    def is_handed_over(self) -> bool:
        """Whether aiohttp has it."""
        return self._protocol is not self.connection

    def send(self, data: bytes) -> None:
        """Let bytes come in, unless the connection is closed."""
        if not self._closing:
            cast(asyncio.Protocol, self._protocol).data_received(data)

    def end(self) -> None:
        """Let the other end close its half."""
        if not self._closing and not cast(asyncio.Protocol, self._protocol).eof_received():
            self.close()

    async def settle(self) -> None:
        """Let the loop turn until nothing happens any more."""
        quiet = 0
        while quiet < IDLE_TURNS:
            before = (len(self.writes), self._closing, self.is_lost)
            await asyncio.sleep(0)
            quiet = quiet + 1 if (len(self.writes), self._closing, self.is_lost) == before else 0

    # What a protocol calls

    def write(self, data: Any) -> None:
        """Take bytes for the other end."""
        if not self._closing:
            self.writes.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        """Take several."""
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """End the connection."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lose)

    def abort(self) -> None:
        """End it at once."""
        self.close()

    def is_closing(self) -> bool:
        """Whether it has ended or is about to."""
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand it over."""
        self._protocol = protocol

    def pause_reading(self) -> None:
        """Read nothing more."""
        self.reads = False

    def resume_reading(self) -> None:
        """Read again."""
        self.reads = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell the address of the other end, and no more."""
        return (self._peer, 50_000) if name == "peername" else default

    def _lose(self) -> None:
        self.is_lost = True
        self._protocol.connection_lost(None)


class PatientSystem(ScriptedSystem):
    """Keeps what it is asked until the test answers."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []

    def offer(self, envelope: Envelope) -> None:
        """Keep it."""
        self.envelopes.append(envelope)

    def answer(self, index: int, verdict: Verdict = BUFFERED) -> None:
        """Answer the request that came in as ``index``."""
        envelope = self.envelopes[index]
        domains = envelope.message.request.domains
        envelope.reply(BuildResult(tuple((domain, verdict) for domain in domains)))


@asynccontextmanager
async def wires(system: EventSystem, **changes: Any) -> AsyncIterator[Callable[..., Wire]]:
    """Give what makes new connections of a public listener."""
    runner = public_runner(make_app(system, public_settings(**changes)), shutdown_timeout_s=STOP_S)
    await runner.setup()
    server = cast(Callable[[], LeanConnection], runner.server)
    try:
        yield lambda *peer: Wire(server(), *peer)
    finally:
        await runner.cleanup()
