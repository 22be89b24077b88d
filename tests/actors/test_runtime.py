"""What a message can rely on: order, bounds, deadlines, and an answer for every asker."""

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from actors.runtime import (
    BATCH_MAX,
    TURN_S,
    Actor,
    ActorCrashed,
    ActorStopped,
    DeadlineExceeded,
    Envelope,
    MailboxFull,
    Ref,
    Stop,
    StopReason,
    Undelivered,
)
from actors.supervision import ChildSpec, Supervisor
from tests.support.probe import Probe, until

LONG_S = 60.0
"""A deadline that no test reaches."""


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    """A supervisor whose children are gone after the test."""
    supervisor = Supervisor()
    yield supervisor
    await supervisor.stop_together(drain=False)


@pytest.fixture
def seen() -> list[object]:
    """What the probe got, in order."""
    return []


@pytest.fixture
async def probe(supervisor: Supervisor, seen: list[object]) -> Ref[Any]:
    """A running probe."""
    return await supervisor.start_child(ChildSpec("probe", lambda: Probe(seen)))


def gate() -> "asyncio.Future[None]":
    """A message that holds the probe until it is given a result."""
    return asyncio.get_running_loop().create_future()


def ask_of(message: object, *, deadline: float | None = None) -> tuple[Envelope, "asyncio.Future[Any]"]:
    """An envelope whose future the test owns."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    return Envelope(message, future, deadline), future


async def test_ask_gives_the_answer(probe: Ref[Any]) -> None:
    """An ask returns what the actor replied."""
    assert await probe.ask("hello", timeout_s=LONG_S) == "hello"


async def test_order_per_sender(probe: Ref[Any], seen: list[object]) -> None:
    """Messages of one sender are handled in the order sent, over many batches."""
    messages = list(range(3 * BATCH_MAX))
    for message in messages[:-1]:
        probe.tell(message)
    await probe.ask(messages[-1], timeout_s=LONG_S)

    assert seen == ["started", *messages]


async def test_one_message_at_a_time(probe: Ref[Any], seen: list[object]) -> None:
    """While a handler waits, the next message is not looked at."""
    hold = gate()
    probe.tell(hold)
    answer = asyncio.ensure_future(probe.ask("next", timeout_s=LONG_S))
    for _ in range(5):
        await asyncio.sleep(0)  # turns in which a handler that interleaves would run
    held = list(seen)
    hold.set_result(None)
    await answer

    assert held == ["started", hold]
    assert seen == ["started", hold, "next"]


async def test_control_overtakes_work(probe: Ref[Any], seen: list[object]) -> None:
    """A control message sent last is handled before the work that waits."""
    probe.tell("work")
    probe.tell_control("control")
    await probe.ask("end", timeout_s=LONG_S)

    assert seen == ["started", "control", "work", "end"]


async def test_control_overtakes_the_rest_of_a_batch(probe: Ref[Any], seen: list[object]) -> None:
    """A control message that comes while a handler waits goes before work taken in the same batch."""
    hold = gate()
    probe.tell(hold)
    probe.tell("work")
    await until(lambda: hold in seen)
    probe.tell_control("control")
    hold.set_result(None)
    await probe.ask("end", timeout_s=LONG_S)

    assert seen == ["started", hold, "control", "work", "end"]


async def test_tell_is_refused_when_full(supervisor: Supervisor, seen: list[object]) -> None:
    """A tell beyond the bound is False, counted by the mailbox, and a dead letter."""
    probe = await supervisor.start_child(ChildSpec("probe", lambda: Probe(seen), mailbox_bound=2))

    assert [probe.tell(number) for number in range(3)] == [True, True, False]
    assert probe.statistics().refused == 1
    assert supervisor.dead_letters.statistics() == {("probe", Undelivered.FULL): 1}


async def test_ask_is_refused_when_full(supervisor: Supervisor, seen: list[object]) -> None:
    """An ask beyond the bound fails at once; its asker knows, so it is no dead letter."""
    probe = await supervisor.start_child(ChildSpec("probe", lambda: Probe(seen), mailbox_bound=1))
    probe.tell("fills it")

    with pytest.raises(MailboxFull, match="'probe' has 1 messages waiting"):
        await probe.ask("too much", timeout_s=LONG_S)
    assert supervisor.dead_letters.statistics() == {}


async def test_refused_offer_leaves_the_future_alone(supervisor: Supervisor, seen: list[object]) -> None:
    """After a refused offer the caller's future is as it was."""
    probe = await supervisor.start_child(ChildSpec("probe", lambda: Probe(seen), mailbox_bound=1))
    probe.tell("fills it")
    envelope, future = ask_of("too much")

    assert not probe.offer(envelope)
    assert not future.done()


