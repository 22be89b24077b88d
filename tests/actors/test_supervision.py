"""What a supervisor promises: starts that may fail, restarts under a budget, stops with a limit."""

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.runtime import (
    Actor,
    ActorCrashed,
    ActorStopped,
    Envelope,
    Ref,
    Stop,
    StopReason,
    Undelivered,
)
from actors.supervision import ChildSpec, Down, KindStatistics, Restart, Supervisor
from tests.support.probe import Probe, until

LONG_S = 60.0
"""A limit that no test reaches."""


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The supervisor's clock."""
    return Clock()


@pytest.fixture
def downs() -> list[Down]:
    """What ``on_down`` was told."""
    return []


@pytest.fixture
async def supervisor(clock: Clock, downs: list[Down]) -> AsyncIterator[Supervisor]:
    """A supervisor that allows two restarts in ten seconds."""
    supervisor = Supervisor(max_restarts=2, within_s=10.0, on_down=downs.append, clock=clock)
    yield supervisor
    await supervisor.stop_together(drain=False)


@pytest.fixture
def seen() -> list[object]:
    """What the probe got, in order, over all of its lives."""
    return []


@pytest.fixture
def spec(seen: list[object]) -> ChildSpec:
    """How to make the probe."""
    return ChildSpec("probe", lambda: Probe(seen))


async def crash(ref: Ref[Any], times: int = 1) -> None:
    """Make the probe crash so many times."""
    for _ in range(times):
        with pytest.raises(ActorCrashed):
            await ref.ask(LookupError(), timeout_s=LONG_S)


# -- start ---------------------------------------------------------------------------------------------------


async def test_start_returns_after_on_start(
    supervisor: Supervisor, spec: ChildSpec, seen: list[object]
) -> None:
    """Who starts a child gets a ref to one that is ready."""
    ref = await supervisor.start_child(spec)

    assert seen == ["started"]
    assert (ref.kind, ref.name, ref.stopped) == ("probe", "probe", False)


async def test_failed_start_leaves_nothing(
    supervisor: Supervisor, spec: ChildSpec, downs: list[Down]
) -> None:
    """An error in on_start goes to who starts, there is no child, and the name is free."""

    class Failing(Actor):
        kind = "failing"
        mailbox_bound = 1

        async def on_start(self) -> None:
            raise LookupError("not today")

    with pytest.raises(LookupError, match="not today"):
        await supervisor.start_child(ChildSpec("probe", Failing))
    assert await (await supervisor.start_child(spec)).ask("x", timeout_s=LONG_S) == "x"
    assert downs == []


async def test_cancelled_start_leaves_nothing(supervisor: Supervisor, spec: ChildSpec) -> None:
    """Who gives up waiting for a start leaves no half-started child behind."""

    class Slow(Actor):
        kind = "slow"
        mailbox_bound = 1

        async def on_start(self) -> None:
            await asyncio.get_running_loop().create_future()

    starting = asyncio.ensure_future(supervisor.start_child(ChildSpec("probe", Slow)))
    await asyncio.sleep(0)  # the start begins
    starting.cancel()
    await asyncio.wait([starting])
    await asyncio.sleep(0)  # the task ends
    await asyncio.sleep(0)  # and its end is seen

    assert await (await supervisor.start_child(spec)).ask("x", timeout_s=LONG_S) == "x"


async def test_child_stopped_while_it_starts(supervisor: Supervisor) -> None:
    """A stop during on_start ends the wait for the start with ActorStopped when the limit is over."""

    class Slow(Actor):
        kind = "slow"
        mailbox_bound = 1

        async def on_start(self) -> None:
            await asyncio.get_running_loop().create_future()

    starting = asyncio.ensure_future(supervisor.start_child(ChildSpec("slow", Slow, shutdown_s=0.0)))
    await asyncio.sleep(0)  # the start begins
    await supervisor.stop_child("slow", drain=False)

    with pytest.raises(ActorStopped):
        await starting


async def test_start_now_queues_what_comes_before_on_start(
    supervisor: Supervisor, spec: ChildSpec, seen: list[object]
) -> None:
    """A child started without waiting takes messages at once and handles them after on_start."""
    ref = supervisor.start_child_now(spec)

    assert ref.tell("early")
    assert await ref.ask("end", timeout_s=LONG_S) == "end"
    assert seen == ["started", "early", "end"]


