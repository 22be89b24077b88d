"""What an actor is: private state, one message at a time, an address (``Ref``) for everybody else.

Rules it keeps (reference/actors.md, sections 1.2, 2, 3 and 4):

- One message at a time, in order per sender; control messages before work.
- ``tell`` never blocks and says False when refused. Every ask gets an answer: a value, its crash,
  or another of the errors below. A late answer is ignored.
- A message whose asker has gone, or whose deadline has passed, is skipped and counted.
- An actor has one turn, with a bounded batch, in a turn of the loop: a flooded one starves nobody. What it
  sends is taken up in the same turn of the loop by whoever had none yet (``turns``).
- No timer, task or future per message. Who asks often owns future and deadline and uses ``Ref.offer``.

Errors::

    ActorError
    ├── MailboxFull         refused, nothing was done: come back later
    ├── ActorCrashed        the handler raised; how far it came is not known
    ├── ActorStopped        the actor ended before it took the message, or had ended before
    └── DeadlineExceeded    no answer in time; the message was not handled, or its answer was late
"""

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable, Iterator
from operator import length_hint
from typing import Any, ClassVar, Final, Generic, TypeVar

from msgspec import Struct

from actors.mailbox import Mailbox, MailboxStatistics
from actors.turns import Turns

BATCH_MAX = 100
"""Messages handled before the loop lets others run: 0.1 ms at most with handlers of 1 µs (section 3)."""

TURN_S = 0.005
"""CPU time after which a turn was too long: the next ones are given fewer messages."""

PACE_MEMORY = 0.5
"""What the turns before count in the pace of an actor, each time that a turn is added."""

PACE_S = 1.0
"""How long a pace is remembered after the last backlog."""

NOTHING: Final[Iterator["Envelope"]] = iter(())
"""Messages in hand of an actor that rests."""

M = TypeVar("M")


class ActorError(Exception):
    """Base of what an asker can get instead of an answer."""


class MailboxFull(ActorError):
    """The actor has as much work waiting as it may; this message was refused."""


class ActorStopped(ActorError):
    """The actor has ended, or ended before it took this message."""


class DeadlineExceeded(ActorError):
    """The deadline passed before there was an answer."""


class ActorCrashed(ActorError):
    """The handler raised, for which ``__cause__`` is the reason; how far it came is not known."""


class StopReason(enum.Enum):
    """Why ``on_stop`` is called."""

    STOPPED = "stopped"
    """Somebody ordered it."""
    CRASHED = "crashed"
    """A handler raised; a new actor takes over the mailbox, if the budget allows it."""


class Undelivered(enum.Enum):
    """Why a message that nobody waits for was lost."""

    FULL = "full"
    STOPPED = "stopped"


UndeliveredSink = Callable[[str, Undelivered, object], None]
"""Told of each lost message: actor kind, reason, the message. Never raises."""


class Stop(Struct, frozen=True):
    """Control message that ends an actor; with ``drain`` only after all that waits in its mailbox."""

    drain: bool


class Envelope(Struct, eq=False):
    """One message on its way, with the place where its answer goes.

    A Struct, and made by place, because there are several for each event: half the time of a class's.
    """

    message: Any
    future: asyncio.Future[Any] | None
    """Where the answer goes; None for a tell."""
    deadline: float | None
    """On the clock of the running loop (loop.time()), in seconds; None: the asker waits to the end."""

    def __repr__(self) -> str:
        """Name the kind, never the contents: asyncio logs the owner of a callback that fails."""
        return f"<{type(self).__name__}>"

    @property
    def is_ask(self) -> bool:
        """Say whether somebody is told what becomes of the message; if not, its loss is a dead letter.

        A subclass that overrides ``reply`` and ``fail`` overrides this too.
        """
        return self.future is not None

    def reply(self, value: object) -> None:
        """Answer; nothing happens when nobody waits (any more)."""
        if self.future is not None and not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        """Answer with an error; nothing happens when nobody waits (any more)."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)

    def expired(self, now: float) -> bool:
        """Say whether the work would be for nobody: the deadline has passed, or the asker has gone.

        Need not be asked of an envelope without a future: only a deadline can end that.
        """
        if self.future is not None and self.future.done():
            return True
        return self.deadline is not None and now >= self.deadline

    def expire(self) -> None:
        """Answer DeadlineExceeded unless answered or claimed; for the asker's timer."""
        if self.deadline is not None:
            self.fail(DeadlineExceeded("the deadline passed before there was an answer"))

    def claim(self) -> None:
        """Take the deadline away: the work has begun and the asker waits for its true outcome."""
        self.deadline = None