async def test_expired_message_is_skipped(
    supervisor: Supervisor, probe: Ref[Any], seen: list[object]
) -> None:
    """A message whose deadline has passed is not handled; the asker gets DeadlineExceeded; it is counted."""
    envelope, future = ask_of("late", deadline=asyncio.get_running_loop().time())
    probe.offer(envelope)

    with pytest.raises(DeadlineExceeded):
        await future
    assert "late" not in seen
    assert supervisor.statistics()["probe"].expired == 1


async def test_message_of_an_asker_who_left_is_skipped(
    supervisor: Supervisor, probe: Ref[Any], seen: list[object]
) -> None:
    """A message whose asker was cancelled meanwhile is not handled, and is counted."""
    envelope, future = ask_of("withdrawn")
    probe.offer(envelope)
    future.cancel()
    await probe.ask("end", timeout_s=LONG_S)

    assert seen == ["started", "end"]
    assert supervisor.statistics()["probe"].expired == 1


async def test_ask_ends_at_its_deadline(probe: Ref[Any]) -> None:
    """An asker does not depend on the actor to be told that the time is up; the late answer is ignored."""
    hold = gate()

    with pytest.raises(DeadlineExceeded):
        await probe.ask(hold, timeout_s=0.0)
    hold.set_result(None)
    assert await probe.ask("still well", timeout_s=LONG_S) == "still well"


async def test_claimed_message_waits_for_the_truth() -> None:
    """Once a message is claimed, its deadline is void and the asker gets the true answer, however late."""
    envelope, future = ask_of("x", deadline=0.0)
    envelope.claim()
    envelope.expire()

    assert not envelope.expired(now=1e12)
    assert not future.done()


async def test_late_reply_is_ignored() -> None:
    """A second answer, of either sort, changes nothing."""
    envelope, future = ask_of("x")
    envelope.reply("first")
    envelope.reply("second")
    envelope.fail(ActorStopped("third"))

    assert await future == "first"


def test_an_envelope_shows_nothing_of_its_message() -> None:
    """It may hold an address, and whatever is shown can get into a log."""
    assert repr(Envelope("203.0.113.7", None, None)) == "<Envelope>"
    assert repr(Asking("203.0.113.7", None, None)) == "<Asking>"


class Asking(Envelope):
    """An envelope of another kind."""


def test_a_tell_needs_no_answer() -> None:
    """Answering a message without an asker does nothing."""
    envelope = Envelope("x", None, None)
    envelope.reply("y")
    envelope.fail(ActorStopped("z"))

    assert not envelope.expired(now=1e12)


async def test_crash_is_the_answer(probe: Ref[Any]) -> None:
    """When a handler raises, its asker gets ActorCrashed, with the error as its cause."""
    error = LookupError("my text")
    with pytest.raises(ActorCrashed, match="probe 'probe' crashed") as crash:
        await probe.ask(error, timeout_s=LONG_S)

    assert crash.value.__cause__ is error


async def test_stopped_actor_refuses_at_once(supervisor: Supervisor, probe: Ref[Any]) -> None:
    """After the stop an ask is ActorStopped, a tell False, and both kinds of tell are dead letters."""
    await supervisor.stop_child("probe", drain=True)

    with pytest.raises(ActorStopped, match="probe 'probe' has stopped"):
        await probe.ask("x", timeout_s=LONG_S)
    assert not probe.tell("y")
    probe.tell_control("z")
    assert supervisor.dead_letters.statistics() == {("probe", Undelivered.STOPPED): 2}


