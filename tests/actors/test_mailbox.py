"""The mailbox alone: two lanes, a bound, one reader, and figures that add up."""

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.mailbox import Mailbox, MailboxStatistics


def test_needs_no_loop() -> None:
    """A mailbox is made, filled and emptied without a running loop."""
    mailbox: Mailbox[str] = Mailbox(2)
    mailbox.offer("a")

    assert mailbox.take(10) == ["a"]


def test_keeps_the_order_of_work() -> None:
    """Work comes out in the order it went in, over several takes."""
    mailbox: Mailbox[int] = Mailbox(10)
    for number in range(5):
        mailbox.offer(number)

    assert [mailbox.take(2), mailbox.take(2), mailbox.take(2)] == [[0, 1], [2, 3], [4]]


def test_refuses_the_newest_when_full() -> None:
    """A full work lane refuses what comes, keeps what it has, and counts the refusal."""
    mailbox: Mailbox[str] = Mailbox(2)

    assert [mailbox.offer(message) for message in "abc"] == [True, True, False]
    assert mailbox.take(10) == ["a", "b"]
    assert mailbox.statistics().refused == 1


def test_takes_work_again_after_it_was_full() -> None:
    """A refusal is for the moment: room made by the reader is used."""
    mailbox: Mailbox[str] = Mailbox(1)
    mailbox.offer("a")
    mailbox.offer("refused")
    mailbox.take(1)

    assert mailbox.offer("b")


def test_control_comes_first() -> None:
    """Control messages overtake all work."""
    mailbox: Mailbox[str] = Mailbox(10)
    mailbox.offer("work")
    mailbox.offer_control("stop")

    assert mailbox.urgent
    assert mailbox.take(10) == ["stop", "work"]


def test_control_knows_no_bound() -> None:
    """Control messages are never refused, even by a full mailbox."""
    mailbox: Mailbox[int] = Mailbox(1)
    mailbox.offer(0)
    for number in range(1, 100):
        mailbox.offer_control(number)

    assert mailbox.take(200) == [*range(1, 100), 0]


def test_put_back_is_as_if_never_taken() -> None:
    """What is put back comes out first and in its order, and the figures forget the take."""
    mailbox: Mailbox[str] = Mailbox(3)
    for message in "abc":
        mailbox.offer(message)
    before = mailbox.statistics()

    mailbox.put_back(mailbox.take(2))

    assert mailbox.statistics() == before
    assert mailbox.take(10) == ["a", "b", "c"]


def test_put_back_nothing_changes_nothing() -> None:
    """Putting nothing back leaves the mailbox empty."""
    mailbox: Mailbox[str] = Mailbox(3)

    mailbox.put_back([])

    assert len(mailbox) == 0


def test_put_back_may_exceed_the_bound() -> None:
    """Nothing accepted is lost when the lane was refilled meanwhile; new work is refused until then."""
    mailbox: Mailbox[str] = Mailbox(1)
    mailbox.offer("a")
    taken = mailbox.take(1)
    mailbox.offer("b")

    mailbox.put_back(taken)

    assert not mailbox.offer("c")
    assert mailbox.take(10) == ["a", "b"]


def test_statistics_name_every_figure() -> None:
    """The figures tell both lanes, the refusals and the high-water mark apart."""
    mailbox: Mailbox[str] = Mailbox(2)
    for message in "abc":
        mailbox.offer(message)
    mailbox.take(1)
    mailbox.offer_control("stop")

    expected = MailboxStatistics(offered=4, taken=1, refused=1, peak=2, depth=1, control_depth=1)
    assert expected == mailbox.statistics()


