"""The queue in front of an actor: a bounded lane for work, a lane for control messages, one reader.

Rules it keeps (reference/actors.md, sections 1.2, 3 and 4):

- The lane for work is bounded and refuses the newest when full: offering never blocks, a refusal is counted.
- The lane for control messages has no bound, is read first, and never loses anything.
- One reader only, who is told when something is there; that takes nothing out.
- An idle mailbox is small: a lane exists only while something is in it, because thousands of actors are idle.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

T = TypeVar("T")


class MailboxStatistics(Struct, frozen=True):
    """What went through a mailbox; always ``offered == taken + refused + depth + control_depth``."""

    offered: int
    """Messages of both lanes that somebody tried to put in."""
    taken: int
    """Messages handed to the reader and not put back."""
    refused: int
    """Messages of the work lane turned away because it was full."""
    peak: int
    """The most messages that ever waited in the work lane."""
    depth: int
    """Messages waiting in the work lane."""
    control_depth: int
    """Messages waiting in the control lane."""


class Reader(Protocol):
    """Whoever reads a mailbox."""

    def on_filled(self) -> None:
        """Hear that something is there."""


class Mailbox(Generic[T]):
    """Two lanes and one reader; used by one thread only."""

    __slots__ = ("_bound", "_control", "_peak", "_reader", "_refused", "_taken", "_work")

    def __init__(self, bound: int) -> None:
        assert bound > 0, "a mailbox has room for at least one message"
        self._bound = bound
        # None stands for an empty lane: an empty deque weighs 0.6 kB, more than the rest of the mailbox.
        self._work: deque[T] | None = None
        self._control: deque[T] | None = None
        # Told of the next message; None while the reader does not wait.
        self._reader: Reader | None = None
        self._taken = 0
        self._refused = 0
        # Up to the last ``take``; nothing else makes the lane shorter.
        self._peak = 0

    def __len__(self) -> int:
        """Count the messages that wait in both lanes."""
        return (len(self._work) if self._work else 0) + (len(self._control) if self._control else 0)

    @property
    def urgent(self) -> bool:
        """Say whether a control message waits."""
        return self._control is not None

    def offer(self, envelope: T) -> bool:
        """Put one message into the work lane; False when it is full (counted)."""
        lane = self._work
        if lane is None:
            lane = self._work = deque()
        elif len(lane) >= self._bound:
            self._refused += 1
            return False
        lane.append(envelope)
        if self._reader is not None:
            self._tell_reader()
        return True

    def offer_control(self, envelope: T) -> None:
        """Put one message into the control lane, however full the mailbox is."""
        if self._control is None:
            self._control = deque()
        self._control.append(envelope)
        if self._reader is not None:
            self._tell_reader()

    def tell_when_filled(self, reader: Reader) -> None:
        """Have the reader told once, as soon as something is there: now, or within the next offer.

        Raises RuntimeError when somebody waits already: two readers would each get half of the messages.
        """
        if self._reader is not None:
            raise RuntimeError(
                "this mailbox has a reader that waits already; an actor is the only reader of its own"
            )
        self._reader = reader
        if self:
            self._tell_reader()

    def forget_reader(self) -> None:
        """Have nobody told any more."""
        self._reader = None

    def take(self, limit: int) -> list[T]:
        """Take up to ``limit`` messages without waiting: control messages first, each lane in its order."""
        taken: list[T] = []
        if self._control is not None:
            taken, self._control = _split(self._control, limit)
        if self._work is not None and len(taken) < limit:
            self._peak = max(self._peak, len(self._work))
            work, self._work = _split(self._work, limit - len(taken))
            taken = taken + work if taken else work
        self._taken += len(taken)
        return taken

    def put_back(self, envelopes: Iterable[T]) -> None:
        """Put work back to the head of its lane, in its order, as if never taken; the bound is not asked."""
        returned = deque(envelopes)
        if not returned:
            return
        self._taken -= len(returned)
        if self._work is not None:
            returned.extend(self._work)
        self._work = returned

    def statistics(self) -> MailboxStatistics:
        """Give the figures of this moment."""
        depth = len(self._work) if self._work else 0
        control_depth = len(self._control) if self._control else 0
        return MailboxStatistics(
            offered=self._taken + self._refused + depth + control_depth,
            taken=self._taken,
            refused=self._refused,
            peak=max(self._peak, depth),
            depth=depth,
            control_depth=control_depth,
        )

    def _tell_reader(self) -> None:
        reader, self._reader = self._reader, None
        assert reader is not None, "somebody waits"
        reader.on_filled()


def _split(lane: deque[T], limit: int) -> tuple[list[T], deque[T] | None]:
    """Give the first ``limit`` messages of a lane, and the lane that is left (None when empty)."""
    if len(lane) <= limit:
        return list(lane), None
    head = list(islice(lane, limit))
    for _ in head:
        lane.popleft()
    return head, lane
