"""Sessions: finding, opening, continuing, and the rows that this writes. Source: reference section 8.

A session is a value; every change gives a new one. ``sessions_v2`` keeps the sum of all states: −1 for the
state that was replaced, +1 for the one that replaces it. A session row is written for every event but
engagements, which only keep the session alive.

Rules of our own are those for back-dated events (``covers_past``, ``join_late``): such an event is counted in
the session that covers its time, and changes nothing else of it.
"""

from collections.abc import Iterable
from typing import Final, Generic, Protocol, TypeVar

from msgspec.structs import replace

from service.ingestion.event import PAGEVIEW, Event, describe_visit
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession

SESSION_LIFETIME_S: Final = 31 * 60
"""A session is continued until this much time has passed since its last change: 30:59 is still in time."""


def covers(session: ClickhouseSession, timestamp: int) -> bool:
    """Tell whether an event at ``timestamp`` continues the session; an earlier one does (reference 8.3)."""
    return timestamp - session.timestamp < SESSION_LIFETIME_S


def covers_past(session: ClickhouseSession, timestamp: int) -> bool:
    """Tell whether a back-dated event belongs to the session: neither before its start nor long after it."""
    return session.start <= timestamp and covers(session, timestamp)


def find(
    current: ClickhouseSession | None, previous: ClickhouseSession | None, timestamp: int
) -> ClickhouseSession | None:
    """Give the session that an event continues: the current visitor id's before the previous one's."""
    if current is not None and covers(current, timestamp):
        return current
    if previous is not None and covers(previous, timestamp):
        return previous
    return None


def open_session(event: Event, session_id: int) -> ClickhouseSession:
    """Give the session that begins with this event, which must not be an engagement (reference 8.6)."""
    attrs = event.clickhouse_event_attrs
    is_pageview = attrs.name == PAGEVIEW
    hostname = attrs.hostname if is_pageview else ""
    page = attrs.pathname if is_pageview else ""
    # In the order of the row's fields, here and below: names would take five times as long.
    return ClickhouseSession(
        session_id,
        attrs.site_id,
        event.user_id,
        hostname,
        attrs.timestamp,
        attrs.timestamp,  # its start
        is_pageview or not attrs.interactive,  # whether it is a bounce
        page,
        page,
        hostname,
        int(is_pageview),
        1,
        0,
        attrs.meta_keys,
        attrs.meta_values,
        describe_visit(event),
    )


def continue_session(session: ClickhouseSession, event: Event) -> ClickhouseSession:
    """Give the session after one more event, which must not be an engagement (reference 8.5)."""
    attrs = event.clickhouse_event_attrs
    is_pageview = attrs.name == PAGEVIEW
    pageviews = session.pageviews + is_pageview
    hostname = attrs.hostname if is_pageview else ""
    page = attrs.pathname if is_pageview else ""
    is_bounce = _stays_bounce(session, event, pageviews)
    duration = abs(attrs.timestamp - session.start)
    return ClickhouseSession(
        session.session_id,
        session.site_id,
        session.user_id,
        session.hostname or hostname,
        attrs.timestamp,
        session.start,
        is_bounce,
        session.entry_page or page,
        page if is_pageview else session.exit_page,
        hostname if is_pageview else session.exit_page_hostname,
        pageviews,
        session.events + 1,
        duration,
        session.entry_meta_keys,
        session.entry_meta_values,
        session.attributes,
    )


def touch(session: ClickhouseSession, timestamp: int) -> ClickhouseSession:
    """Give the session kept alive by an engagement at ``timestamp``; this writes no row (reference 8.4)."""
    # In the order of the fields: names would take five times as long, for each engagement.
    return ClickhouseSession(
        session.session_id,
        session.site_id,
        session.user_id,
        session.hostname,
        timestamp,
        session.start,
        session.is_bounce,
        session.entry_page,
        session.exit_page,
        session.exit_page_hostname,
        session.pageviews,
        session.events,
        session.duration,
        session.entry_meta_keys,
        session.entry_meta_values,
        session.attributes,
    )


def join_late(session: ClickhouseSession, event: Event) -> ClickhouseSession:
    """Give the session with a back-dated event counted in, one between the session's start and last change.

    The event adds to the counts and may end the bounce. Times and pages stay as they are, except that the
    first pageview of a session without pages gives it both its pages.
    """
    attrs = event.clickhouse_event_attrs
    is_pageview = attrs.name == PAGEVIEW
    pageviews = session.pageviews + is_pageview
    hostname = attrs.hostname if is_pageview else ""
    page = attrs.pathname if is_pageview else ""
    return replace(
        session,
        hostname=session.hostname or hostname,
        entry_page=session.entry_page or page,
        exit_page=session.exit_page or page,
        exit_page_hostname=session.exit_page_hostname or hostname,
        is_bounce=_stays_bounce(session, event, pageviews),
        pageviews=pageviews,
        events=session.events + 1,
    )


class Written(Protocol):
    """An entry, whether or not its states have been read."""

    @property
    def event(self) -> ClickhouseEvent:
        """Its row, which names the session."""

    @property
    def session(self) -> object | None:
        """None when it wrote no state."""


W = TypeVar("W", bound=Written)


class Visits(Generic[W]):
    """Coalesces the session rows of a block, whose entries may come piece by piece.

    Within a block a −1 row takes back the +1 row before it, so only the first state that was replaced and the
    last one that replaced it are left; every sum over sign × figure stays as it was.
    """

    __slots__ = ("_first", "_last")

    def __init__(self) -> None:
        self._first: dict[int, W] = {}
        self._last: dict[int, W] = {}

    def note(self, entries: Iterable[W]) -> None:
        """Take the next entries, in the order of their making."""
        first, last = self._first, self._last
        for entry in entries:
            if entry.session is not None:
                session_id = entry.event.session_id
                if session_id not in first:
                    first[session_id] = entry
                last[session_id] = entry

    def ends(self) -> Iterable[tuple[W, W]]:
        """Give the first and the last entry that wrote a state, of each session in the order of the first."""
        return zip(self._first.values(), self._last.values(), strict=True)


def _stays_bounce(session: ClickhouseSession, event: Event, pageviews: int) -> bool:
    attrs = event.clickhouse_event_attrs
    return session.is_bounce and pageviews < 2 and not (attrs.interactive and attrs.name != PAGEVIEW)