class Pace:
    """How long an actor with a backlog takes for a message, the turns of all others included.

    Recent turns count most: what a turn adds is worth half when the next one is added.
    """

    __slots__ = ("_limit", "_messages", "_seconds")

    def __init__(self) -> None:
        self._messages = 0.0
        self._seconds = 0.0
        self._limit = 0

    def add(self, messages: int, seconds: float, *, limit: int) -> None:
        """Note that so many messages were worked off, and how long it took until the next turn.

        ``limit`` is how many the next turn takes at most.
        """
        self._messages = self._messages * PACE_MEMORY + messages
        self._seconds = self._seconds * PACE_MEMORY + seconds
        self._limit = limit

    def wait_s(self, depth: int) -> float:
        """Give for how long ``depth`` messages last, but for those that the next turn takes."""
        if depth <= self._limit or not self._messages:
            return 0.0
        return (depth - self._limit) * self._seconds / self._messages


class Ref(Generic[M]):
    """The address of an actor, the only part of it that others hold; stays valid over restarts."""

    __slots__ = ("_closed", "_mailbox", "_undelivered", "kind", "name", "pace", "stopped", "timed_out")

    def __init__(
        self, kind: str, name: str, mailbox: Mailbox[Envelope], undelivered: UndeliveredSink
    ) -> None:
        self.kind = kind
        self.name = name
        # True from the order to stop on: no work is taken any more.
        self.stopped = False
        # True when the actor has ended: no control messages either.
        self._closed = False
        # Asks that had no answer in time.
        self.timed_out = 0
        self._mailbox = mailbox
        self._undelivered = undelivered
        # How fast the actor works a backlog off; None when it had none lately.
        self.pace: Pace | None = None

    def tell(self, message: M) -> bool:
        """Send without waiting for an answer; False when refused (a dead letter, counted with its reason)."""
        return self.offer(Envelope(message, None, None))

    def tell_control(self, message: M) -> None:
        """Send ahead of all work, whatever the bound; to a stopped actor it is a dead letter."""
        if self._closed:
            self._undelivered(self.kind, Undelivered.STOPPED, message)
        else:
            self._mailbox.offer_control(Envelope(message, None, None))

    def offer(self, envelope: Envelope) -> bool:
        """Send with a future and deadline of the caller's own; False when refused, the future then untouched.

        It is the caller who stops waiting at the deadline; the actor only skips what has expired.
        """
        if not self.stopped and self._mailbox.offer(envelope):
            return True
        if not envelope.is_ask:
            reason = Undelivered.STOPPED if self.stopped else Undelivered.FULL
            self._undelivered(self.kind, reason, envelope.message)
        return False

    async def ask(self, message: M, *, timeout_s: float) -> Any:
        """Send and wait for the answer.

        Raises MailboxFull, ActorStopped, DeadlineExceeded, or ActorCrashed. After ``timeout_s``
        without an answer it is DeadlineExceeded, unless the actor has claimed the message: then the true
        answer is awaited. Cancelling the wait withdraws the message if its turn has not come.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        envelope = Envelope(message, future, loop.time() + timeout_s)
        if not self.offer(envelope):
            raise self._refusal()
        timer = loop.call_later(timeout_s, envelope.expire)
        try:
            return await future
        except DeadlineExceeded:
            self.timed_out += 1
            raise
        finally:
            timer.cancel()

    @property
    def depth(self) -> int:
        """How many messages wait in the actor's mailbox."""
        return len(self._mailbox)

    @property
    def expected_wait_s(self) -> float:
        """How long a message that came now would wait for its turn, by how fast the last backlog went.

        0 where there was none lately: a burst that comes all at once finds room up to the mailbox's bound.
        """
        return 0.0 if self.pace is None else self.pace.wait_s(len(self._mailbox))

    def statistics(self) -> MailboxStatistics:
        """Give the figures of the actor's mailbox."""
        return self._mailbox.statistics()

    def _refusal(self) -> ActorError:
        if self.stopped:
            return ActorStopped(f"{self.kind} {self.name!r} has stopped")
        return MailboxFull(f"{self.kind} {self.name!r} has {len(self._mailbox)} messages waiting")


