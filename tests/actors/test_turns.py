"""Turns: what comes at once goes through all actors at once, and nobody keeps the loop."""

import asyncio
from typing import ClassVar

from actors.runtime import Actor, Envelope, Ref
from actors.supervision import ChildSpec, Supervisor
from actors.turns import Turns


class Forwarder(Actor):
    """Passes numbers on, one smaller each time, until they are used up."""

    kind: ClassVar[str] = "forwarder"
    mailbox_bound: ClassVar[int] = 1000

    def __init__(self) -> None:
        self.next: Ref[int] | None = None
        self.seen: list[int] = []

    def receive(self, envelope: Envelope) -> None:
        """Note the number, and pass it on."""
        self.seen.append(envelope.message)
        if self.next is not None and envelope.message:
            self.next.tell(envelope.message - 1)


async def start(supervisor: Supervisor, name: str) -> tuple[Forwarder, Ref[int]]:
    """Start a forwarder and wait until it rests."""
    actor = Forwarder()
    ref = await supervisor.start_child(ChildSpec(name, lambda: actor))
    await asyncio.sleep(0)
    return actor, ref


async def test_a_message_goes_down_a_chain_in_one_turn_of_the_loop() -> None:
    """Whoever is sent something by an actor has its turn before the loop looks at its sockets again."""
    supervisor = Supervisor()
    actors, refs = zip(*[await start(supervisor, str(number)) for number in range(4)], strict=True)
    for actor, ref in zip(actors, refs[1:], strict=False):
        actor.next = ref

    refs[0].tell(3)
    await asyncio.sleep(0)

    assert [actor.seen for actor in actors] == [[3], [2], [1], [0]]
    await supervisor.stop_all()


async def test_actors_of_two_supervisors_share_a_round() -> None:
    """With the same turns a message crosses from one group into the other in one turn of the loop."""
    turns = Turns()
    above, below = Supervisor(turns=turns), Supervisor(turns=turns)
    (first, first_ref), (second, second_ref) = await start(above, "first"), await start(below, "second")
    first.next = second_ref

    first_ref.tell(1)
    await asyncio.sleep(0)

    assert second.seen == [0]
    await above.stop_all()
    await below.stop_all()


async def test_a_game_without_end_leaves_the_loop_its_turns() -> None:
    """Two actors that send each other messages have one turn each in a turn of the loop."""
    supervisor = Supervisor()
    (ping, ping_ref), (pong, pong_ref) = await start(supervisor, "ping"), await start(supervisor, "pong")
    ping.next, pong.next = pong_ref, ping_ref

    ping_ref.tell(1_000)
    for _ in range(10):
        await asyncio.sleep(0)

    assert len(ping.seen) + len(pong.seen) <= 20
    ping.next = pong.next = None
    await supervisor.stop_all()


async def test_a_flood_has_one_batch_in_a_turn_of_the_loop() -> None:
    """An actor with more messages than fit into a batch lets the loop go on in between."""
    supervisor = Supervisor()
    actor, ref = await start(supervisor, "flooded")
    for _ in range(250):
        ref.tell(0)

    await asyncio.sleep(0)
    after_one = len(actor.seen)
    for _ in range(2):
        await asyncio.sleep(0)

    assert (after_one, len(actor.seen)) == (100, 250)
    await supervisor.stop_all()
