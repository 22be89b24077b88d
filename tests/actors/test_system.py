import asyncio
import gc
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from actors.buffer import BufferActor
from actors.front import Offered
from actors.site import SiteActor
from actors.system import SystemSettings
from service.errors import GatehouseError
from service.ingestion.event import Event
from service.ingestion.site import Site
from service.ingestion.verdict import BUFFERED, Dropped, DropReason, Retry, RetryReason
from service.sites.records import Limits, ShieldKind, SiteRecord
from service.sites.sqlite import SqliteSiteStore
from tests.support.memory_store import MemoryStore
from tests.support.running_system import NOON, RunningSystem, SetClock, running_system


async def test_an_event_becomes_a_row(tmp_path: Path) -> None:
    """What is buffered is in the store after a flush, with its session."""
    async with running_system(tmp_path) as running:
        verdict = await running.send(running.request(pathname="/hello"))
        flushed = await running.system.flush()

        assert verdict == [BUFFERED]
        assert flushed == 1
        assert [event.pathname for event in running.store.events] == ["/hello"]
        assert [(sign, session.pageviews) for sign, session in running.store.sessions] == [(1, 1)]


async def test_an_unknown_domain_wakes_nobody(tmp_path: Path) -> None:
    """A flood of unknown domains is dropped without an actor."""
    async with running_system(tmp_path) as running:
        floods = [running.request(f"unknown-{number}.example") for number in range(1000)]
        verdicts = [await running.send(request) for request in floods]

        assert verdicts == [[Dropped(DropReason.NOT_FOUND)]] * 1000
        assert running.system.statistics["sites_awake"] == 0


async def test_known_sites_sleep_until_their_first_event(tmp_path: Path) -> None:
    """A known site has no actor before its first event."""
    async with running_system(
        tmp_path, domains=[f"site-{number}.example" for number in range(50)]
    ) as running:
        before = running.system.statistics["sites_awake"]
        await running.send(running.request("site-7.example"))

        assert before == 0
        assert running.system.statistics["sites_awake"] == 1


async def test_what_was_answered_is_let_go_of(tmp_path: Path) -> None:
    """No actor keeps an answered event, with its address: at most the last of all, for a moment."""

    def count() -> int:
        gc.collect()
        return sum(isinstance(thing, Offered) for thing in gc.get_objects())

    before = count()
    domains = [f"site-{number}.example" for number in range(20)]
    async with running_system(tmp_path, domains=domains) as running:
        for domain in domains:
            await running.send(running.request(domain))

        assert count() <= before + 1


async def test_each_domain_of_a_request_is_judged_by_itself(tmp_path: Path) -> None:
    """One request may be buffered for one domain and dropped for another; order is kept."""
    async with running_system(tmp_path, domains=["a.example", "b.example"]) as running:
        request = running.request("a.example", "nobody.example", "b.example", "a.example")
        verdicts = await running.send(request)
        await running.system.flush()

        assert verdicts == [BUFFERED, Dropped(DropReason.NOT_FOUND), BUFFERED, BUFFERED]
        assert sorted(session.events for session in running.store.live_sessions()) == [1, 2]


async def test_spam_comes_before_the_site_is_asked(tmp_path: Path) -> None:
    """A spam referrer drops every domain, unknown ones too."""
    async with running_system(tmp_path) as running:
        request = running.request("example.com", "nobody.example", referrer="http://")

        assert await running.send(request) == [Dropped(DropReason.SPAM_REFERRER)] * 2


async def test_the_limit_lets_its_threshold_through(tmp_path: Path) -> None:
    """Of ten events in one window a threshold of four lets four in; the next window is fresh."""
    async with running_system(tmp_path) as running:
        await running.add_site("limited.example", Limits(threshold=4, scale_seconds=60))
        first = [await running.send(running.request("limited.example")) for _ in range(10)]
        running.clock.now += 60
        second = await running.send(running.request("limited.example"))

        assert first == [[BUFFERED]] * 4 + [[Dropped(DropReason.THROTTLE)]] * 6
        assert second == [BUFFERED]