async def test_names_are_unique(supervisor: Supervisor, spec: ChildSpec) -> None:
    """A second child of the same name is refused."""
    await supervisor.start_child(spec)

    with pytest.raises(ValueError, match="'probe' is the name of a child already"):
        supervisor.start_child_now(spec)


async def test_child_does_not_inherit_the_context_of_its_starter(supervisor: Supervisor) -> None:
    """Context variables of the request that needs an actor first do not stick to the actor."""
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="none")

    class Reader(Actor):
        kind = "reader"
        mailbox_bound = 1

        def receive(self, envelope: Envelope) -> None:
            envelope.reply(span.get())

    span.set("of a request")
    ref = supervisor.start_child_now(ChildSpec("reader", Reader))

    assert await ref.ask("x", timeout_s=LONG_S) == "none"


# -- restart -------------------------------------------------------------------------------------------------


async def test_crash_costs_only_the_message_that_caused_it(
    supervisor: Supervisor, spec: ChildSpec, seen: list[object]
) -> None:
    """The rest of the batch goes to the next life, in order, behind the same ref."""
    ref = await supervisor.start_child(spec)
    error = LookupError()
    for message in ("a", error, "b", "c"):
        ref.tell(message)
    await ref.ask("end", timeout_s=LONG_S)

    assert seen == ["started", "a", error, StopReason.CRASHED, "started", "b", "c", "end"]


async def test_restart_is_a_new_actor(supervisor: Supervisor) -> None:
    """State that was broken is gone after a restart."""

    class Counting(Actor):
        kind = "counting"
        mailbox_bound = 10

        def __init__(self) -> None:
            self.count = 0

        def receive(self, envelope: Envelope) -> None:
            self.count += 1
            if envelope.message == "crash":
                raise LookupError
            envelope.reply(self.count)

    ref = await supervisor.start_child(ChildSpec("counting", Counting))
    before = [await ref.ask("x", timeout_s=LONG_S) for _ in range(2)]
    ref.tell("crash")

    assert before == [1, 2]
    assert await ref.ask("x", timeout_s=LONG_S) == 1


async def test_crash_after_an_await_is_a_crash(supervisor: Supervisor, spec: ChildSpec) -> None:
    """It does not matter on which side of an await a handler fails."""
    ref = await supervisor.start_child(spec)
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    broken.set_exception(LookupError())

    with pytest.raises(ActorCrashed):
        await ref.ask(broken, timeout_s=LONG_S)
    assert await ref.ask("x", timeout_s=LONG_S) == "x"


async def test_awaiting_something_cancelled_is_a_crash(supervisor: Supervisor, spec: ChildSpec) -> None:
    """A cancellation out of a handler, not meant for the actor, does not end the actor in silence."""
    ref = await supervisor.start_child(spec)
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    with pytest.raises(ActorCrashed):
        await ref.ask(cancelled, timeout_s=LONG_S)
    assert await ref.ask("x", timeout_s=LONG_S) == "x"


async def test_over_budget_the_child_is_given_up(
    supervisor: Supervisor, spec: ChildSpec, downs: list[Down]
) -> None:
    """The crash after the last allowed restart answers all who wait, and is told once."""
    ref = await supervisor.start_child(spec)
    await crash(ref, times=2)
    last = asyncio.ensure_future(ref.ask(LookupError("the last"), timeout_s=LONG_S))
    waiting = asyncio.ensure_future(ref.ask("waits behind it", timeout_s=LONG_S))
    await asyncio.wait([last, waiting])
    await until(lambda: downs)

    assert isinstance(last.exception(), ActorCrashed)
    assert isinstance(waiting.exception(), ActorStopped)
    assert ref.stopped
    assert [(down.name, down.kind, str(down.error)) for down in downs] == [("probe", "probe", "the last")]


async def test_budget_is_for_a_time(supervisor: Supervisor, spec: ChildSpec, clock: Clock) -> None:
    """Restarts that lie back longer than the window do not count."""
    ref = await supervisor.start_child(spec)
    for _ in range(3):
        await crash(ref, times=2)
        clock.now += 10.0

    assert await ref.ask("x", timeout_s=LONG_S) == "x"


