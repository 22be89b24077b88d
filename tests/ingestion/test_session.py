"""Sessions keep reference section 8, its table of worked sequences included."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import pytest

from service.clickhouse.store import BlockTrigger
from service.ingestion.event import Context, Event, describe_visit, to_row
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession, Entry
from service.ingestion.session import (
    SESSION_LIFETIME_S,
    continue_session,
    covers,
    covers_past,
    find,
    join_late,
    open_session,
    touch,
)
from service.insertion import build_block
from tests.support.events import NOON, build_event

MINUTE_S: Final = 60
KINDS: Final[dict[str, dict[str, Any]]] = {
    "P": {"event_name": "pageview"},
    "C": {"event_name": "Signup"},
    "N": {"event_name": "Scroll", "interactive": False},
}


def event_of(context: Context, kind: str, *, at: int = 0, pathname: str = "/", **changes: Any) -> Event:
    """Give an event of a kind of table 8.8, ``at`` seconds after noon."""
    return build_event(context, timestamp=NOON + at, pathname=pathname, **(KINDS[kind] | changes))


def row_of(context: Context) -> ClickhouseEvent:
    """Give any event's row."""
    event = event_of(context, "P")
    return to_row(event, open_session(event, 1))


def play(context: Context, sequence: str) -> tuple[ClickhouseSession, list[str]]:
    """Play events one second apart, each on its own page; give the last state and each event's rows."""
    session: ClickhouseSession | None = None
    rows = []
    for number, kind in enumerate(sequence.split()):
        event = event_of(context, kind, at=number, pathname=f"/{number}")
        if session is None:
            session = open_session(event, 1)
            rows.append("+1")
        else:
            session = continue_session(session, event)
            rows.append("-1 +1")
    assert session is not None
    return session, rows


@pytest.mark.parametrize(
    ("sequence", "pageviews", "events", "is_bounce", "rows"),
    [
        ("P", 1, 1, True, ["+1"]),
        ("P P", 2, 2, False, ["+1", "-1 +1"]),
        ("P C", 1, 2, False, ["+1", "-1 +1"]),
        ("P N", 1, 2, True, ["+1", "-1 +1"]),
        ("C", 0, 1, False, ["+1"]),
        ("N", 0, 1, True, ["+1"]),
        ("N P", 1, 2, True, ["+1", "-1 +1"]),
        ("N C", 0, 2, False, ["+1", "-1 +1"]),
        ("C P", 1, 2, False, ["+1", "-1 +1"]),
    ],
)
def test_worked_sequences(
    context: Context, sequence: str, pageviews: int, events: int, is_bounce: bool, rows: list[str]
) -> None:
    """A sequence of events gives the figures of table 8.8."""
    session, written = play(context, sequence)
    assert (session.pageviews, session.events, session.is_bounce) == (pageviews, events, is_bounce)
    assert written == rows


@pytest.mark.parametrize("first", ["N", "C"])
def test_first_pageview_gives_the_session_its_pages(context: Context, first: str) -> None:
    """A session that began with a custom event has no pages until its first pageview."""
    opened = open_session(event_of(context, first, pathname="/a"), 1)
    assert (opened.entry_page, opened.exit_page, opened.hostname, opened.exit_page_hostname) == (
        "",
        "",
        "",
        "",
    )
    session = continue_session(opened, event_of(context, "P", pathname="/b", hostname="b.example.com"))
    assert (session.entry_page, session.exit_page) == ("/b", "/b")
    assert (session.hostname, session.exit_page_hostname) == ("b.example.com", "b.example.com")


def test_entry_page_stays_and_exit_page_follows_pageviews(context: Context) -> None:
    """The exit page is the last pageview's, whatever custom events come after it."""
    session, _ = play(context, "P P C")
    assert (session.entry_page, session.exit_page) == ("/0", "/1")


def test_engagement_moves_nothing_but_the_time(context: Context) -> None:
    """An engagement keeps the session alive; counts, duration and pages stay."""
    session = open_session(event_of(context, "P"), 1)
    touched = touch(session, NOON + 20 * MINUTE_S)
    assert touched.timestamp == NOON + 20 * MINUTE_S
    assert touch(touched, session.timestamp) == session


def test_engagements_keep_a_session_alive_for_hours(context: Context) -> None:
    """A pageview 80 minutes later is of the same session when engagements came in between."""
    session = open_session(event_of(context, "P"), 1)
    for minutes in (20, 40, 60):
        found = find(session, None, NOON + minutes * MINUTE_S)
        assert found is session
        session = touch(session, NOON + minutes * MINUTE_S)
    assert find(session, None, NOON + 80 * MINUTE_S) is session
    session = continue_session(session, event_of(context, "P", at=80 * MINUTE_S))
    assert (session.pageviews, session.events, session.is_bounce, session.duration) == (2, 2, False, 4800)


