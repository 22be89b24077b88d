"""Who starts actors, restarts them when they crash, and stops them in order.

Rules it keeps (reference/actors.md, sections 1.2 and 4):

- One for one: children are independent, each has a restart budget of its own. Over budget, it is given up:
  its askers are answered and ``on_down`` is told; all others go on.
- A restart is a new actor object behind the same mailbox and ref; only the message that failed is lost.
- Every task has an owner here, and no end of a task goes unseen.
- Stopping has a hard limit, then the task is cancelled.
"""

import asyncio
import contextvars
import enum
import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from msgspec import Struct, structs

from actors.reports import CrashLog, DeadLetters
from actors.runtime import Actor, ActorError, ActorStopped, Cell, Ref, Stop, StopReason
from actors.turns import Turns

CANCEL_GRACE_S = 1.0
"""How long a cancelled child may take to end before it is left behind."""

_log = logging.getLogger(__name__)


class Restart(enum.Enum):
    """When a child that ended by itself is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After a crash, not after a Stop it was sent."""
    TEMPORARY = "temporary"
    """Never."""


class ChildSpec(Struct, frozen=True):
    """How to make and treat one child."""

    name: str
    """Its key among the supervisor's children."""
    factory: Callable[[], Actor]
    """Makes the actor; called again for each restart."""
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 5.0
    """How long it may take to stop before its task is cancelled."""
    mailbox_bound: int | None = None
    """Instead of the actor's own bound."""


class Down(Struct, frozen=True):
    """A child has ended and will not be restarted, without having been stopped by its supervisor."""

    name: str
    kind: str
    error: Exception | None
    """What it crashed with; None after a Stop it was sent by somebody else."""


class KindStatistics(Struct):
    """The figures of all actors of one kind; the counters include those that have gone."""

    alive: int = 0
    """Actors that run now."""
    depth: int = 0
    """Messages that wait now, both lanes."""
    peak: int = 0
    """The most work that ever waited for one of them."""
    started: int = 0
    crashes: int = 0
    restarts: int = 0
    down: int = 0
    """Actors that ended for good without being stopped by their supervisor."""
    offered: int = 0
    taken: int = 0
    refused: int = 0
    expired: int = 0
    """Messages skipped because nobody waited for them any more."""


