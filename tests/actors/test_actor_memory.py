"""What an idle actor weighs: thousands of sites are awake at once."""

import asyncio
import gc
import tracemalloc
from pathlib import Path

from actors.runtime import Actor, Envelope
from actors.site import Appending
from actors.supervision import ChildSpec, Supervisor
from actors.system import SystemSettings
from tests.support.running_system import running_system

ACTORS = 2000
MAX_BYTES = 5000
"""For actor, task, mailbox and ref; a site actor without sessions must stay under 6 kB in all."""


class Idle(Actor):
    """An actor without state."""

    kind = "idle"
    mailbox_bound = 1000
    __slots__ = ()

    def receive(self, envelope: Envelope) -> None:
        """Answer."""
        envelope.reply(None)


async def test_idle_actor_is_small() -> None:
    """Actor, task, mailbox and ref together stay under the limit, also after they have worked."""
    supervisor = Supervisor()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        refs = [supervisor.start_child_now(ChildSpec(f"idle-{number}", Idle)) for number in range(ACTORS)]
        for ref in refs:
            await ref.ask("x", timeout_s=60.0)
        await asyncio.sleep(0)  # the last one gets back to its wait
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await supervisor.stop_together(drain=False)

    assert (after - before) / ACTORS < MAX_BYTES


async def test_site_keeps_nothing_of_what_was_answered(tmp_path: Path) -> None:
    """Not until its next message: of thousands of sites that is much for the garbage collection to see."""
    domains = [f"site-{number}.example.com" for number in range(5)]
    gc.collect()
    before = count_appendings()
    async with running_system(tmp_path, domains=domains, settings=SystemSettings(tick_s=60)) as running:
        for domain in domains:
            await running.send(running.request(domain))
        await asyncio.sleep(0)  # the last turn ends

        assert count_appendings() == before


def count_appendings() -> int:
    """Count the appends that something holds."""
    return sum(type(found) is Appending for found in gc.get_objects())
