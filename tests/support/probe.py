"""A small actor for tests of the kernel: it notes what it gets and does what the message says."""

import asyncio
from collections.abc import Awaitable, Callable

from actors.runtime import Actor, Envelope, StopReason

PATIENCE_TURNS = 10_000
"""Turns of the loop after which a test is told that what it waits for does not come."""


async def until(condition: Callable[[], object]) -> None:
    """Give others their turns until something holds."""
    for _ in range(PATIENCE_TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("what the test waits for does not come")


class Probe(Actor):
    """Notes each message in ``seen``, shared by all of its lives, and answers with the message itself.

    An exception is raised; a future is awaited first; everything else is answered at once.
    """

    kind = "probe"
    mailbox_bound = 1000

    def __init__(self, seen: list[object]) -> None:
        self.seen = seen

    async def on_start(self) -> None:
        """Note the start."""
        self.seen.append("started")

    def receive(self, envelope: Envelope) -> Awaitable[None] | None:
        """Note the message and do as it says."""
        self.seen.append(envelope.message)
        if isinstance(envelope.message, Exception):
            raise envelope.message
        if isinstance(envelope.message, asyncio.Future):
            return self._hold(envelope)
        envelope.reply(envelope.message)
        return None

    async def on_stop(self, reason: StopReason) -> None:
        """Note the reason."""
        self.seen.append(reason)

    async def _hold(self, envelope: Envelope) -> None:
        await envelope.message
        envelope.reply("released")