class Supervisor:
    """Owns a group of independent actors (one for one).

    A child may be restarted ``max_restarts`` times within ``within_s`` seconds; the next crash is its last.
    Actors that send each other messages share their ``turns``, whoever supervises them.
    """

    def __init__(
        self,
        *,
        max_restarts: int = 3,
        within_s: float = 5.0,
        on_down: Callable[[Down], None] | None = None,
        dead_letters: DeadLetters | None = None,
        turns: Turns | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_restarts = max_restarts
        self._within_s = within_s
        self._on_down = on_down
        self._clock = clock
        self.dead_letters = DeadLetters(clock=clock) if dead_letters is None else dead_letters
        # In the order of their starts; a child that is down stays until it is forgotten.
        self._children: dict[str, _Child] = {}
        self.restarts: Counter[str] = Counter()
        """Restarts by actor kind, since the start; ``statistics`` looks at every child for it."""
        # The figures of children that have gone.
        self._gone: dict[str, KindStatistics] = {}
        # No starts any more, from stop_all on.
        self._closing = False
        # Children start from here and not from the context of whoever needs them first: an actor would keep
        # that request's context variables, its trace span among them, for life.
        self._context = contextvars.copy_context()
        self._undelivered = self.dead_letters.record
        self._turns = Turns() if turns is None else turns
        self._crash_log = CrashLog(clock=clock)

    async def start_child(self, spec: ChildSpec) -> Ref[Any]:
        """Start a child and return when its ``on_start`` is through.

        Raises what the factory or ``on_start`` raised, and then there is no child. Raises ValueError when the
        name is taken, ActorStopped after ``stop_all``.
        """
        started = asyncio.get_running_loop().create_future()
        child = self._spawn(spec, started=started)
        try:
            await started
        except asyncio.CancelledError:
            child.task.cancel()
            raise
        return child.cell.ref

    def start_child_now(self, spec: ChildSpec) -> Ref[Any]:
        """Start a child and return at once.

        Messages wait until ``on_start`` is through; its failure is a crash like another. Raises what the
        factory raised, ValueError when the name is taken, ActorStopped after ``stop_all``.
        """
        return self._spawn(spec, started=None).cell.ref

    async def stop_child(self, name: str, *, drain: bool) -> None:
        """Stop a child, with ``drain`` after the work that waits; return when it has ended.

        Its name is free then. After ``shutdown_s`` its task is cancelled. Cancelling this call does not take
        the order back. Not to be called by the child itself. Raises KeyError when there is no such child.
        """
        await self._stop([self._children[name]], drain=drain)

    def release(self, name: str) -> None:
        """Let a child go after the work that waits, without waiting for its end; it may be the caller.

        Its name is free when it has ended, its task is cancelled after ``shutdown_s``. Raises KeyError when
        there is no such child.
        """
        child = self._children[name]
        if child.down:
            self._remove(child)
            return
        self._order_stop(child, drain=True)
        limit = asyncio.get_running_loop().call_later(child.spec.shutdown_s, self._cancel, child)
        child.task.add_done_callback(lambda _: limit.cancel())

    def forget(self, name: str) -> None:
        """Free the name of a child that is down.

        Raises KeyError when there is none, ValueError when it runs.
        """
        child = self._children[name]
        if not child.down:
            raise ValueError(f"{name!r} runs; stop it first")
        self._remove(child)

    async def stop_all(self, *, drain: bool = True) -> None:
        """Stop all children, one after the other, the last started first; start none from now on."""
        self._closing = True
        for child in reversed(list(self._children.values())):
            await self._stop([child], drain=drain)

    async def stop_together(self, *, drain: bool = True) -> None:
        """Stop all children at once, within the longest of their limits; start none from now on."""
        self._closing = True
        await self._stop(list(self._children.values()), drain=drain)

    def statistics(self) -> dict[str, KindStatistics]:
        """Give the figures of this moment by actor kind."""
        kinds = {kind: structs.replace(gone) for kind, gone in self._gone.items()}
        for child in self._children.values():
            figures = kinds.setdefault(child.cell.ref.kind, KindStatistics())
            _count_in(figures, child)
            mailbox = child.cell.ref.statistics()
            figures.alive += not child.down
            figures.depth += mailbox.depth + mailbox.control_depth
        return kinds

    def _spawn(self, spec: ChildSpec, *, started: "asyncio.Future[None] | None") -> "_Child":
        if self._closing:
            raise ActorStopped(f"{spec.name!r} was not started: its supervisor is stopping")
        if spec.name in self._children:
            raise ValueError(f"{spec.name!r} is the name of a child already")
        cell = Cell(spec.name, spec.factory, spec.mailbox_bound, self._undelivered, self._turns)
        child = self._children[spec.name] = _Child(spec, cell, started)
        child.task = asyncio.create_task(  # noqa: TID251 - a supervisor is the owner that the rule asks for
            self._run(child), name=spec.name, context=self._context.copy()
        )
        child.task.add_done_callback(functools.partial(self._ended, child))
        return child

    async def _run(self, child: "_Child") -> Exception | None:
        """Lead a child through its lives; give what ended the last one."""
        cell = child.cell
        while True:
            error = await _outcome(cell.start())
            if error is not None:
                if not child.is_up:
                    return error
                self._crashed(child, error, "on_start")
                if not self._again(child, error):
                    return error
                continue
            child.up()
            error = await _outcome(cell.serve())
            if error is not None:
                self._crashed(child, error, cell.describe_in_hand())
                cell.salvage(error)
            again = self._again(child, error)
            if not again:
                cell.close()
            await self._retire(child, StopReason.STOPPED if error is None else StopReason.CRASHED)
            if not again:
                return error
            if error is None:
                cell.reopen()

    async def _retire(self, child: "_Child", reason: StopReason) -> None:
        error = await _outcome(child.cell.retire(reason, within_s=child.spec.shutdown_s))
        if error is not None:
            self._crashed(child, error, "on_stop")

    def _again(self, child: "_Child", error: Exception | None) -> bool:
        """Decide whether a life that ended is followed by another, and charge it to the budget."""
        if child.stop is not None:
            # Only a drain is worth going on with after a crash.
            wanted = error is not None and child.stop.drain
        elif error is None:
            wanted = child.spec.restart is Restart.PERMANENT
        else:
            wanted = child.spec.restart is not Restart.TEMPORARY
        if not wanted:
            return False
        now = self._clock()
        recent = tuple(at for at in child.restarted_at if now - at < self._within_s)
        if len(recent) >= self._max_restarts:
            return False
        child.restarted_at = (*recent, now)
        child.restarts += 1
        self.restarts[child.cell.ref.kind] += 1
        return True

    def _ended(self, child: "_Child", task: "asyncio.Task[Exception | None]") -> None:
        """Clear up after a child, however its task came to an end."""
        error: BaseException | None
        if task.cancelled():
            error = ActorStopped(f"the task of {child.spec.name!r} was cancelled")
        else:
            error = task.exception() or task.result()
        child.cell.close()
        if child.started is not None:
            self._remove(child)
            if not child.started.done():
                child.started.set_exception(
                    error or ActorStopped(f"{child.spec.name!r} was stopped while it started")
                )
        elif child.stop is not None:
            self._remove(child)
        else:
            self._went_down(child, error if isinstance(error, Exception) else None)

    def _went_down(self, child: "_Child", error: Exception | None) -> None:
        """Tell that a child is gone that nobody here stopped."""
        child.down = True
        ref = child.cell.ref
        why = "it was told to stop" if error is None else type(error).__name__
        _log.error("%s is down after %d restarts: %s", child, child.restarts, why)
        if self._on_down is not None:
            # By the loop, so that an error in the callback is the loop's to report and not ours to survive.
            asyncio.get_running_loop().call_soon(self._on_down, Down(ref.name, ref.kind, error))

    def _remove(self, child: "_Child") -> None:
        del self._children[child.spec.name]
        _count_in(self._gone.setdefault(child.cell.ref.kind, KindStatistics()), child)

    def _order_stop(self, child: "_Child", *, drain: bool) -> None:
        """Order once; a second order changes nothing."""
        if child.stop is None:
            child.stop = Stop(drain)
            child.cell.order_stop(child.stop)

    def _cancel(self, child: "_Child") -> None:
        _log.warning("%s did not stop within %g s and is cancelled", child, child.spec.shutdown_s)
        child.task.cancel()

    async def _stop(self, children: "Iterable[_Child]", *, drain: bool) -> None:
        running: dict[asyncio.Task[Exception | None], _Child] = {}
        for child in children:
            if child.down:
                self._remove(child)
            else:
                self._order_stop(child, drain=drain)
                running[child.task] = child
        if not running:
            return
        _, late = await asyncio.wait(
            running, timeout=max(child.spec.shutdown_s for child in running.values())
        )
        if not late:
            return
        for task in late:
            self._cancel(running[task])
        _, left_behind = await asyncio.wait(late, timeout=CANCEL_GRACE_S)
        for task in left_behind:
            _log.error("%s did not end when cancelled and is left behind", running[task])
            running[task].cell.close()

    def _crashed(self, child: "_Child", error: Exception, doing: str) -> None:
        child.crashes += 1
        self._crash_log.record(str(child), doing, error)


class _Child:
    """A supervisor's file on one child."""

    __slots__ = ("cell", "crashes", "down", "restarted_at", "restarts", "spec", "started", "stop", "task")

    task: "asyncio.Task[Exception | None]"

    def __init__(self, spec: ChildSpec, cell: Cell, started: "asyncio.Future[None] | None") -> None:
        self.spec = spec
        self.cell = cell
        # Pending while start_child waits for the first on_start; None afterwards, and when nobody waits.
        self.started = started
        # The supervisor's order to stop, once it is given.
        self.stop: Stop | None = None
        # True when it has ended and nobody had ordered it.
        self.down = False
        self.crashes = 0
        self.restarts = 0
        # The restarts that still weigh on the budget, oldest first.
        self.restarted_at: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"{self.cell.ref.kind} {self.spec.name!r}"

    @property
    def is_up(self) -> bool:
        """Say whether a failure is a crash; before, it is the failed start that ``start_child`` raises."""
        return self.started is None

    def up(self) -> None:
        """Tell who waits that the start is through."""
        if self.started is not None and not self.started.done():
            self.started.set_result(None)
        self.started = None


async def _outcome(work: Coroutine[Any, Any, None]) -> Exception | None:
    """Run a part of an actor's life and give the error it ends with, if any."""
    try:
        await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody cancelled this task: the handler awaited something that was cancelled. A crash like another.
        crash = ActorError("a handler awaited what was cancelled")
        crash.__cause__ = error
        return crash
    except Exception as error:  # noqa: BLE001 - the one place that turns whatever a handler raises into a crash
        return error
    return None


def _count_in(figures: KindStatistics, child: _Child) -> None:
    """Add the counters of one child to those of its kind."""
    mailbox = child.cell.ref.statistics()
    figures.peak = max(figures.peak, mailbox.peak)
    figures.started += 1
    figures.crashes += child.crashes
    figures.restarts += child.restarts
    figures.down += child.down
    figures.offered += mailbox.offered
    figures.taken += mailbox.taken
    figures.refused += mailbox.refused
    figures.expired += child.cell.expired
