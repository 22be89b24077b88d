"""More than can be done: who is refused, what is promised to the others, and what a long outage costs."""

import asyncio
import gc
import tempfile
import time
import tracemalloc
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.buffer import BlockLimits
from actors.inserter import FIRST_WAIT_S, LONGEST_WAIT_S, choose_wait_s
from actors.messages import BuildResult, Ingest
from actors.runtime import BATCH_MAX, Actor, Envelope, Pace
from actors.supervision import ChildSpec, Supervisor
from actors.system import SystemSettings
from service.clickhouse.store import Block
from service.ingestion.user_agent import Detection, UserAgents
from service.ingestion.verdict import BUFFERED, Retry, RetryReason, Verdict
from tests.support.memory_store import MemoryStore
from tests.support.probe import until
from tests.support.running_system import buffered, running_system, verdicts

OVERLOADED = Retry(RetryReason.OVERLOADED)
NO_LINE = SystemSettings(max_wait_s=0.0, ask_timeout_s=60.0)
"""Whoever would have to wait for a second turn is refused, however fast the machine is."""


ROUNDS, EACH_ROUND = 20, 20


def take_a_millisecond(_: str) -> Detection | None:
    """Take a user agent apart as slowly as that, and find nothing."""
    end = time.thread_time() + 0.001
    while time.thread_time() < end:
        pass
    return None


class Sink(Actor):
    """Takes messages and does nothing."""

    kind = "sink"
    mailbox_bound = 10_000

    async def receive(self, envelope: Envelope) -> None:
        """Answer."""
        envelope.reply(None)


async def test_a_burst_finds_room_and_a_line_that_lasts_is_measured() -> None:
    """Before its first turn an actor promises no wait; while it works a backlog off it does; then no more."""
    supervisor = Supervisor()
    ref = await supervisor.start_child(ChildSpec("sink", Sink))
    for _ in range(BATCH_MAX * 5):
        ref.tell("work")
    assert ref.expected_wait_s == 0.0
    waits = []
    while ref.depth:
        waits.append((ref.depth, ref.expected_wait_s))
        await asyncio.sleep(0)
    assert any(wait > 0 for depth, wait in waits if depth > BATCH_MAX)
    assert all(wait == 0 for depth, wait in waits if depth <= BATCH_MAX)
    assert ref.expected_wait_s == 0.0
    await supervisor.stop_together(drain=False)


@given(
    st.lists(st.tuples(st.integers(1, 100), st.floats(0.001, 1.0)), min_size=1, max_size=20),
    st.integers(0, 10_000),
    st.integers(1, 100),
)
def test_the_wait_lies_between_the_fastest_and_the_slowest_turn(
    turns: list[tuple[int, float]], depth: int, limit: int
) -> None:
    """Whatever turns were seen; what the next turn takes waits for none."""
    pace = Pace()
    for messages, seconds in turns:
        pace.add(messages, seconds, limit=limit)
    each = [seconds / messages for messages, seconds in turns]
    beyond = max(0, depth - limit)
    assert min(each) * beyond * 0.999 <= pace.wait_s(depth) <= max(each) * beyond * 1.001


class Asked(Envelope):
    """A request whose answer is kept in a list."""

    answers: list[Verdict]

    @property
    def is_ask(self) -> bool:
        """Somebody waits."""
        return True

    def reply(self, value: object) -> None:
        """Keep the verdict."""
        assert isinstance(value, BuildResult)
        self.answers += verdicts(value)


async def test_under_a_flood_all_is_taken_or_refused_and_what_is_taken_is_stored(tmp_path: Path) -> None:
    """Every answer is "taken" or "try again", some are refused early, and nothing that was taken is lost."""
    async with running_system(tmp_path, settings=NO_LINE) as running:
        answers: list[Verdict] = []
        sent = early = 0
        while not early:
            for _ in range(BATCH_MAX * 3):
                sent += 1
                running.system.offer(Asked(Ingest(running.request(visitor=sent % 50)), None, None, answers))
            early += running.system.turns_away()
            await asyncio.sleep(0)
        await until(lambda: len(answers) == sent)
        await running.system.flush()
        assert set(answers) <= {BUFFERED, OVERLOADED}
        assert len(running.store.events) == answers.count(BUFFERED) > 0
        assert running.telemetry.refused[RetryReason.OVERLOADED] == answers.count(OVERLOADED) + early