async def test_a_change_is_in_force_for_the_next_event(tmp_path: Path) -> None:
    """A shield acts on the event right after it was added."""
    async with running_system(tmp_path) as running:
        site_id = await running.add_site("shielded.example")
        before = await running.send(running.request("shielded.example", pathname="/admin"))
        await running.add_shield(site_id, ShieldKind.PAGE, "/admin")
        after = await running.send(running.request("shielded.example", pathname="/admin"))

        assert before == [BUFFERED]
        assert after == [Dropped(DropReason.SITE_PAGE_BLOCKLIST)]


async def test_a_deleted_site_is_forgotten_at_once(tmp_path: Path) -> None:
    """Events after the deletion are not found, although the site's actor was awake."""
    async with running_system(tmp_path) as running:
        site_id = await running.add_site("gone.example")
        before = await running.send(running.request("gone.example"))
        async with running.sites.change() as tables:
            await tables.delete_site(site_id)
        await running.system.site_changed(site_id)

        assert before == [BUFFERED]
        assert await running.send(running.request("gone.example")) == [Dropped(DropReason.NOT_FOUND)]


async def test_a_change_of_another_process_is_noticed(tmp_path: Path) -> None:
    """A site that somebody else wrote into the file is found without being told."""
    async with running_system(tmp_path, settings=SystemSettings(tick_s=0.005)) as running:
        other = SqliteSiteStore(tmp_path / "sites.sqlite3", clock=running.clock)
        await other.start()
        stranger = RunningSystem(running.system, other, running.store, running.telemetry, running.clock)
        record_domain = "elsewhere.example"
        async with other.change() as tables:
            template = await tables.find("example.com")
            assert template is not None
            await tables.insert_site(_renamed(template, record_domain))
        await other.close()
        for _ in range(500):
            verdict = await stranger.send(running.request(record_domain))
            if verdict == [BUFFERED]:
                break
            await asyncio.sleep(0.01)

        assert verdict == [BUFFERED]


async def test_an_engagement_needs_a_session(tmp_path: Path) -> None:
    """An engagement alone is dropped; after a pageview it writes an event and no session row."""
    async with running_system(tmp_path) as running:
        alone = await running.send(running.request(name="engagement"))
        await running.send(running.request())
        after = await running.send(running.request(name="engagement"))
        await running.system.flush()

        assert alone == [Dropped(DropReason.NO_SESSION_FOR_ENGAGEMENT)]
        assert after == [BUFFERED]
        assert len(running.store.sessions) == 1
        assert len(running.store.events) == 2


async def test_a_session_survives_the_rotation_of_salts(tmp_path: Path) -> None:
    """Two events around midnight are one session under the first one's visitor id."""
    clock = SetClock(1_795_046_390)  # ten seconds before midnight
    async with running_system(tmp_path, clock=clock) as running:
        await running.send(running.request())
        clock.now += 20
        await running.send(running.request())
        await running.system.flush()

        assert clock.now % 86_400 == 10
        assert len({event.user_id for event in running.store.events}) == 1
        assert [session.events for session in running.store.live_sessions()] == [2]


async def test_a_restart_splits_no_visit(tmp_path: Path) -> None:
    """A session goes on after an orderly restart, back-dated ones too, under rows that sum up."""
    clock, store = SetClock(NOON), MemoryStore()
    async with running_system(tmp_path, store=store, clock=clock) as running:
        await running.send(running.request(pathname="/before"))
        await running.send(running.request(visitor=2, at=NOON - 7200, pathname="/past"))
    clock.now += 60
    async with running_system(tmp_path, store=store, clock=clock) as running:
        await running.send(running.request(visitor=2, at=NOON - 7100, pathname="/past-again"))
        await running.send(running.request(pathname="/after"))
        await running.system.flush()
    past, live = sorted(store.live_sessions(), key=lambda session: session.start)

    assert (live.entry_page, live.exit_page, live.pageviews, live.duration) == ("/before", "/after", 2, 60)
    assert (past.entry_page, past.exit_page, past.pageviews) == ("/past", "/past-again", 2)


