"""What a sender marks with a key is stored once, however often it is sent."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.system import SystemSettings
from service.ingestion.verdict import (
    BUFFERED,
    REPEATED,
    Buffered,
    Dropped,
    DropReason,
    Repeated,
    Retry,
    RetryReason,
)
from service.remembered_keys import GENERATION_S, REMEMBERED_S
from service.sites.records import Limits, ShieldKind
from service.telemetry import Measured, catalogue
from tests.support.memory_store import MemoryStore
from tests.support.running_system import NOON, SetClock, running_system

REFUSED = Retry(RetryReason.JOURNAL_UNAVAILABLE)


async def test_sent_again(tmp_path: Path) -> None:
    """The first is stored, the second told so; another key, another site and no key are other events."""
    async with running_system(tmp_path, domains=["a.example", "b.example"]) as running:
        sent = [("a.example", "1"), ("a.example", "1"), ("a.example", "2"), ("b.example", "1")]
        verdicts = [await running.send(running.request(domain, key=key)) for domain, key in sent]
        verdicts += [await running.send(running.request("a.example")) for _ in range(2)]
        await running.system.flush()
        figures = {figure.metric: figure.value for figure in running.telemetry.measure()}

        assert verdicts == [[BUFFERED], [REPEATED], [BUFFERED], [BUFFERED], [BUFFERED], [BUFFERED]]
        assert len(running.store.events) == 5
        assert figures[catalogue.EVENTS_REPEATED] == 1
        assert figures[catalogue.EVENTS_BUFFERED] == 5


async def test_each_domain_by_itself(tmp_path: Path) -> None:
    """Of a request for several domains, those are stored that were not yet."""
    async with running_system(tmp_path, domains=["a.example", "b.example"]) as running:
        await running.send(running.request("a.example", key="1"))
        verdicts = await running.send(running.request("a.example", "b.example", "b.example", key="1"))
        await running.system.flush()

        assert verdicts == [REPEATED, BUFFERED, REPEATED]
        assert len(running.store.events) == 2


async def test_sent_again_before_the_first_is_stored(tmp_path: Path) -> None:
    """Whoever comes while the first is on its way waits for its fate: in one batch, or in several."""
    async with running_system(tmp_path) as running:
        batch = await running.send_batch([running.request(key="1")] * 3)
        together = await asyncio.gather(*(running.send(running.request(key="2")) for _ in range(3)))
        await running.system.flush()

        assert batch == [[BUFFERED], [REPEATED], [REPEATED]]
        assert sorted(map(str, together)) == sorted(map(str, [[BUFFERED], [REPEATED], [REPEATED]]))
        assert len(running.store.events) == 2


async def test_refused_is_not_stored(tmp_path: Path) -> None:
    """A key whose event the journal did not take is not remembered, for those who waited with it neither."""
    async with running_system(tmp_path, journal_max_bytes=100) as running:
        refused = await running.send_batch([running.request(key="1")] * 2)
        again = await running.send(running.request(key="1"))

    async with running_system(tmp_path) as running:
        at_last = await running.send(running.request(key="1"))
        await running.system.flush()

        assert (refused, again, at_last) == ([[REFUSED], [REFUSED]], [REFUSED], [BUFFERED])
        assert len(running.store.events) == 1


async def test_dropped_is_judged_again(tmp_path: Path) -> None:
    """What was dropped was not stored; when the reason is gone, it is."""
    async with running_system(tmp_path, domains=[]) as running:
        site = await running.add_site("a.example", Limits(threshold=1, scale_seconds=60))
        await running.add_shield(site, ShieldKind.IP, "203.0.113.1")
        shielded = await running.send(running.request("a.example", key="1"))
        running.clock.now += 60
        stored = await running.send(running.request("a.example", visitor=2, key="1"))
        repeated = [await running.send(running.request("a.example", visitor=2, key="1")) for _ in range(2)]
        throttled = await running.send(running.request("a.example", visitor=2, key="2"))

        assert shielded == [Dropped(DropReason.SITE_IP_BLOCKLIST)]
        assert (stored, repeated) == ([BUFFERED], [[REPEATED], [REPEATED]])
        assert throttled == [Dropped(DropReason.THROTTLE)]


async def test_remembered_over_restarts(tmp_path: Path) -> None:
    """Whether its block is in ClickHouse already or waits in the journal."""
    store = MemoryStore()
    async with running_system(tmp_path, store=store) as running:
        await running.send(running.request(key="inserted"))
        await running.system.flush()
        store.away = True
        await running.send(running.request(key="waiting"))
    store.away = False
    async with running_system(tmp_path, store=store) as running:
        verdicts = [await running.send(running.request(key=key)) for key in ("inserted", "waiting", "new")]
        await running.system.flush()

        assert verdicts == [[REPEATED], [REPEATED], [BUFFERED]]
        assert len(store.events) == 3


async def test_remembered_for_a_day(tmp_path: Path) -> None:
    """A sender may try again for 24 hours, whether the site sleeps meanwhile or not."""
    settings = SystemSettings(tick_s=0.01, site_idle_s=1.0)
    async with running_system(tmp_path, settings=settings) as running:
        await running.send(running.request(key="1"))
        await running.system.flush()
        running.clock.now += REMEMBERED_S - 1
        await _eventually(lambda: not running.system.statistics["sites_awake"])
        within = await running.send(running.request(key="1"))
        running.clock.now += GENERATION_S + 2
        await _eventually(lambda: not _remembered(running.system.figures()))
        after = await running.send(running.request(key="1"))

        assert (within, after) == ([REPEATED], [BUFFERED])


async def test_segments_wait_for_their_keys(tmp_path: Path) -> None:
    """A stored block stays in the journal as long as its keys cannot be saved, and goes when they can."""
    async with running_system(tmp_path, settings=SystemSettings(tick_s=0.01)) as running:
        folder = tmp_path / "keys"
        folder.rmdir()
        await running.send(running.request(key="1"))
        await running.system.flush()
        kept = list((tmp_path / "journal").glob("*.gh"))
        folder.mkdir()
        await _eventually(lambda: not list((tmp_path / "journal").glob("*.gh")))

        assert len(kept) == 1
        assert len(running.store.events) == 1
        assert list(folder.iterdir())


async def _eventually(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.01)


def _remembered(figures: Sequence[Measured]) -> bool:
    return any(figure.value for figure in figures if figure.metric == catalogue.KEYS_REMEMBERED)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(st.integers(0, 5), min_size=1, max_size=4)),
        st.tuples(st.sampled_from(["away", "back", "flush", "restart"]), st.just([])),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_stored_once_or_told_otherwise(steps: list[tuple[str, list[int]]]) -> None:
    """Outages, full journals and restarts: once when one of its senders was told so, else never."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, list[int]]]) -> None:
    store, clock = MemoryStore(), SetClock(NOON)
    acknowledged: set[str] = set()
    with tempfile.TemporaryDirectory() as name:
        rest = iter([*steps, ("back", []), ("flush", [])])
        goes_on = True
        while goes_on:
            goes_on = False
            async with running_system(
                Path(name), store=store, clock=clock, journal_max_bytes=1500
            ) as running:
                for what, keys in rest:
                    match what:
                        case "send":
                            requests = [running.request(pathname=f"/{key}", key=str(key)) for key in keys]
                            for key, verdicts in zip(keys, await running.send_batch(requests), strict=True):
                                if isinstance(verdicts[0], Buffered | Repeated):
                                    acknowledged.add(f"/{key}")
                        case "flush" if not store.away:
                            await running.system.flush()
                        case "restart":
                            goes_on = True
                            break
                        case _:
                            store.away = what == "away"

    assert Counter(event.pathname for event in store.events) == Counter(acknowledged)