async def test_budget_is_per_child(supervisor: Supervisor, spec: ChildSpec, downs: list[Down]) -> None:
    """One child used up its budget; the other goes on, and may still crash."""
    broken = await supervisor.start_child(spec)
    other = await supervisor.start_child(ChildSpec("other", spec.factory))
    await crash(broken, times=3)
    await crash(other, times=1)

    assert await other.ask("x", timeout_s=LONG_S) == "x"
    assert [down.name for down in downs] == ["probe"]


async def test_failing_on_start_uses_up_the_budget(
    supervisor: Supervisor, seen: list[object], downs: list[Down]
) -> None:
    """A child whose on_start never works is tried as often as allowed, then given up."""

    class Failing(Probe):
        async def on_start(self) -> None:
            self.seen.append("try")
            raise LookupError

    ref = supervisor.start_child_now(ChildSpec("failing", lambda: Failing(seen)))

    with pytest.raises(ActorStopped):
        await ref.ask("x", timeout_s=LONG_S)
    await until(lambda: downs)
    assert seen == ["try", "try", "try"]


async def test_failing_factory_is_a_crash_on_restart(supervisor: Supervisor, downs: list[Down]) -> None:
    """A factory that works once and never again ends the child, not the supervisor."""
    actors = [Probe([])]
    ref = await supervisor.start_child(ChildSpec("probe", actors.pop))
    await crash(ref)
    await until(lambda: downs)

    assert [type(down.error) for down in downs] == [IndexError]


@pytest.mark.parametrize(
    ("restart", "ended_by", "then"),
    [
        (Restart.PERMANENT, "a crash", "restarted"),
        (Restart.PERMANENT, "a Stop", "restarted"),
        (Restart.TRANSIENT, "a crash", "restarted"),
        (Restart.TRANSIENT, "a Stop", "down"),
        (Restart.TEMPORARY, "a crash", "down"),
        (Restart.TEMPORARY, "a Stop", "down"),
    ],
)
async def test_restart_kinds(
    supervisor: Supervisor,
    spec: ChildSpec,
    seen: list[object],
    downs: list[Down],
    restart: Restart,
    ended_by: str,
    then: str,
) -> None:
    """Permanent comes back always, transient after a crash, temporary never."""
    ref = await supervisor.start_child(ChildSpec("probe", spec.factory, restart=restart))
    if ended_by == "a crash":
        ref.tell(LookupError())
    else:
        ref.tell_control(Stop(drain=False))
    await until(lambda: downs or seen.count("started") == 2)

    assert ("down" if downs else "restarted") == then
    assert ref.stopped is bool(downs)


async def test_error_in_on_stop_does_not_hinder_the_restart(supervisor: Supervisor) -> None:
    """A crashed actor that cannot even let go is still followed by a new one."""

    class Clumsy(Probe):
        async def on_stop(self, reason: StopReason) -> None:
            raise LookupError

    ref = await supervisor.start_child(ChildSpec("clumsy", lambda: Clumsy([])))
    await crash(ref)

    assert await ref.ask("x", timeout_s=LONG_S) == "x"
    assert supervisor.statistics()["probe"].crashes == 2


async def test_foreign_cancellation_is_seen(supervisor: Supervisor, downs: list[Down]) -> None:
    """When somebody cancels the task of an actor behind the supervisor's back, it is down, and told so."""
    tasks: list[asyncio.Task[Any] | None] = []

    class Exposed(Probe):
        async def on_start(self) -> None:
            tasks.append(asyncio.current_task())

    ref = await supervisor.start_child(ChildSpec("exposed", lambda: Exposed([])))
    task = tasks[0]
    assert task is not None
    task.cancel()
    await until(lambda: downs)

    assert isinstance(downs[0].error, ActorStopped)
    assert not ref.tell("x")


async def test_nobody_has_to_watch(clock: Clock, spec: ChildSpec, caplog: pytest.LogCaptureFixture) -> None:
    """Without an observer, a child that is given up is still in the log."""
    supervisor = Supervisor(max_restarts=0, clock=clock)
    ref = await supervisor.start_child(spec)
    await crash(ref)
    await until(lambda: ref.stopped and "is down after 0 restarts: LookupError" in caplog.text)

    supervisor.forget("probe")
    assert supervisor.statistics()["probe"].down == 1