async def test_a_restart_opens_no_window_twice(tmp_path: Path) -> None:
    """The rate limit's count goes on after a restart within its window."""
    limits = Limits(threshold=3, scale_seconds=3600)
    async with running_system(tmp_path) as running:
        await running.add_site("limited.example", limits)
        before = [await running.send(running.request("limited.example")) for _ in range(2)]
    async with running_system(tmp_path) as running:
        after = [await running.send(running.request("limited.example")) for _ in range(2)]

        assert before == [[BUFFERED]] * 2
        assert after == [[BUFFERED], [Dropped(DropReason.THROTTLE)]]


async def test_a_long_pause_ends_the_visit(tmp_path: Path) -> None:
    """What was remembered for too long is a new session."""
    clock, store = SetClock(NOON), MemoryStore()
    async with running_system(tmp_path, store=store, clock=clock) as running:
        await running.send(running.request())
    clock.now += 1900
    async with running_system(tmp_path, store=store, clock=clock) as running:
        await running.send(running.request())
        await running.system.flush()

    assert [session.pageviews for session in store.live_sessions()] == [1, 1]


async def test_a_site_that_cannot_be_loaded_answers_for_itself_alone(tmp_path: Path) -> None:
    """A site whose loading fails is unavailable, and another one takes events meanwhile."""
    async with running_system(tmp_path, domains=["good.example", "bad.example"]) as running:
        bad_id = running.system._directory.by_domain["bad.example"]
        await _break_loading(running, bad_id)
        bad = await running.send(running.request("bad.example"))
        good = await running.send(running.request("good.example"))

        assert bad == [Retry(RetryReason.SITE_UNAVAILABLE)]
        assert good == [BUFFERED]


async def test_a_site_that_answers_too_late_is_a_lock_timeout(tmp_path: Path) -> None:
    """When no site takes the event up in time, the verdict is final: nothing is stored later."""
    settings = SystemSettings(ask_timeout_s=0.2)
    async with running_system(tmp_path, settings=settings) as running:
        gate = await _stall_loading(running)
        verdict = await running.send(running.request())
        gate.set()
        await running.send(running.request(pathname="/later"))
        await running.system.flush()

        assert verdict == [Dropped(DropReason.LOCK_TIMEOUT)]
        assert [event.pathname for event in running.store.events] == ["/later"]


async def test_more_than_the_bound_is_refused(tmp_path: Path) -> None:
    """Requests beyond the bound get ``overloaded``, and those within it their verdict."""
    settings = SystemSettings(max_in_flight=5)
    async with running_system(tmp_path, settings=settings) as running:
        gate = await _stall_loading(running)
        sending = [asyncio.ensure_future(running.send(running.request())) for _ in range(8)]
        refused = [await sent for sent in sending[5:]]
        gate.set()
        taken = [await sent for sent in sending[:5]]

        assert refused == [[Retry(RetryReason.OVERLOADED)]] * 3
        assert taken == [[BUFFERED]] * 5


async def test_a_stopped_system_refuses_and_keeps_what_it_took(tmp_path: Path) -> None:
    """After the stop nothing is taken; what was taken before is stored."""
    async with running_system(tmp_path) as running:
        await running.send(running.request())
        await running.system.stop(deadline_s=5.0)
        after = await running.send(running.request())

        assert after == [Retry(RetryReason.NOT_READY)]
        assert not running.system.readiness().ready
        assert len(running.store.events) == 1


async def test_an_idle_site_is_let_go_and_wakes_again(tmp_path: Path) -> None:
    """A site without sessions or events leaves memory, and its next event finds it as before."""
    settings = SystemSettings(site_idle_s=1, tick_s=0.002)
    async with running_system(tmp_path, settings=settings) as running:
        await running.send(running.request(pathname="/", name="engagement"))
        running.clock.now += 120
        for _ in range(200):
            if not running.system.statistics["sites_awake"]:
                break
            await asyncio.sleep(0.01)
        asleep = running.system.statistics["sites_awake"]

        assert asleep == 0
        assert await running.send(running.request()) == [BUFFERED]


