"""Courtesy: work in the background leaves the loop to others, and is done in the end all the same."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from actors.courtesy import LATE_S, LONGEST_REST, Courtesy, next_rest

WORK_S: Final = 0.001
BUSY_S: Final = 2 * LATE_S
PIECES: Final = 8


class Loop:
    """A loop of made-up time whose other tasks take ``turn_s`` a turn."""

    def __init__(self, turn_s: float) -> None:
        self.turn_s = turn_s
        self.now = 0.0
        self.rests: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and a turn of the others."""
        self.rests.append(seconds)
        self.now += seconds + self.turn_s

    async def work(self, courtesy: Courtesy, waiting: int) -> None:
        """Do some pieces of work."""
        courtesy.begin(waiting)
        for _ in range(PIECES):
            self.now += WORK_S
            await courtesy.give_way()

    def courtesy(self) -> Courtesy:
        """Give the courtesy of a task in this loop."""
        return Courtesy(clock=lambda: self.now, sleep=self.sleep)


@given(st.lists(st.booleans(), max_size=30))
def test_rests_grow_while_turns_come_late(turns: list[bool]) -> None:
    """A late turn makes the next rest longer up to a bound, one in time makes it shorter down to none."""
    rest = 0.0
    for is_late in turns:
        before, rest = rest, next_rest(rest, is_late=is_late)
        assert rest >= before if is_late else rest <= before
        assert 0 <= rest <= LONGEST_REST
    for _ in range(10):
        rest = next_rest(rest, is_late=False)
    assert rest == 0


async def test_alone_it_does_not_rest() -> None:
    """Where turns come in time, giving way is one turn of the loop."""
    loop = Loop(turn_s=0.0)
    await loop.work(loop.courtesy(), waiting=1)
    assert loop.rests == [0.0] * PIECES


async def test_others_have_most_of_the_time() -> None:
    """While others keep the loop busy, the work comes down to a tenth of the time."""
    loop = Loop(turn_s=BUSY_S)
    courtesy = loop.courtesy()
    for waiting in (100, 90, 80, 70, 60):
        await loop.work(courtesy, waiting)
    assert abs(loop.rests[-1] - LONGEST_REST * WORK_S) < WORK_S / 1000


async def test_what_grows_is_done_all_the_same() -> None:
    """While there is ever more to be done, the rests shrink to nothing; they grow again when it gets less."""
    loop = Loop(turn_s=BUSY_S)
    courtesy = loop.courtesy()
    for waiting in range(100, 130):
        await loop.work(courtesy, waiting)
    assert loop.rests[-1] < WORK_S / 1000
    for waiting in range(100, 90, -1):
        await loop.work(courtesy, waiting)
    assert loop.rests[-1] > WORK_S
