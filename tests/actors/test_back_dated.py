from pathlib import Path

from actors.messages import Tick
from service.ingestion.verdict import BUFFERED, Dropped, DropReason
from tests.support.running_system import NOON, running_system

MINUTE = 60
HOUR = 3600
DAY = 86_400


async def test_a_batch_forms_the_sessions_it_would_have_formed_then(tmp_path: Path) -> None:
    """Back-dated events come in any order and are taken in the order of their times."""
    async with running_system(tmp_path) as running:
        then = NOON - 5 * HOUR
        times = [then + 20 * MINUTE, then, then + 2 * HOUR, then + 10 * MINUTE]
        pages = ["/third", "/first", "/fourth", "/second"]
        requests = [running.request(at=at, pathname=page) for at, page in zip(times, pages, strict=True)]
        verdicts = await running.send_batch(requests)
        await running.system.flush()
        sessions = sorted(running.store.live_sessions(), key=lambda session: session.start)

        assert verdicts == [[BUFFERED]] * 4
        assert [(s.entry_page, s.exit_page, s.pageviews, s.duration) for s in sessions] == [
            ("/first", "/third", 3, 20 * MINUTE),
            ("/fourth", "/fourth", 1, 0),
        ]


async def test_an_old_event_never_bends_a_live_session(tmp_path: Path) -> None:
    """An event from before a live session's start forms a session of its own."""
    async with running_system(tmp_path) as running:
        await running.send(running.request(pathname="/now"))
        await running.send(running.request(at=NOON - 10 * MINUTE, pathname="/before"))
        await running.system.flush()
        old, live = sorted(running.store.live_sessions(), key=lambda session: session.start)

        assert (live.start, live.entry_page, live.pageviews, live.duration) == (NOON, "/now", 1, 0)
        assert (old.start, old.entry_page, old.pageviews) == (NOON - 10 * MINUTE, "/before", 1)


async def test_an_event_within_a_live_session_joins_it(tmp_path: Path) -> None:
    """An event between a session's start and its last change is counted there and moves neither end."""
    async with running_system(tmp_path) as running:
        await running.send(running.request(pathname="/start"))
        running.clock.now += 20 * MINUTE
        await running.send(running.request(pathname="/end"))
        await running.send(running.request(at=NOON + 10 * MINUTE, pathname="/middle"))
        await running.system.flush()
        (session,) = running.store.live_sessions()

        assert (session.entry_page, session.exit_page) == ("/start", "/end")
        assert (session.pageviews, session.events, session.duration) == (3, 3, 20 * MINUTE)


async def test_a_slightly_late_event_opens_a_session_that_goes_on(tmp_path: Path) -> None:
    """An event of a minute ago opens a live session when the visitor has none; the next one continues it."""
    async with running_system(tmp_path) as running:
        await running.send(running.request(at=NOON - MINUTE, pathname="/late"))
        await running.send(running.request(pathname="/now"))
        await running.system.flush()
        (session,) = running.store.live_sessions()

        assert (session.entry_page, session.exit_page, session.duration) == ("/late", "/now", MINUTE)


async def test_yesterdays_event_is_hashed_with_yesterdays_salt(tmp_path: Path) -> None:
    """The day before has another visitor id; a day whose salt is gone shares today's."""
    async with running_system(tmp_path) as running:
        today = running.request(at=NOON - HOUR)
        running.clock.now -= DAY
        await running.system._tree["salts"].ask(Tick(running.clock.now), timeout_s=5)
        running.clock.now += DAY
        await running.system._tree["salts"].ask(Tick(running.clock.now), timeout_s=5)
        yesterday = running.request(at=NOON - DAY)
        before = running.request(at=NOON - 2 * DAY - HOUR)
        await running.send_batch([today, yesterday, before])
        await running.system.flush()
        visitor = {event.timestamp: event.user_id for event in running.store.events}

        assert visitor[NOON - HOUR] != visitor[NOON - DAY]
        assert visitor[NOON - HOUR] == visitor[NOON - 2 * DAY - HOUR]


async def test_a_back_dated_engagement_needs_a_session_of_its_time(tmp_path: Path) -> None:
    """It is dropped alone, and stored where a session covers it."""
    async with running_system(tmp_path) as running:
        then = NOON - 5 * HOUR
        alone = await running.send(running.request(at=then, name="engagement"))
        await running.send(running.request(at=then))
        covered = await running.send(running.request(at=then + MINUTE, name="engagement"))

        assert alone == [Dropped(DropReason.NO_SESSION_FOR_ENGAGEMENT)]
        assert covered == [BUFFERED]