async def test_the_line_of_one_site_is_not_the_line_of_another(tmp_path: Path) -> None:
    """A site with a line that is too long refuses; an event of another site is taken at the same time."""
    async with running_system(
        tmp_path,
        settings=NO_LINE,
        domains=["loud.example", "quiet.example"],
        user_agents=UserAgents(take_a_millisecond, capacity=10),
    ) as running:
        loud: list[Verdict] = []
        quiet: list[Verdict] = []
        flood = [
            running.request("loud.example", user_agent=f"Robot/{number}") for number in range(BATCH_MAX * 4)
        ]
        flooding = asyncio.create_task(running.send_batch(flood))
        for number in range(ROUNDS):
            for each in range(EACH_ROUND):  # fewer than the door takes in a turn: there is no line before it
                request = running.request("loud.example", user_agent=f"Browser/{number}.{each}")
                running.system.offer(Asked(Ingest(request), None, None, loud))
            running.system.offer(Asked(Ingest(running.request("quiet.example")), None, None, quiet))
            await asyncio.sleep(0)
        await until(lambda: len(loud) == ROUNDS * EACH_ROUND and len(quiet) == ROUNDS)
        assert set(loud) == {BUFFERED, OVERLOADED}
        assert set(quiet) == {BUFFERED}
        assert buffered(await flooding) == len(flood)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_tries_come_at_longer_and_longer_random_times(tries: int, chance: float) -> None:
    """Between a half and the whole of a time that doubles with each try, up to a bound."""
    longest = min(FIRST_WAIT_S * 2.0 ** min(tries - 1, 100), LONGEST_WAIT_S)
    wait_s = choose_wait_s(tries, chance)
    assert longest / 2 <= wait_s <= longest
    assert choose_wait_s(tries, 0.0) == longest
    assert choose_wait_s(tries + 1, chance) >= wait_s


class TimedStore(MemoryStore):
    """Knows when each block came, on the clock of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    async def insert_block(self, block: Block) -> None:
        """Note the time, when it is not away."""
        await super().insert_block(block)
        self.times.append(asyncio.get_running_loop().time())


async def test_a_backlog_is_worked_off_at_a_bounded_rate(tmp_path: Path) -> None:
    """Six blocks of ten events at a hundred events a second take half a second, and not less."""
    store = TimedStore()
    store.away = True
    settings = SystemSettings(
        block=BlockLimits(max_rows=10, max_age_s=3600, max_waiting=0), drain_max_events_per_s=100.0
    )
    async with running_system(tmp_path, store=store, settings=settings) as running:
        for _ in range(60):
            assert await running.send(running.request()) == [BUFFERED]
        store.away = False
        await running.system.flush()
    assert len(store.times) == 6
    # The first block has its tries behind it; the second may go a tenth of a second after its first try.
    assert store.times[-1] - store.times[1] >= 0.4 - 0.01


async def test_a_backlog_on_disk_takes_next_to_no_memory(tmp_path: Path) -> None:
    """What a block that waits costs does not grow with its events: it holds none of them."""
    rows, blocks = 50, 30
    store = MemoryStore()
    store.away = True
    settings = SystemSettings(block=BlockLimits(max_rows=rows, max_age_s=3600, max_waiting=2))
    async with running_system(tmp_path, store=store, settings=settings) as running:

        async def fill(count: int) -> int:
            for _ in range(rows * count):
                await running.send(running.request())
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await fill(4)
        tracemalloc.start()
        try:
            before = await fill(1)
            grown = await fill(blocks) - before
        finally:
            tracemalloc.stop()
        assert grown / blocks < 60 * rows, "an event alone takes several hundred bytes"
        assert running.system.statistics["events_waiting"] == rows * (blocks + 5)


STEPS = st.lists(st.sampled_from(["one", "two", "away", "back", "restart"]), max_size=40)


@settings(max_examples=8, deadline=None)
@given(STEPS, st.integers(1, 7), st.integers(0, 3))
def test_the_order_of_each_site_outlives_outages(steps: list[str], max_rows: int, max_waiting: int) -> None:
    """However often the database or the service goes away, events come in the order of their answers."""
    asyncio.run(_play(steps, BlockLimits(max_rows=max_rows, max_age_s=3600, max_waiting=max_waiting)))


async def _play(steps: list[str], limits: BlockLimits) -> None:
    store, sent = MemoryStore(), dict[str, list[str]](one=[], two=[])
    parts = "\0".join(steps).split("restart")
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            await _play_life(Path(folder), store, [step for step in part.split("\0") if step], limits, sent)
        store.away = False
        await _play_life(Path(folder), store, [], limits, sent)
    for name, paths in sent.items():
        known = set(paths)
        assert [event.pathname for event in store.events if event.pathname in known] == paths, name


async def _play_life(
    folder: Path, store: MemoryStore, steps: list[str], limits: BlockLimits, sent: dict[str, list[str]]
) -> None:
    domains = [f"{name}.example" for name in sent]
    async with running_system(
        folder, store=store, settings=SystemSettings(block=limits), domains=domains
    ) as running:
        for step in steps:
            if step in sent:
                path = f"/{step}/{len(sent[step])}"
                assert await running.send(running.request(f"{step}.example", pathname=path)) == [BUFFERED]
                sent[step].append(path)
            else:
                store.away = step == "away"
        if not store.away:
            await running.system.flush()
