"""How many connections may be open: who goes when one more comes, and what the others notice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from service.http.app import KEEP_ALIVE_S, LINGER_S, public_app, public_runner
from service.http.lean.connection import LeanConnection
from service.http.lean.door import LINGERING, LOOK_AGAIN_S, QUIET_S, Door
from service.telemetry import Telemetry
from tests.support.http_streams import post
from tests.support.public_server import NOW, ScriptedSystem, parse_responses, public_settings
from tests.support.wire import PatientSystem, Wire

LIMIT = 4
PLAIN = post()


@asynccontextmanager
async def listener(system: Any, door: Door) -> AsyncIterator[Callable[[], Wire]]:
    """Give what makes new connections of a public listener with that door."""
    app = public_app(
        system=system, settings=public_settings(), clock=lambda: NOW, telemetry=Telemetry(), door=door
    )
    runner = public_runner(app, shutdown_timeout_s=0.1)
    await runner.setup()
    server = cast(Callable[[], LeanConnection], runner.server)
    try:
        yield lambda: Wire(server())
    finally:
        await runner.cleanup()


def statuses(wire: Wire) -> list[int]:
    """Give the statuses of all that came back."""
    return [response.status for response in parse_responses(wire.received)]


def age(wire: Wire, seconds: float) -> None:
    """Let a connection have been quiet for some time."""
    wire.connection._quiet_until -= seconds


async def test_the_one_that_was_quiet_longest_goes() -> None:
    """At the bound, for a new connection that is served; the others stay."""
    door = Door(LIMIT)
    async with listener(ScriptedSystem(), door) as connect:
        old = [connect() for _ in range(LIMIT)]
        for number, wire in enumerate(old):
            age(wire, 10 + (number == 2))
        new = connect()
        new.send(PLAIN)
        await new.settle()
        assert [wire.is_lost for wire in old] == [False, False, True, False]
        assert statuses(new) == [202]
        assert (door.count(), door.let_go, door.refused) == (LIMIT, 1, 0)


async def test_drops_do_not_make_a_connection_busy() -> None:
    """A sender of a head in drops, and one of a body, go like idle ones."""
    door = Door(2)
    async with listener(ScriptedSystem(), door) as connect:
        slow = [connect(), connect()]
        slow[0].send(PLAIN[:20])
        slow[1].send(PLAIN[:-5])
        for wire in slow:
            age(wire, QUIET_S)
            wire.send(PLAIN[20:21] if wire is slow[0] else PLAIN[-5:-4])
        new = [connect(), connect()]
        for wire in new:
            wire.send(PLAIN)
        await new[1].settle()
        assert all(wire.is_lost for wire in slow)
        assert [statuses(wire) for wire in new] == [[202], [202]]


async def test_when_all_are_at_work_the_new_one_is_refused() -> None:
    """With 503 and when to try again; the ones at work get their answers."""
    door, system = Door(2), PatientSystem()
    async with listener(system, door) as connect:
        busy = [connect(), connect()]
        for wire in busy:
            age(wire, KEEP_ALIVE_S)
            wire.send(PLAIN)
        refused = connect()
        (answer,) = parse_responses(refused.received)
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (
            503,
            "1",
            "close",
        )
        refused.send(PLAIN)
        assert not refused.is_closing(), "its sender would see that the connection broke, and no answer"
        refused.end()
        for number in range(2):
            system.answer(number)
        await busy[0].settle()
        assert refused.is_lost
        assert [statuses(wire) for wire in busy] == [[202], [202]]
        assert (len(system.envelopes), door.count(), door.let_go, door.refused) == (2, 2, 0, 1)


async def test_refused_ones_do_not_stay_in_numbers() -> None:
    """Some may stay until their senders saw the answer, for a second; those beyond are closed at once."""
    door, system = Door(1), PatientSystem()
    async with listener(system, door) as connect:
        connect().send(PLAIN)
        refused = [connect() for _ in range(LINGERING + 3)]
        assert {wire.received[:12] for wire in refused} == {b"HTTP/1.1 503"}
        assert door.count() == 1
        assert [wire.is_closing() for wire in refused] == [False] * LINGERING + [True] * 3
        now = asyncio.get_running_loop().time()
        for wire in refused:
            wire.connection.look_at(now + LINGER_S + 1)
        await refused[0].settle()
        assert all(wire.is_lost for wire in refused)
        assert (door.count(), door.refused) == (1, LINGERING + 3)


async def test_connections_of_aiohttp_count_and_make_room_too() -> None:
    """Those that were handed over are closed when they have nothing to do."""
    door = Door(1)
    async with listener(ScriptedSystem(), door) as connect:
        monitor = connect()
        monitor.send(b"GET /api/system/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        await monitor.settle()
        assert (monitor.is_handed_over, statuses(monitor), door.count()) == (True, [200], 1)
        early = connect()
        await monitor.settle()
        assert statuses(early) == [503]
        assert monitor.is_lost
        late = connect()
        late.send(PLAIN)
        await late.settle()
        assert statuses(late) == [202]


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 3)), max_size=60), st.integers(1, 8))
def test_there_are_never_more_than_the_limit(steps: list[tuple[float, int]], limit: int) -> None:
    """Whatever closes when; every new connection is let in or counted, and nobody is looked for too often."""
    door, opened, now, looks = Door(limit), 0, 0.0, [-LOOK_AGAIN_S]

    def count() -> int:
        return opened

    def let_go(wanted: int) -> int:
        nonlocal opened
        looks.append(now)
        gone = min(wanted, quiet, opened)
        opened -= gone
        return gone

    door.count, entered = count, 0
    quiet = 0
    for pause, can_go in steps:
        quiet = can_go
        now += pause
        if door.has_room(now, let_go):
            opened += 1
            entered += 1
        assert opened <= limit
    assert entered + door.refused == len(steps)
    assert opened == entered - door.let_go
