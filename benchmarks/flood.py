"""Measures what a flood of made-up user agents at one site costs the events of another.

    python -m benchmarks.flood [FOLDER]

FOLDER keeps the built databases (default: a temporary one, which takes half a minute more). A whole system
runs in this process, without HTTP. One site gets an event every few milliseconds; another one is kept full by
senders that send the next event when the last is answered: once with one browser, once with user agents never
seen. What the second costs over the first is the user agents' doing; the sending itself shares the processor.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from benchmarks.traffic import USER_AGENTS
from service.ingestion.user_agent import UserAgents
from service.user_agents.engine import UserAgentEngine
from tests.support.running_system import RunningSystem, running_system

ROUNDS = 3
EVENTS = 500
PAUSE_S = 0.004
SENDERS = 800
"""Of the flood: as many events wait in its site's mailbox, which takes 1,000."""
BUILD_PATIENCE_S = 300.0
FLOODED, QUIET = "flooded.example", "quiet.example"


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(measure(Path(sys.argv[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder)))


async def measure(folder: Path) -> None:
    engine = UserAgentEngine(folder)
    engine.start(delay_s=0)
    engine.wait(BUILD_PATIENCE_S)
    numbers = count()
    floods: dict[str, Callable[[], str] | None] = {
        "none": None,
        "one browser": lambda: USER_AGENTS[0],
        "user agents never seen": lambda: f"{USER_AGENTS[0]} x/{next(numbers)}",
    }
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in floods}
    for _ in range(ROUNDS):
        for name, user_agent in floods.items():
            with tempfile.TemporaryDirectory() as data:
                user_agents = UserAgents(engine.take_apart, capacity=10_000)
                async with running_system(
                    Path(data), domains=[FLOODED, QUIET], user_agents=user_agents
                ) as running:
                    taken[name].append(await measure_one(running, user_agent))
    print(f"scanning with {engine.scans_with}; medians of {ROUNDS} rounds of {EVENTS} events\n")
    print("| flood at another site | p50 ms | p99 ms | flood, events/s |\n|---|---|---|---|")
    for name, rounds in taken.items():
        p50, p99, rate = map(statistics.median, zip(*rounds, strict=True))
        print(f"| {name} | {p50 * 1e3:.2f} | {p99 * 1e3:.2f} | {rate:,.0f} |")


async def measure_one(
    running: RunningSystem, user_agent: Callable[[], str] | None
) -> tuple[float, float, float]:
    """Give p50 and p99 of the quiet site's answers, in seconds, and the flood's events a second."""
    async with flooding(running, user_agent) as answered:
        spent: list[float] = []
        began, before = time.perf_counter(), len(answered)
        for number in range(EVENTS):
            request = running.request(QUIET, visitor=number % 250 + 1)
            sent = time.perf_counter()
            await running.send(request)
            spent.append(time.perf_counter() - sent)
            await asyncio.sleep(PAUSE_S)
        rate = (len(answered) - before) / (time.perf_counter() - began)
    spent.sort()
    return spent[len(spent) // 2], spent[len(spent) * 99 // 100], rate


@asynccontextmanager
async def flooding(running: RunningSystem, user_agent: Callable[[], str] | None) -> AsyncIterator[list[None]]:
    """Keep the other site full while the block lasts; gives a list that grows with each answer."""
    answered: list[None] = []
    ended = user_agent is None

    async def send(visitor: int) -> None:
        while not ended and user_agent is not None:
            await running.send(running.request(FLOODED, visitor=visitor, user_agent=user_agent()))
            answered.append(None)

    senders = [asyncio.create_task(send(number % 250 + 1)) for number in range(SENDERS)]
    try:
        yield answered
    finally:
        ended = True
        await asyncio.gather(*senders)


if __name__ == "__main__":
    main()