async def test_error_in_on_down_stays_outside(clock: Clock, spec: ChildSpec) -> None:
    """An observer that fails is the loop's to report; the supervisor does not notice."""
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    error = LookupError("the observer's")

    def fail(down: Down) -> None:
        raise error

    supervisor = Supervisor(max_restarts=0, on_down=fail, clock=clock)
    ref = await supervisor.start_child(spec)
    await crash(ref)
    await until(lambda: reported)

    assert reported == [error]
    supervisor.forget("probe")


# -- stop ----------------------------------------------------------------------------------------------------


async def test_stopped_child_frees_its_name(
    supervisor: Supervisor, spec: ChildSpec, downs: list[Down]
) -> None:
    """After stop_child the same name can be started again; an ordered end is not a Down."""
    first = await supervisor.start_child(spec)
    await supervisor.stop_child("probe", drain=True)
    second = await supervisor.start_child(spec)

    assert (first.stopped, second.stopped) == (True, False)
    assert downs == []


async def test_stop_has_a_hard_limit(supervisor: Supervisor, spec: ChildSpec, seen: list[object]) -> None:
    """A handler that does not end is cancelled after shutdown_s; its asker and all others are answered."""
    ref = await supervisor.start_child(ChildSpec("probe", spec.factory, shutdown_s=0.0))
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    stuck = asyncio.ensure_future(ref.ask(never, timeout_s=LONG_S))
    waiting = asyncio.ensure_future(ref.ask("behind", timeout_s=LONG_S))
    await until(lambda: never in seen)
    await supervisor.stop_child("probe", drain=True)

    errors = await asyncio.gather(stuck, waiting, return_exceptions=True)
    assert [type(error) for error in errors] == [ActorStopped, ActorStopped]