class Told:
    """A reader that does something each time that it is told."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.times = 0
        self._then = then

    def on_filled(self) -> None:
        """Count it, and do it."""
        self.times += 1
        self._then()


def test_tells_at_once_when_something_is_there() -> None:
    """Nobody waits for what has come already."""
    mailbox: Mailbox[str] = Mailbox(1)
    reader = Told()
    mailbox.offer("a")

    mailbox.tell_when_filled(reader)

    assert reader.times == 1


@pytest.mark.parametrize("lane", ["work", "control"])
def test_tells_of_the_first_message(lane: str) -> None:
    """The reader is told of a message of either lane, once, which is there for it to take."""
    mailbox: Mailbox[str] = Mailbox(2)
    got: list[list[str]] = []
    mailbox.tell_when_filled(Told(lambda: got.append(mailbox.take(1))))
    offer = mailbox.offer if lane == "work" else mailbox.offer_control

    offer("a")
    offer("b")

    assert got == [["a"]]
    assert mailbox.take(1) == ["b"]


def test_two_readers_fail_loudly() -> None:
    """A second reader is told that there is one."""
    mailbox: Mailbox[str] = Mailbox(1)
    mailbox.tell_when_filled(Told())

    with pytest.raises(RuntimeError, match="waits already"):
        mailbox.tell_when_filled(Told())


def test_a_forgotten_reader_takes_nothing_with_it() -> None:
    """After a reader was forgotten the next message waits for the next one."""
    mailbox: Mailbox[str] = Mailbox(1)
    first, second = Told(), Told()
    mailbox.tell_when_filled(first)
    mailbox.forget_reader()
    mailbox.offer("a")

    mailbox.tell_when_filled(second)

    assert (first.times, second.times) == (0, 1)
    assert mailbox.take(1) == ["a"]


class MailboxModel(RuleBasedStateMachine):
    """Random use of a mailbox beside a model of two plain queues."""

    BOUND = 3

    def __init__(self) -> None:
        super().__init__()
        self.mailbox: Mailbox[int] = Mailbox(self.BOUND)
        self.work: deque[int] = deque()
        self.control: deque[int] = deque()
        self.in_hand: list[int] = []
        self.next = 0
        self.tried = 0
        self.refused = 0

    @rule()
    def offer(self) -> None:
        """It is accepted exactly when the model has room."""
        room = len(self.work) < self.BOUND
        assert self.mailbox.offer(self.next) is room
        if room:
            self.work.append(self.next)
        self.refused += not room
        self.tried += 1
        self.next += 1

    @rule()
    def offer_control(self) -> None:
        """It is always accepted."""
        self.mailbox.offer_control(self.next)
        self.control.append(self.next)
        self.tried += 1
        self.next += 1

    @rule(limit=st.integers(1, 5))
    def take(self, limit: int) -> None:
        """It gives control first, then work, each in its order."""
        expected = [*self.control, *self.work][:limit]
        from_control = min(limit, len(self.control))
        for _ in range(from_control):
            self.control.popleft()
        for _ in range(len(expected) - from_control):
            self.work.popleft()
        assert expected == self.mailbox.take(limit)
        self.in_hand = expected[from_control:]

    @precondition(lambda self: bool(self.in_hand))
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        """A tail of the last work taken goes back to the head."""
        rest = self.in_hand[data.draw(st.integers(0, len(self.in_hand))) :]
        self.mailbox.put_back(iter(rest))
        self.work.extendleft(reversed(rest))
        self.in_hand = []

    @invariant()
    def figures_add_up(self) -> None:
        """Nothing is lost and nothing invented."""
        figures = self.mailbox.statistics()
        assert (figures.depth, figures.control_depth) == (len(self.work), len(self.control))
        assert (figures.offered, figures.refused) == (self.tried, self.refused)
        assert len(self.mailbox) == len(self.work) + len(self.control)
        assert self.mailbox.urgent is bool(self.control)


TestMailboxModel = MailboxModel.TestCase


@given(bursts=st.lists(st.integers(0, 250), max_size=6))
def test_every_burst_is_read(bursts: list[int]) -> None:
    """A reader that takes a part each time, and asks to be told again, gets all that is offered."""
    mailbox: Mailbox[int] = Mailbox(1000)
    got: list[int] = []
    due: list[bool] = []

    reader = Told(lambda: due.append(True))

    mailbox.tell_when_filled(reader)
    offered = 0
    for burst in bursts:
        for _ in range(burst):
            mailbox.offer(offered)
            offered += 1
        while due:
            due.pop()
            got.extend(mailbox.take(100))
            mailbox.tell_when_filled(reader)

    assert got == list(range(sum(bursts)))