def test_a_session_takes_all_from_its_first_event(context: Context) -> None:
    """Source, device, props and visitor are those of the first event, also after later ones."""
    first = event_of(context, "C", query={"utm_source": "first"}, props=(("plan", "pro"),))
    later = event_of(
        context, "P", at=5, query={"utm_source": "later"}, props=(("plan", "free"),), user_agent=None
    )
    session = continue_session(open_session(first, 7), later)
    assert session.attributes == describe_visit(first) != describe_visit(later)
    assert (session.entry_meta_keys, session.entry_meta_values) == (("plan",), ("pro",))
    assert (session.session_id, session.user_id, session.start) == (7, first.user_id, NOON)


def test_duration_is_never_negative(context: Context) -> None:
    """An event before the session's start counts as if it were as much after it, and sets the time back."""
    session = continue_session(open_session(event_of(context, "P"), 1), event_of(context, "P", at=-10))
    assert (session.duration, session.timestamp) == (10, NOON - 10)


@pytest.mark.parametrize(
    ("gap_s", "covered"),
    [(0, True), (30 * MINUTE_S, True), (30 * MINUTE_S + 59, True), (31 * MINUTE_S, False), (-86_400, True)],
)
def test_lifetime(context: Context, gap_s: int, covered: bool) -> None:
    """A session is continued up to 30:59 minutes after its last change; an earlier event always joins."""
    assert covers(open_session(event_of(context, "P"), 1), NOON + gap_s) is covered


def test_previous_visitor_id_is_tried_second(context: Context) -> None:
    """After a change of the salt the old session goes on, unless the new id has one that is alive."""
    old = open_session(event_of(context, "P"), 1)
    new = open_session(event_of(context, "P", at=10), 2)
    assert find(new, old, NOON + 20) is new
    assert find(None, old, NOON + 20) is old
    assert find(None, None, NOON) is None


def test_previous_is_tried_when_current_is_too_old(context: Context) -> None:
    """A session of the current id that is too old does not hide a live one of the previous id."""
    old = open_session(event_of(context, "P", at=SESSION_LIFETIME_S), 1)
    dead = open_session(event_of(context, "P"), 2)
    assert find(dead, old, NOON + SESSION_LIFETIME_S) is old
    assert find(dead, dead, NOON + SESSION_LIFETIME_S) is None


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        (-1, False),
        (0, True),
        (60, True),
        (60 + SESSION_LIFETIME_S - 1, True),
        (60 + SESSION_LIFETIME_S, False),
    ],
)
def test_back_dated_events_belong_between_start_and_end(context: Context, at: int, covered: bool) -> None:
    """A back-dated event belongs to a session from its start to 30:59 after its last change."""
    session = continue_session(open_session(event_of(context, "P"), 1), event_of(context, "P", at=60))
    assert covers_past(session, NOON + at) is covered


def test_a_late_event_bends_nothing(context: Context) -> None:
    """A back-dated event adds to the counts; times, duration and pages of the session stay."""
    session = continue_session(
        open_session(event_of(context, "P", pathname="/a"), 1), event_of(context, "N", at=60, pathname="/b")
    )
    joined = join_late(session, event_of(context, "P", at=30, pathname="/c"))
    assert (joined.timestamp, joined.start, joined.duration) == (NOON + 60, NOON, 60)
    assert (joined.entry_page, joined.exit_page, joined.hostname) == ("/a", "/a", "example.com")
    assert (joined.pageviews, joined.events, joined.is_bounce) == (2, 3, False)


def test_a_late_custom_event_ends_a_bounce(context: Context) -> None:
    """A back-dated interactive event ends the bounce as it would in time."""
    session = continue_session(open_session(event_of(context, "P"), 1), event_of(context, "N", at=60))
    assert session.is_bounce
    assert not join_late(session, event_of(context, "C", at=30)).is_bounce
    assert join_late(session, event_of(context, "N", at=30)).is_bounce


def test_a_late_pageview_fills_empty_pages(context: Context) -> None:
    """A session without a pageview takes both its pages from a late one."""
    session = continue_session(open_session(event_of(context, "C"), 1), event_of(context, "C", at=60))
    joined = join_late(session, event_of(context, "P", at=30, pathname="/late"))
    assert (joined.entry_page, joined.exit_page) == ("/late", "/late")
    assert (joined.hostname, joined.exit_page_hostname) == ("example.com", "example.com")


def session_rows(entries: Sequence[Entry]) -> Sequence[tuple[int, ClickhouseSession]]:
    """Give the session rows of a block of these entries."""
    return build_block("0" * 32, BlockTrigger.AGE, entries).sessions


def test_coalescing_leaves_the_first_and_the_last_state(context: Context) -> None:
    """Of all states of a session in one block, the first replaced and the last replacing one are written."""
    states = [open_session(event_of(context, "P"), 1)]
    for at in (1, 2, 3):
        states.append(continue_session(states[-1], event_of(context, "P", at=at)))
    row = row_of(context)
    entries = [Entry(row, before, after) for before, after in pairwise(states)]
    assert session_rows(entries) == [(-1, states[0]), (1, states[-1])]
    assert session_rows([Entry(row, None, states[0]), *entries]) == [(1, states[-1])]


def test_engagements_have_no_session_rows(context: Context) -> None:
    """An entry without a session writes no session row."""
    assert session_rows([Entry(row_of(context), None, None)]) == []