async def test_a_site_without_sessions_costs_less_than_six_kilobytes(tmp_path: Path) -> None:
    """An awake site that holds no session stays under the budget of the design."""
    count = 1000
    domains = [f"site-{number}.example" for number in range(count)]
    async with running_system(tmp_path, settings=SystemSettings(tick_s=0.01)) as running:
        await _add_many(running, domains)
        requests = [running.request(domain, name="engagement") for domain in domains]
        gc.collect()
        tracemalloc.start()
        for request in requests:
            await running.send(request)
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert running.system.statistics["sites_awake"] == count
        assert used / count < 6 * 1024


async def test_verdicts_are_counted_for_the_table(tmp_path: Path) -> None:
    """Each verdict becomes a row of ingest_counters: minute, domain, metric, site or none, version."""
    async with running_system(tmp_path) as running:
        await running.send(running.request())
        await running.send(running.request())
        await running.send(running.request("nobody.example"))
        await running.system.flush()
        site_id = running.system._directory.find("example.com")
        minute = int(running.clock.now) // 60 * 60

        rows = {
            (row.minute, row.domain, row.site_id, row.metric, row.value) for row in running.store.counters
        }
        assert rows == {
            (minute, "example.com", site_id, "buffered", 2),
            (minute, "nobody.example", None, "dropped_not_found", 1),
        }
        assert running.telemetry.buffered == 2
        assert running.telemetry.dropped[DropReason.NOT_FOUND] == 1


@pytest.mark.parametrize("crashes", [1, 3])
async def test_a_crash_costs_one_event_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crashes: int
) -> None:
    """The event that crashes its site gets ``site_unavailable``; the site goes on behind it."""
    async with running_system(tmp_path) as running:
        judge = SiteActor._judge
        left = [crashes]

        def crash_first(actor: SiteActor, event: Event, *others: Any) -> object:
            if event.request.pathname == "/crash" and left[0]:
                left[0] -= 1
                raise ZeroDivisionError
            return judge(actor, event, *others)

        monkeypatch.setattr(SiteActor, "_judge", crash_first)
        crashed = [await running.send(running.request(pathname="/crash")) for _ in range(crashes)]
        after = await running.send(running.request())

        assert crashed == [[Retry(RetryReason.SITE_UNAVAILABLE)]] * crashes
        assert after == [BUFFERED]


async def test_a_part_that_crashes_too_often_stops_the_taking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the buffer is given up, events are refused and readiness says why; nothing hangs."""

    def crash(*_: object) -> None:
        raise ZeroDivisionError

    async with running_system(tmp_path) as running:
        monkeypatch.setattr(BufferActor, "_append", crash)
        crashed = [await running.send(running.request(visitor=number)) for number in range(6)]
        monkeypatch.undo()
        readiness = running.system.readiness()

        assert all(isinstance(verdict, Retry) for verdicts in crashed for verdict in verdicts)
        assert crashed[-1] == [Retry(RetryReason.NOT_READY)]
        assert not readiness.ready
        assert "buffer" in readiness.checks["actors"]


def _renamed(template: object, domain: str) -> "SiteRecord":
    assert isinstance(template, SiteRecord)
    return replace(template, domain=domain)


async def _add_many(running: RunningSystem, domains: list[str]) -> None:
    async with running.sites.change() as tables:
        template = await tables.find("example.com")
        assert template is not None
        for domain in domains:
            await tables.insert_site(replace(template, domain=domain))
    running.clock.now += 1
    for _ in range(100):
        if running.system.statistics["sites_known"] > len(domains):
            return
        await asyncio.sleep(0.1)


async def _break_loading(running: RunningSystem, bad_id: int) -> None:
    await running.system._observed.site_cache.close()
    load = running.sites.get

    async def get(site_id: int) -> Site | None:
        if site_id == bad_id:
            raise GatehouseError("this site cannot be loaded, as the test wants it")
        return await load(site_id)

    running.sites.get = get  # type: ignore[method-assign] # the failure of a real disk, made exact


async def _stall_loading(running: RunningSystem) -> asyncio.Event:
    await running.system._observed.site_cache.close()
    load = running.sites.get
    gate = asyncio.Event()

    async def get(site_id: int) -> Site | None:
        await gate.wait()
        return await load(site_id)

    running.sites.get = get  # type: ignore[method-assign] # the slowness of a real disk, made exact
    return gate
