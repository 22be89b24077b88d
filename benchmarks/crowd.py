"""Connections that ask for nothing, or take for ever about it; a process of its own, ended by SIGTERM.

It prints one line when all are open: how many there are. ``idle`` ones sent one event and keep the
connection. The others send a byte a second of a head or of a body, or half a head and then never anything, or
close their half of the connection in the middle of a request.
"""

import argparse
import asyncio
import resource
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from benchmarks.traffic import make_requests

FAST_OPENERS = 64
SPARE_FILES = 64
BYTE_EVERY_S = 1.0

Kind = Callable[[], Coroutine[Any, Any, None]]


class Crowd:
    """Opens the connections and keeps them; what the service closes stays closed."""

    def __init__(self, port: int, domain: str) -> None:
        self._port = port
        self._request = make_requests(host=f"127.0.0.1:{port}", domain=domain)[0]
        self._head_bytes = self._request.index(b"\r\n\r\n") + 4
        self._openers = asyncio.Semaphore(FAST_OPENERS)
        self._missing = 0
        self._complete = asyncio.Event()

    async def open_all(self, kinds: dict[Kind, int], group: asyncio.TaskGroup) -> None:
        """Begin so many connections of each kind in ``group``; return when all are open."""
        self._missing = sum(kinds.values())
        for kind, number in kinds.items():
            for _ in range(number):
                group.create_task(kind())
        await self._complete.wait()

    async def idle(self) -> None:
        """Send one event, read its answer, and stay."""
        await self._stay(self._request)

    async def half_head(self) -> None:
        """Send half a head and stay."""
        await self._stay(self._request[: self._head_bytes // 2])

    async def half_closed(self) -> None:
        """Send half a request, close the sending half of the connection, and stay."""
        await self._stay(self._request[:-10], closes=True)

    async def slow_head(self) -> None:
        """Send the head a byte a second."""
        await self._drip(b"", self._request)

    async def slow_body(self) -> None:
        """Send the body a byte a second."""
        await self._drip(self._request[: self._head_bytes], self._request[self._head_bytes :])

    async def _stay(self, first: bytes, *, closes: bool = False) -> None:
        reader, writer = await self._open(first)
        if closes:
            writer.write_eof()
        try:
            while await reader.read(4096):
                pass
        except OSError:
            pass
        finally:
            writer.close()

    async def _drip(self, first: bytes, rest: bytes) -> None:
        _, writer = await self._open(first)
        try:
            for value in rest:
                writer.write(bytes((value,)))
                await writer.drain()
                await asyncio.sleep(BYTE_EVERY_S)
        except OSError:
            pass
        finally:
            writer.close()

    async def _open(self, first: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._openers:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._missing -= 1
            if not self._missing:
                self._complete.set()
            writer.write(first)
            await writer.drain()
            return reader, writer


async def gather_crowd(*, port: int, domain: str, idle: int, slow: int) -> None:
    """Open ``idle`` idle connections and ``slow`` of each other kind; return when the service closed all."""
    crowd = Crowd(port, domain)
    slow_kinds: tuple[Kind, ...] = (crowd.half_head, crowd.half_closed, crowd.slow_head, crowd.slow_body)
    async with asyncio.TaskGroup() as group:
        await crowd.open_all({crowd.idle: idle} | dict.fromkeys(slow_kinds, slow), group)
        sys.stdout.write(f"{idle:,} idle, {slow * len(slow_kinds):,} slow\n")
        sys.stdout.flush()


def main() -> None:
    """Parse, open, stay."""
    parser = argparse.ArgumentParser(description="Open connections that ask for nothing.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--idle", type=int, required=True)
    parser.add_argument("--slow", type=int, required=True, help="of each of the four slow kinds")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = options.idle + 4 * options.slow + SPARE_FILES
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise SystemExit(f"{wanted} open files are needed, the limit is {hard}: ask for fewer connections.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    uvloop.run(gather_crowd(port=options.port, domain=options.domain, idle=options.idle, slow=options.slow))


if __name__ == "__main__":
    main()
