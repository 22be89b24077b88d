"""A flood of made-up user agents, each dear to take apart, costs the site it is sent to and no other."""

import asyncio
from pathlib import Path

from actors.runtime import BATCH_MAX
from actors.site import SiteActor
from actors.system import SystemSettings
from service.ingestion.user_agent import Detection, UserAgents
from service.ingestion.verdict import BUFFERED
from tests.support.running_system import FIREFOX, buffered, running_system
from tests.support.user_agents import engine

FLOOD = SiteActor.mailbox_bound
PATIENT = SystemSettings(ask_timeout_s=60.0)
"""All of the flood is judged, however slow the machine is."""
MEMORY = 100
TURNS = 5
"""Of the flooded site, while an event passes the door, its own site and the buffer."""


async def test_other_sites_do_not_wait_for_it(tmp_path: Path) -> None:
    """While a site's mailbox is full of user agents never seen, another site's event is answered early.

    The other site's browser stays in memory, too.
    """
    taken_apart: list[str] = []
    begun = asyncio.Event()

    def take_apart(user_agent: str) -> Detection | None:
        taken_apart.append(user_agent)
        if user_agent != FIREFOX:
            begun.set()
        return engine().take_apart(user_agent)

    async with running_system(
        tmp_path,
        domains=["flooded.example", "quiet.example"],
        settings=PATIENT,
        user_agents=UserAgents(take_apart, capacity=MEMORY),
    ) as running:
        for domain in ("flooded.example", "quiet.example"):
            await running.send(running.request(domain))
        flood = [
            running.request("flooded.example", user_agent=f"{FIREFOX} {number}") for number in range(FLOOD)
        ]
        flooding = asyncio.create_task(running.send_batch(flood))
        await begun.wait()
        before = len(taken_apart)
        answers = await running.send(running.request("quiet.example", visitor=2))
        meanwhile = len(taken_apart) - before
        assert answers == [BUFFERED]
        assert meanwhile <= TURNS * BATCH_MAX
        assert not flooding.done()
        assert buffered(await flooding) == FLOOD
        assert len(taken_apart) == FLOOD + 1