@pytest.mark.parametrize(
    ("drain", "expected"),
    [(True, ["started", "a", "b", StopReason.STOPPED]), (False, ["started", StopReason.STOPPED])],
)
async def test_stop_with_and_without_drain(
    supervisor: Supervisor, probe: Ref[Any], seen: list[object], drain: bool, expected: list[object]
) -> None:
    """A drain finishes the work that waits; without it, the stop goes first and the work is a dead letter."""
    probe.tell("a")
    probe.tell("b")
    await supervisor.stop_child("probe", drain=drain)

    assert expected == seen
    assert supervisor.dead_letters.statistics() == ({} if drain else {("probe", Undelivered.STOPPED): 2})


async def test_stop_answers_every_asker(supervisor: Supervisor, probe: Ref[Any], seen: list[object]) -> None:
    """Who still waits when an actor stops is told so; the message in hand is finished first."""
    hold = gate()
    asks = [ask_of(message) for message in (hold, "b", "c")]
    for envelope, _ in asks:
        probe.offer(envelope)
    await until(lambda: hold in seen)
    ended = asyncio.ensure_future(supervisor.stop_child("probe", drain=False))
    await until(lambda: probe.stopped)
    hold.set_result(None)
    await ended

    answers = await asyncio.gather(*(future for _, future in asks), return_exceptions=True)
    assert [type(answer) for answer in answers] == [str, ActorStopped, ActorStopped]


async def test_draining_actor_takes_no_more_work(
    supervisor: Supervisor, probe: Ref[Any], seen: list[object]
) -> None:
    """From the order on, new work is refused and control messages are still taken."""
    hold = gate()
    probe.tell(hold)
    probe.tell("work")
    await until(lambda: hold in seen)
    ended = asyncio.ensure_future(supervisor.stop_child("probe", drain=True))
    await until(lambda: probe.stopped)
    refused = probe.tell("more work")
    probe.tell_control("control")
    hold.set_result(None)
    await ended

    assert not refused
    assert seen == ["started", hold, "control", "work", StopReason.STOPPED]


async def test_stop_can_be_told(supervisor: Supervisor, probe: Ref[Any], seen: list[object]) -> None:
    """Stop is a control message; a permanent child is started again after it and works on."""
    probe.tell_control(Stop(drain=True))
    await until(lambda: seen.count("started") == 2)

    assert await probe.ask("after", timeout_s=LONG_S) == "after"
    assert seen == ["started", StopReason.STOPPED, "started", "after"]


async def test_flooded_actor_lets_others_run(supervisor: Supervisor) -> None:
    """An actor that always has work yields after each batch."""
    turns_of_others = 0

    class Busy(Actor):
        kind = "busy"
        mailbox_bound = 10 * BATCH_MAX

        def receive(self, envelope: Envelope) -> None:
            envelope.reply(turns_of_others)

    def other() -> None:
        nonlocal turns_of_others
        turns_of_others += 1
        asyncio.get_running_loop().call_soon(other)

    ref = await supervisor.start_child(ChildSpec("busy", Busy))
    envelopes = [ask_of(number) for number in range(10 * BATCH_MAX)]
    for envelope, _ in envelopes:
        ref.offer(envelope)
    other()

    turns = [await future for _, future in envelopes]
    assert len(set(turns)) == len(turns) // BATCH_MAX


class Batching(Actor):
    """Notes the batches it gets, and does to each what the test says."""

    kind = "batching"
    mailbox_bound = 1000

    def __init__(
        self, batches: list[list[object]], then: Callable[[list[Envelope]], Awaitable[None] | None]
    ) -> None:
        self.batches = batches
        self.then = then

    def receive_batch(self, envelopes: list[Envelope]) -> Awaitable[None] | None:
        self.batches.append([envelope.message for envelope in envelopes])
        return self.then(envelopes)


