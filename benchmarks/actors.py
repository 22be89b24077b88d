"""The actor kernel alone: messages a second for tell, ask and a chain, and the weight of an idle actor.

``python -m benchmarks.actors``. Compare ratios, not figures, between machines.
"""

import argparse
import asyncio
import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import Any

import uvloop

from actors.runtime import Actor, Envelope, Ref
from actors.supervision import ChildSpec, Supervisor

MESSAGES = 100_000
BURST = 100
"""Messages sent in one turn of the loop."""
IDLE_ACTORS = 2_000
DEADLINE_S = 60.0


class Echo(Actor):
    """Answers with the message."""

    kind = "echo"
    mailbox_bound = 10 * BURST
    __slots__ = ()

    def receive(self, envelope: Envelope) -> None:
        """Answer."""
        envelope.reply(envelope.message)


class Relay(Actor):
    """Passes a message on with a future of its own, and the answer back."""

    kind = "relay"
    mailbox_bound = 10 * BURST
    __slots__ = ("_next",)

    def __init__(self, following: Ref[Any]) -> None:
        self._next = following

    def receive(self, envelope: Envelope) -> None:
        """Pass on; the answer comes by a callback, not by a wait."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: envelope.reply(done.result()))
        self._next.offer(Envelope(envelope.message, answer, None))


async def tell_singly(echo: Ref[Any]) -> None:
    """One tell a turn: each one wakes the actor."""
    for number in range(MESSAGES):
        echo.tell(number)
        await asyncio.sleep(0)


async def tell_in_bursts(echo: Ref[Any]) -> None:
    """Many tells a turn: one wake-up for all."""
    for _ in range(MESSAGES // BURST):
        for number in range(BURST):
            echo.tell(number)
        await asyncio.sleep(0)


async def ask_singly(echo: Ref[Any]) -> None:
    """One asker, the convenient way, with a timer."""
    for number in range(MESSAGES):
        await echo.ask(number, timeout_s=DEADLINE_S)


async def offer_in_bursts(target: Ref[Any]) -> None:
    """Many askers at once, each with a future and deadline of its own: the hot path."""
    loop = asyncio.get_running_loop()
    for _ in range(MESSAGES // BURST):
        deadline = loop.time() + DEADLINE_S
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in range(BURST)]
        for future in futures:
            target.offer(Envelope("x", future, deadline))
        for future in futures:
            await future


async def measure(rounds: int) -> list[tuple[str, float]]:
    """Give messages a second for each way of sending, as the median of the rounds, taken in turns."""
    supervisor = Supervisor()
    echo = await supervisor.start_child(ChildSpec("echo", Echo))
    near = await supervisor.start_child(ChildSpec("near", lambda: Relay(echo)))
    far = await supervisor.start_child(ChildSpec("far", lambda: Relay(near)))
    ways: list[tuple[str, Callable[[Ref[Any]], Awaitable[None]], Ref[Any]]] = [
        ("tell, 1 per turn", tell_singly, echo),
        (f"tell, {BURST} per turn", tell_in_bursts, echo),
        ("ask, 1 caller", ask_singly, echo),
        (f"ask by offer, {BURST} callers", offer_in_bursts, echo),
        (f"chain of 3 asks, {BURST} callers", offer_in_bursts, far),
    ]
    rates: dict[str, list[float]] = {name: [] for name, _, _ in ways}
    for _ in range(rounds):
        for name, send, target in ways:
            began = perf_counter()
            await send(target)
            rates[name].append(MESSAGES / (perf_counter() - began))
    await supervisor.stop_all()
    return [(name, median(figures)) for name, figures in rates.items()]


async def weigh() -> float:
    """Give the bytes of one idle actor that has worked: actor, task, mailbox, ref and spec."""
    supervisor = Supervisor()
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    refs = [supervisor.start_child_now(ChildSpec(f"echo-{number}", Echo)) for number in range(IDLE_ACTORS)]
    for ref in refs:
        await ref.ask("x", timeout_s=DEADLINE_S)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await supervisor.stop_together(drain=False)
    return (after - before) / IDLE_ACTORS


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-uvloop", action="store_true", help="use the standard loop")
    options = parser.parse_args()
    start = asyncio.run if options.no_uvloop else uvloop.run
    for name, rate in start(measure(options.rounds)):
        print(f"{name:32}{rate:>12,.0f} /s{1e6 / rate:>8.2f} µs")
    print(f"{'idle actor':32}{start(weigh()):>12,.0f} bytes")


if __name__ == "__main__":
    main()
