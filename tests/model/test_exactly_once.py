"""Whatever happens in between, what was acknowledged is stored exactly once, and sessions sum up to it."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.buffer import BlockLimits
from actors.system import SystemSettings
from service.ingestion.verdict import BUFFERED
from tests.support.memory_store import MemoryStore
from tests.support.running_system import NOON, RunningSystem, SetClock, running_system

NAMES = ("pageview", "Signup", "engagement")
SETTINGS = SystemSettings(block=BlockLimits(max_rows=3, max_waiting=1), tick_s=0.005)

send = st.tuples(st.just("send"), st.sampled_from(NAMES), st.integers(0, 2), st.booleans())
burst = st.tuples(st.just("burst"), st.integers(0, 2), st.integers(2, 8))
send_back_dated = st.tuples(st.just("late"), st.sampled_from(NAMES), st.integers(0, 2), st.integers(0, 7200))
wait = st.tuples(st.just("wait"), st.integers(1, 2000))
away = st.tuples(st.just("away"), st.booleans())
lose = st.tuples(st.just("lose"), st.integers(1, 2))
flush = st.tuples(st.just("flush"))
restart = st.tuples(st.just("restart"))
actions = st.lists(st.one_of(send, burst, send_back_dated, wait, away, lose, flush, restart), max_size=60)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(script=actions, journal_max_bytes=st.sampled_from([1200, 2500, 10**6]))
def test_acknowledged_is_stored_once(script: Sequence[tuple[object, ...]], journal_max_bytes: int) -> None:
    """Lost answers, outages, full journals and restarts neither lose nor double an event or bend a sum."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), script, journal_max_bytes))


async def _play(folder: Path, script: Sequence[tuple[object, ...]], journal_max_bytes: int) -> None:
    store, clock = MemoryStore(), SetClock(NOON)
    acknowledged: list[str] = []
    for life in _lives(script):
        async with running_system(
            folder, store=store, clock=clock, settings=SETTINGS, journal_max_bytes=journal_max_bytes
        ) as running:
            for action in life:
                await _do(running, action, acknowledged)
            await _flush(running)

    counted = [name for name in acknowledged if name != "engagement"]
    sessions = store.live_sessions()
    assert len(store.events) == len(acknowledged)
    assert sum(session.events for session in sessions) == len(counted)
    assert sum(session.pageviews for session in sessions) == counted.count("pageview")
    assert {session.session_id for session in sessions} == {event.session_id for event in store.events}
    assert all(session.duration >= 0 and session.start <= session.timestamp for session in sessions)


def _lives(script: Sequence[tuple[object, ...]]) -> list[list[tuple[object, ...]]]:
    lives: list[list[tuple[object, ...]]] = [[]]
    for action in script:
        if action[0] == "restart":
            lives.append([])
        else:
            lives[-1].append(action)
    return lives


async def _flush(running: RunningSystem) -> None:
    running.store.away = False
    await running.system.flush()


async def _do(running: RunningSystem, action: tuple[object, ...], acknowledged: list[str]) -> None:
    match action:
        case ("burst", int() as visitor, int() as count):
            requests = [running.request(visitor=visitor) for _ in range(count)]
            verdicts = await asyncio.gather(*(running.send(request) for request in requests))
            acknowledged.extend("pageview" for verdict in verdicts if verdict == [BUFFERED])
            return
        case ("send", str() as name, int() as visitor, bool() as interactive):
            request = running.request(name=name, visitor=visitor, interactive=interactive)
        case ("late", str() as name, int() as visitor, int() as ago):
            request = running.request(name=name, visitor=visitor, at=int(running.clock.now) - ago)
        case ("wait", int() as seconds):
            running.clock.now += seconds
            return
        case ("away", bool() as gone):
            running.store.away = gone
            return
        case ("flush",):
            await _flush(running)
            return
        case ("lose", int() as answers):
            running.store.loses_answers = answers
            return
        case _:
            raise AssertionError(f"no such action: {action}")
    if await running.send(request) == [BUFFERED]:
        acknowledged.append(name)