async def test_batch_is_handed_over_whole(supervisor: Supervisor) -> None:
    """An actor that takes batches gets what waits in one call, less what has expired; control comes alone."""
    batches: list[list[object]] = []

    def reply(envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            envelope.reply("done")

    ref = await supervisor.start_child(ChildSpec("batching", lambda: Batching(batches, reply)))
    ref.tell("a")
    expired, gone = ask_of("expired")
    ref.offer(expired)
    gone.cancel()
    ref.tell_control("control")
    await ref.ask("b", timeout_s=LONG_S)

    assert batches == [["control"], ["a", "b"]]


async def test_dear_messages_come_in_smaller_batches(supervisor: Supervisor) -> None:
    """An actor whose messages cost much gets fewer a turn, so that others wait less, and more again later."""
    batches: list[list[object]] = []

    def work(envelopes: list[Envelope]) -> None:
        end = time.thread_time() + sum(10 * TURN_S for envelope in envelopes if envelope.message == "dear")
        while time.thread_time() < end:
            pass
        for envelope in envelopes:
            envelope.reply("done")

    ref = await supervisor.start_child(ChildSpec("batching", lambda: Batching(batches, work)))
    for _ in range(BATCH_MAX):
        ref.tell("cheap")
    ref.tell("dear")
    for _ in range(8 * BATCH_MAX):
        ref.tell("cheap")
    await ref.ask("end", timeout_s=LONG_S)

    sizes = [len(batch) for batch in batches]
    dear = next(place for place, batch in enumerate(batches) if "dear" in batch)
    assert max(sizes[dear + 1 : dear + 2]) <= BATCH_MAX // 5
    assert max(sizes[dear + 1 :]) == BATCH_MAX


async def test_batch_of_expired_messages_is_not_handed_over(supervisor: Supervisor) -> None:
    """A batch in which nobody waits any more is no batch."""
    batches: list[list[object]] = []
    ref = await supervisor.start_child(ChildSpec("batching", lambda: Batching(batches, lambda _: None)))
    envelope, future = ask_of("expired", deadline=0.0)
    ref.offer(envelope)

    with pytest.raises(DeadlineExceeded):
        await future
    assert batches == []


async def test_batch_that_fails_fails_for_all_in_it(supervisor: Supervisor) -> None:
    """An error out of a batch is the answer to all in it that have none yet."""

    def answer_one_and_fail(envelopes: list[Envelope]) -> None:
        envelopes[0].reply("done")
        raise LookupError

    ref = await supervisor.start_child(ChildSpec("batching", lambda: Batching([], answer_one_and_fail)))
    first, second = ask_of("a"), ask_of("b")
    ref.offer(first[0])
    ref.offer(second[0])

    with pytest.raises(ActorCrashed):
        await second[1]
    assert await first[1] == "done"


async def test_batch_may_fall_back_on_one_by_one(supervisor: Supervisor, seen: list[object]) -> None:
    """An override may reorder a batch and leave the rest to the default."""

    class Sorting(Probe):
        def receive_batch(self, envelopes: list[Envelope]) -> Awaitable[None] | None:
            return super().receive_batch(sorted(envelopes, key=lambda envelope: str(envelope.message)))

    ref = await supervisor.start_child(ChildSpec("sorting", lambda: Sorting(seen)))
    hold = gate()
    hold.set_result(None)
    ref.tell("c")
    ref.tell("b")
    answer = ref.ask(hold, timeout_s=LONG_S)

    assert await answer == "released"
    assert seen == ["started", hold, "b", "c"]


async def test_actor_without_handler_says_so(supervisor: Supervisor) -> None:
    """A message to an actor that receives none is an error with its name in it."""

    class Deaf(Actor):
        kind = "deaf"
        mailbox_bound = 1

    ref = await supervisor.start_child(ChildSpec("deaf", Deaf))

    with pytest.raises(ActorCrashed) as crash:
        await ref.ask("x", timeout_s=LONG_S)

    assert "Deaf" in str(crash.value.__cause__)


async def test_idle_actor_keeps_no_message_alive(probe: Ref[Any], seen: list[object]) -> None:
    """When all is handled, nothing in the kernel holds a message: it may name a visitor."""

    class Visitor:
        pass

    visitor = Visitor()
    trace = weakref.ref(visitor)
    await probe.ask(visitor, timeout_s=LONG_S)
    await asyncio.sleep(0)  # the loop lets go of the answer
    seen.clear()
    del visitor
    gc.collect()

    assert trace() is None