class Actor:
    """Base of all actors: override what is needed, keep the state private, reach others through refs."""

    __slots__ = ("ref",)

    kind: ClassVar[str]
    """What sort of actor it is, for counters and logs: one of a handful of words, never a key."""

    mailbox_bound: ClassVar[int]
    """Messages that may wait; the next one is refused."""

    ref: Ref[Any]
    """Its own address; set before ``on_start``."""

    async def on_start(self) -> None:
        """Get ready; messages wait meanwhile. An error here is a failed start."""

    def receive(self, envelope: Envelope) -> Awaitable[None] | None:
        """Handle one message; what is returned is awaited before the next message."""
        raise NotImplementedError(f"{type(self).__name__} does not receive messages")

    def receive_batch(self, envelopes: list[Envelope]) -> Awaitable[None] | None:
        """Handle several messages in order, none of them expired; override it where a batch is cheaper.

        By default they are handled one by one, and an error costs the message that caused it. An error out of
        an override fails all of the batch that have no answer yet: nobody else can know how far it came.
        """
        return self._receive_each(envelopes)

    async def _receive_each(self, envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            pending = self.receive(envelope)
            if pending is not None:
                await pending

    async def on_stop(self, reason: StopReason) -> None:
        """Let go of what was taken in ``on_start``. A hope, not a promise: it is not called after a kill."""


class Cell:
    """The running half of an actor: its mailbox, the actor object of the day, the messages in hand.

    The supervisor drives it: ``start``, ``serve`` until it returns or raises, ``retire``, and from the top
    after a crash; at the very end ``close``.
    """

    __slots__ = (
        "_actor",
        "_began_at",
        "_draining",
        "_factory",
        "_in_hand",
        "_in_line",
        "_in_turn",
        "_limit",
        "_mailbox",
        "_rest",
        "_sleep",
        "_turns",
        "expired",
        "ref",
        "turn_number",
    )

    def __init__(
        self,
        name: str,
        factory: Callable[[], Actor],
        bound: int | None,
        undelivered: UndeliveredSink,
        turns: Turns,
    ) -> None:
        # The first actor is made here, to know its kind; None between a crash and the next start.
        self._actor: Actor | None = factory()
        self._factory = factory
        self._mailbox: Mailbox[Envelope] = Mailbox(self._actor.mailbox_bound if bound is None else bound)
        self.ref: Ref[Any] = Ref(self._actor.kind, name, self._mailbox, undelivered)
        # What a handler works on at this moment.
        self._in_hand: tuple[Envelope, ...] = ()
        # What was taken together with it and has not been looked at yet.
        self._rest = NOTHING
        # True after Stop(drain=True): the end comes when the mailbox is empty.
        self._draining = False
        # How many messages the next turn takes at most.
        self._limit = BATCH_MAX
        self._turns = turns
        # Pending while turns are taken by themselves, else None: what is to be awaited, None for the end.
        self._sleep: asyncio.Future[Awaitable[None] | None] | None = None
        # It has a place in the line for turns.
        self._in_line = False
        # When the last turn began, on the loop's clock, and how many messages it had if it left a backlog.
        self._began_at = 0.0
        self._in_turn = 0
        # Of the round in which it had its last turn; belongs to ``Turns``.
        self.turn_number = 0
        # Messages skipped because nobody waited for them any more.
        self.expired = 0

    async def start(self) -> None:
        """Make the actor, and let it get ready; one that fails to is dropped."""
        actor, self._actor = self._actor, None
        if actor is None:
            actor = self._factory()
        actor.ref = self.ref
        await actor.on_start()
        self._actor = actor

    async def serve(self) -> None:
        """Handle messages until told to stop; raises what a handler raised.

        The task sleeps while turns are taken (``take_turn``). One that leaves something to await wakes it up.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._sleep = loop.create_future()
            self._await_turn()
            try:
                pending = await self._sleep
            finally:
                self._sleep = None
                self._mailbox.forget_reader()
            if pending is None:
                return
            await self._finish_turn(pending)

    def take_turn(self) -> None:
        """Handle the next batch, without waiting; does nothing while the task itself is at work."""
        self._in_line = False
        sleep = self._sleep
        if sleep is None or sleep.done():
            return
        try:
            order = self._take()
            if order is not None:
                if order.drain:
                    self._draining = self.ref.stopped = True
                    self._await_turn()
                else:
                    sleep.set_result(None)
                return
            pending = self._handle_measured()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised again where the actor lives
            sleep.set_exception(error)
            return
        if pending is None:
            self._await_turn()
        else:
            sleep.set_result(pending)

    def _await_turn(self) -> None:
        """Get in line as soon as there is something to do."""
        if self._mailbox:
            self._get_in_line()
        elif self._draining:
            assert self._sleep is not None, "turns are taken while the task sleeps"
            self._sleep.set_result(None)
        else:
            self._in_turn = 0
            self._mailbox.tell_when_filled(self)

    def _get_in_line(self) -> None:
        if not self._in_line:
            self._in_line = True
            self._turns.enter(self)

    def on_filled(self) -> None:
        """Get in line with the first message after a rest; a pace that is old says nothing any more."""
        if self.ref.pace is not None and asyncio.get_running_loop().time() - self._began_at > PACE_S:
            self.ref.pace = None
        self._get_in_line()

    async def _finish_turn(self, pending: Awaitable[None] | None) -> None:
        """Await what a handler left to be awaited, and handle the rest of its batch."""
        actor, mailbox = self._actor, self._mailbox
        assert actor is not None, "a turn comes after start"
        while pending is not None:
            await pending
            if mailbox.urgent:
                mailbox.put_back(self._rest)
            pending = self._handle(actor, asyncio.get_running_loop().time())

    def _handle_measured(self) -> Awaitable[None] | None:
        """Handle what was taken, and note how fast that went if there is more than one turn can take."""
        actor, mailbox = self._actor, self._mailbox
        assert actor is not None, "a turn comes after start"
        now = asyncio.get_running_loop().time()
        if mailbox or self._in_turn:
            self._note_turn(now)
        flooded = self._limit < BATCH_MAX or bool(mailbox)
        began = time.thread_time() if flooded else 0.0
        pending = self._handle(actor, now)
        if flooded and pending is None:
            self._adapt(time.thread_time() - began)
        return pending

    def _handle(self, actor: Actor, now: float) -> Awaitable[None] | None:
        if type(actor).receive_batch is Actor.receive_batch:
            return self._one_by_one(actor, now)
        return self._all_at_once(actor, now)

    def _note_turn(self, now: float) -> None:
        """Measure the turn before this one, if it left a backlog."""
        if self._in_turn:
            pace = self.ref.pace
            if pace is None:
                pace = self.ref.pace = Pace()
            pace.add(self._in_turn, now - self._began_at, limit=self._limit)
        self._began_at, self._in_turn = now, length_hint(self._rest)

    def _adapt(self, turn_s: float) -> None:
        """Take fewer messages at once while they are dear, so that no actor keeps the others waiting."""
        if turn_s > TURN_S:
            self._limit = max(1, int(self._limit * TURN_S / turn_s))
        elif self._limit < BATCH_MAX and turn_s < TURN_S / 2:
            self._limit = min(BATCH_MAX, self._limit * 2)

    def order_stop(self, order: Stop) -> None:
        """Take no more work and tell the actor to end; control messages are taken until it has."""
        self.ref.stopped = True
        self._mailbox.offer_control(Envelope(order, None, None))

    def describe_in_hand(self) -> str:
        """Name the kinds of messages in hand, never their contents."""
        return (
            ", ".join(sorted({type(envelope.message).__name__ for envelope in self._in_hand})) or "no message"
        )

    def salvage(self, error: Exception) -> None:
        """After a crash: fail what was in hand, put back what was not looked at."""
        crash = ActorCrashed(f"{self.ref.kind} {self.ref.name!r} crashed on this message")
        crash.__cause__ = error
        for envelope in self._in_hand:
            envelope.fail(crash)
        self._in_hand = ()
        self._mailbox.put_back(self._rest)

    async def retire(self, reason: StopReason, *, within_s: float) -> None:
        """Let the actor let go, and forget its state; raises what ``on_stop`` raised, or TimeoutError."""
        actor, self._actor = self._actor, None
        assert actor is not None, "retire comes after serve"
        async with asyncio.timeout(within_s):
            await actor.on_stop(reason)

    def reopen(self) -> None:
        """Take work again, after an end that was not final."""
        self._draining = self.ref.stopped = False

    def close(self) -> None:
        """Take nothing more, and answer ActorStopped to all who wait."""
        left = (*self._in_hand, *self._rest, *self._mailbox.take(len(self._mailbox)))
        self._in_hand = ()
        self.ref.stopped = self.ref._closed = True
        for envelope in left:
            self._turn_away(envelope)

    def _take(self) -> Stop | None:
        """Take what is handled next; give the order to stop if that is what comes next.

        What was taken is held nowhere but in the iterator, so that an idle actor keeps no message alive.
        """
        if self._mailbox.urgent:
            # A control message comes alone, so that what is put back after a crash is always work.
            batch = self._mailbox.take(1)
            if isinstance(batch[0].message, Stop):
                return batch[0].message
        else:
            batch = self._mailbox.take(self._limit)
        self._rest = iter(batch)
        return None

    def _one_by_one(self, actor: Actor, now: float) -> Awaitable[None] | None:
        """Handle what is left of the batch, up to the first handler that wants to be awaited."""
        for envelope in self._rest:
            if self._is_over(envelope, now):
                continue
            self._in_hand = (envelope,)
            pending = actor.receive(envelope)
            if pending is not None:
                return pending
        self._in_hand = ()
        return None

    def _all_at_once(self, actor: Actor, now: float) -> Awaitable[None] | None:
        """Hand over what is left of the batch; on the second call, after the wait, nothing is."""
        taken = list(self._rest)
        self._rest = NOTHING  # one for all actors that rest, of which there are thousands
        batch = [
            envelope
            for envelope in taken
            if envelope.future is None and (envelope.deadline is None or now < envelope.deadline)
        ]
        if len(batch) < len(taken):  # not often: most are neither asks nor too late
            batch = [envelope for envelope in taken if not self._is_over(envelope, now)]
        self._in_hand = tuple(batch)
        if not batch:
            return None
        pending = actor.receive_batch(batch)
        if pending is None:
            self._in_hand = ()
        return pending

    def _turn_away(self, envelope: Envelope) -> None:
        """Give back what the stopped actor will not handle: an error to an asker, else a dead letter."""
        ref = self.ref
        if envelope.is_ask:
            envelope.fail(ref._refusal())
        elif not isinstance(envelope.message, Stop):
            ref._undelivered(ref.kind, Undelivered.STOPPED, envelope.message)

    def _is_over(self, envelope: Envelope, now: float) -> bool:
        """Tell whether nobody waits for a message; it is to be left out then."""
        if not envelope.expired(now):
            return False
        self.expired += 1
        envelope.fail(DeadlineExceeded("the deadline passed before the message was looked at"))
        return True
