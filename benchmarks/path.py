"""The whole path of an event in one process, without sockets and without a database.

``python -m benchmarks.path`` prints the CPU microseconds of an event from its bytes to the actors, and from
there to the answer: of the lowest tenth of the turns, which hears least of what else the machine does, and of
the median. ``--new``: every visitor is new. ``--opcodes`` counts by function what the interpreter executes:
the same on every machine, however busy it is. A turn is a request on each of 32 connections. Blocks are
encoded as for a store, and thrown away.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from time import thread_time_ns
from types import CodeType, FrameType
from typing import Any, Final, cast

import uvloop

from benchmarks.traffic import make_new_visitors, make_requests
from service.cli.serve import GC_THRESHOLDS
from service.clickhouse.columns import event_pieces, session_pieces
from service.clickhouse.schema import EVENTS_TABLE, SESSIONS_TABLE
from service.clickhouse.store import Block
from service.clock import wall
from service.http.app import public_app, public_runner
from service.http.lean.connection import LeanConnection
from service.ingestion.user_agent import Detection, UserAgents
from service.tracing.spans import Sampling, Tracing
from tests.support.memory_store import MemoryStore
from tests.support.public_server import public_settings
from tests.support.running_system import SetClock, running_system

CONNECTIONS: Final = 32
WARM_UP_EVENTS: Final = 9_600
EVENTS: Final = 64_000
COUNTED_EVENTS: Final = 6_400
SHOWN: Final = 40
HOST: Final = "127.0.0.1:8000"
DOMAIN: Final = "bench.example"


class Wall(SetClock):
    """The clock of the wall, where a test's is asked for."""

    def __init__(self) -> None:
        super().__init__(wall())

    def __call__(self) -> float:
        """Give UTC epoch seconds."""
        return wall()


class Encoder(MemoryStore):
    """Encodes blocks, a piece a turn of the loop, and keeps nothing."""

    async def insert_block(self, block: Block) -> None:
        """Encode the block."""
        for _ in event_pieces(EVENTS_TABLE.columns, block.events):
            await asyncio.sleep(0)
        for _ in session_pieces(SESSIONS_TABLE.columns, block.sessions):
            await asyncio.sleep(0)


class Wire(asyncio.Transport):
    """The other end of a connection: it counts what is written."""

    def __init__(self, connection: LeanConnection, note: Callable[[], None]) -> None:
        super().__init__()
        self.receive = connection.data_received
        self._note = note
        connection.connection_made(self)

    def write(self, data: Any) -> None:
        """Take an answer."""
        self._note()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell the address of the other end, and no more."""
        return ("127.0.0.1", 50_000) if name == "peername" else default

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def close(self) -> None:
        """Stay open."""


class Opcodes:
    """Counts what the interpreter executes, by function."""

    def __init__(self) -> None:
        self.executed: Counter[CodeType] = Counter()
        self.calls: Counter[CodeType] = Counter()

    def __enter__(self) -> "Opcodes":
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def show(self, events: int) -> str:
        """Give the functions that execute most, and the sums, for one of so many events."""
        lines = [
            f"{sum(self.executed.values()) / events:9.1f} opcodes, "
            f"{sum(self.calls.values()) / events:.1f} calls of Python functions"
        ]
        for code, count in self.executed.most_common(SHOWN):
            place = Path(code.co_filename).name
            lines.append(
                f"{count / events:9.1f}{self.calls[code] / events:7.2f}  {code.co_qualname}, {place}"
            )
        return "\n".join(lines)

    def _enter(self, frame: FrameType, _event: str, _argument: object) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        code = frame.f_code
        self.calls[code] += 1

        def step(_frame: FrameType, event: str, _argument: object) -> Any:
            if event == "opcode":
                self.executed[code] += 1
            return step

        return step


class Turns:
    """Sends a request on each connection at once, and waits for the answers."""

    def __init__(self, connect: Callable[[], LeanConnection], requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._missing = 0
        self._answered = asyncio.Event()
        self._wires = [Wire(connect(), self._note) for _ in range(CONNECTIONS)]

    async def take(self) -> tuple[int, int]:
        """Give the nanoseconds of CPU time until all is read, and from there until all is answered."""
        requests = list(islice(self._requests, CONNECTIONS))
        self._missing = CONNECTIONS
        self._answered.clear()
        began = thread_time_ns()
        for wire, request in zip(self._wires, requests, strict=True):
            wire.receive(request)
        read = thread_time_ns()
        await self._answered.wait()
        return read - began, thread_time_ns() - read

    def _note(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._answered.set()


async def measure(*, new: bool, opcodes: bool) -> str:
    """Run the system, warm up, and say what an event costs."""
    tracing = Tracing(lambda _: True, sampling=Sampling(ratio=0.01, slow_s=1.0))
    user_agents = UserAgents(_take_apart, capacity=10_000)
    with tempfile.TemporaryDirectory() as name:
        async with running_system(
            Path(name),
            store=Encoder(),
            clock=Wall(),
            domains=(DOMAIN,),
            tracing=tracing,
            user_agents=user_agents,
        ) as running:
            app = public_app(
                system=running.system,
                settings=public_settings(),
                clock=wall,
                telemetry=running.telemetry,
                tracing=tracing,
            )
            runner = public_runner(app)
            await runner.setup()
            requests = make_new_visitors if new else _known
            turns = Turns(
                cast(Callable[[], LeanConnection], runner.server), requests(host=HOST, domain=DOMAIN)
            )
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            for _ in range(WARM_UP_EVENTS // CONNECTIONS):
                await turns.take()
            if opcodes:
                with Opcodes() as counted:
                    for _ in range(COUNTED_EVENTS // CONNECTIONS):
                        await turns.take()
                return counted.show(COUNTED_EVENTS)
            taken = [await turns.take() for _ in range(EVENTS // CONNECTIONS)]
    return "\n".join(
        f"{what:10}{_share(times, 0.1):8.2f} {_share(times, 0.5):8.2f} µs"
        for what, times in zip(("reading", "the rest"), zip(*taken, strict=True), strict=True)
    )


def _known(*, host: str, domain: str) -> Iterator[bytes]:
    return cycle(make_requests(host=host, domain=domain))


def _share(times: tuple[int, ...], share: float) -> float:
    return sorted(times)[int(len(times) * share)] / CONNECTIONS / 1000


def _take_apart(user_agent: str) -> Detection:
    """Stand for the engine, which compiles in a thread meanwhile; the service asks it once a user agent."""
    return Detection(client_type="browser", client=f"Browser {len(user_agent) % 9}", client_version="1.0")


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.path", description=__doc__)
    parser.add_argument("--new", action="store_true", help="every visitor is new")
    parser.add_argument("--opcodes", action="store_true", help="count opcodes by function instead of time")
    options = parser.parse_args()
    print(uvloop.run(measure(new=options.new, opcodes=options.opcodes)))


if __name__ == "__main__":
    main()