async def test_child_that_ignores_its_cancellation_is_left_behind(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even that hangs a stop: askers are answered, the log says so."""
    monkeypatch.setattr("actors.supervision.CANCEL_GRACE_S", 0.0)
    release: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    class Stubborn(Probe):
        async def _hold(self, envelope: Envelope) -> None:
            while not release.done():
                try:
                    await asyncio.shield(release)
                except asyncio.CancelledError:
                    continue

    seen: list[object] = []
    ref = await supervisor.start_child(ChildSpec("stubborn", lambda: Stubborn(seen), shutdown_s=0.0))
    ref.tell(release)
    await until(lambda: release in seen)
    waiting = asyncio.ensure_future(ref.ask("x", timeout_s=LONG_S))
    await asyncio.sleep(0)  # it is in the mailbox
    await supervisor.stop_child("stubborn", drain=True)

    with pytest.raises(ActorStopped):
        await waiting
    assert "left behind" in caplog.text
    release.set_result(None)


async def test_crash_while_draining_goes_on_draining(
    supervisor: Supervisor, spec: ChildSpec, seen: list[object]
) -> None:
    """A crash during a drain costs one message; the rest is still handled, by a new actor, before the end."""
    ref = await supervisor.start_child(spec)
    error = LookupError()
    ref.tell(error)
    ref.tell("rest")
    await supervisor.stop_child("probe", drain=True)

    assert seen == ["started", error, StopReason.CRASHED, "started", "rest", StopReason.STOPPED]


async def test_release_does_not_wait(supervisor: Supervisor, seen: list[object]) -> None:
    """A child may ask for its own release: it finishes what waits and ends."""

    class Leaving(Probe):
        def receive(self, envelope: Envelope) -> None:
            self.seen.append(envelope.message)
            if envelope.message == "leave":
                supervisor.release("leaving")

    ref = await supervisor.start_child(ChildSpec("leaving", lambda: Leaving(seen)))
    ref.tell("leave")
    ref.tell("rest")
    await until(lambda: not supervisor.statistics()["probe"].alive)

    assert seen == ["started", "leave", "rest", StopReason.STOPPED]


async def test_release_has_a_hard_limit(supervisor: Supervisor, spec: ChildSpec, seen: list[object]) -> None:
    """A released child that does not end is cancelled after shutdown_s."""
    ref = await supervisor.start_child(ChildSpec("probe", spec.factory, shutdown_s=0.0))
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ref.tell(never)
    await until(lambda: never in seen)
    supervisor.release("probe")
    await until(lambda: not supervisor.statistics()["probe"].alive)

    assert seen == ["started", never]


@pytest.mark.parametrize("remove", ["forget", "stop", "release"])
async def test_child_that_is_down_stays_until_removed(
    supervisor: Supervisor, spec: ChildSpec, downs: list[Down], remove: str
) -> None:
    """Nobody starts it again by accident; removed, its name is free."""
    ref = await supervisor.start_child(spec)
    await crash(ref, times=3)
    await until(lambda: downs)
    with pytest.raises(ValueError, match="already"):
        supervisor.start_child_now(spec)

    if remove == "forget":
        supervisor.forget("probe")
    elif remove == "release":
        supervisor.release("probe")
    else:
        await supervisor.stop_child("probe", drain=True)
    assert await (await supervisor.start_child(spec)).ask("x", timeout_s=LONG_S) == "x"


async def test_running_child_is_not_forgotten(supervisor: Supervisor, spec: ChildSpec) -> None:
    """Forgetting is for children that are down."""
    await supervisor.start_child(spec)

    with pytest.raises(ValueError, match="'probe' runs"):
        supervisor.forget("probe")


async def test_stop_all_goes_backwards_and_closes_the_door(supervisor: Supervisor) -> None:
    """Children stop one after the other, the last started first; then nothing is started any more."""
    ended: list[str] = []

    class Noting(Actor):
        kind = "noting"
        mailbox_bound = 1

        async def on_stop(self, reason: StopReason) -> None:
            await asyncio.sleep(0)  # time in which another one could overtake
            ended.append(self.ref.name)

    for name in ("first", "second", "third"):
        await supervisor.start_child(ChildSpec(name, Noting))
    await supervisor.stop_all()

    assert ended == ["third", "second", "first"]
    with pytest.raises(ActorStopped, match="'fourth' was not started"):
        supervisor.start_child_now(ChildSpec("fourth", Noting))


async def test_stop_together_shares_one_limit(supervisor: Supervisor, seen: list[object]) -> None:
    """Many stuck children cost one limit, not one each."""
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    for number in range(3):
        ref = await supervisor.start_child(ChildSpec(str(number), lambda: Probe(seen), shutdown_s=0.0))
        ref.tell(never)
    await until(lambda: seen.count(never) == 3)
    await supervisor.stop_together()

    assert supervisor.statistics()["probe"].alive == 0


# -- figures and logs ----------------------------------------------------------------------------------------


async def test_figures_outlive_the_actors(supervisor: Supervisor, spec: ChildSpec) -> None:
    """The counters of a kind include actors that have gone; gauges are of the moment."""
    ref = await supervisor.start_child(spec)
    await crash(ref)
    await ref.ask("x", timeout_s=LONG_S)
    await supervisor.stop_child("probe", drain=True)
    await supervisor.start_child(spec)

    # Two messages and the order to stop.
    expected = KindStatistics(alive=1, peak=1, started=2, crashes=1, restarts=1, offered=3, taken=3)
    assert expected == supervisor.statistics()["probe"]


async def test_dead_letters_can_be_shared(clock: Clock) -> None:
    """Several supervisors may count their dead letters in one place."""
    first = Supervisor(clock=clock)
    second = Supervisor(clock=clock, dead_letters=first.dead_letters)
    ref = await second.start_child(ChildSpec("probe", lambda: Probe([])))
    await second.stop_all()
    ref.tell("x")

    assert first.dead_letters.statistics() == {("probe", Undelivered.STOPPED): 1}


async def test_crash_log_keeps_contents_out(
    supervisor: Supervisor, spec: ChildSpec, caplog: pytest.LogCaptureFixture
) -> None:
    """A crash is logged with actor, message kind, error type and call stack; not what they say."""
    ref = await supervisor.start_child(spec)
    ref.tell(LookupError("203.0.113.7"))
    await ref.ask("x", timeout_s=LONG_S)

    record = next(record for record in caplog.records if record.levelno == logging.ERROR)
    text = record.getMessage()
    assert text.startswith("probe 'probe' crashed on LookupError: LookupError at ")
    assert "raise envelope.message" in text
    assert "203.0.113.7" not in text
