"""The sessions of one site in memory: live ones, those of back-dated events, and how to take changes back.

Owned by one SiteActor; the rules themselves are ``service.ingestion.session``. Sessions are kept in the order
of their last change, so that ending the old ones costs the others nothing. Reference: section 8. For back-
dated events the rules are ours: they join the session that covers their time, else form sessions among
themselves, and never bend a live one.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from actors.messages import FoundSessions
from service.ingestion.event import Event, to_row
from service.ingestion.request import ENGAGEMENT
from service.ingestion.rows import ClickhouseSession, Entry
from service.ingestion.session import (
    continue_session,
    covers,
    covers_past,
    find,
    join_late,
    open_session,
    touch,
)

KEPT_S: Final = 30 * 60
"""A session is forgotten when nothing changed it for so long.

Looked for every 10 seconds, so up to 30:10 (reference 8.1).
"""
EVICTED_SHARE: Final = 64
"""When the budget is spent, one in so many of the site's sessions ends.

One by one would search the dictionary each time.
"""
MAX_PAST_PER_VISITOR: Final = 200
"""Back-dated sessions remembered for one visitor; 72 hours hold 144 that are half an hour apart."""


class SessionBudget:
    """How many sessions all sites together may keep; one for the whole system, counted by each book."""

    __slots__ = ("evicted", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.evicted = 0
        """Sessions that ended early because the budget was spent."""


class Past:
    """One visitor's back-dated sessions, and when they last changed (UTC epoch seconds)."""

    __slots__ = ("changed_at", "sessions")

    def __init__(self, changed_at: float, sessions: tuple[ClickhouseSession, ...]) -> None:
        self.changed_at = changed_at
        self.sessions = sessions


Sessions = tuple[ClickhouseSession, ...]
R = TypeVar("R", ClickhouseSession, Past)

Undo = list[tuple[dict[int, Any], int, Any]]
"""What to put back, oldest change first.

In which table, for which visitor, what was there (None = nothing).
"""


class SessionBook:
    """Finds or opens the session of each event, and says which rows that writes."""

    __slots__ = ("_budget", "_live", "_new_session_id", "_past", "_undo")

    def __init__(self, budget: SessionBudget, new_session_id: Callable[[], int]) -> None:
        self._budget = budget
        self._new_session_id = new_session_id
        self._live: dict[int, ClickhouseSession] = {}
        self._past: dict[int, Past] = {}
        self._undo: Undo | None = None
        """None while nothing has changed: a list for each of thousands of sites is much to look at."""

    def __len__(self) -> int:
        return len(self._live) + len(self._past)

    def register(self, event: Event, now: float) -> Entry | None:
        """Give the rows of this event, its session opened or continued.

        None for an engagement without a session. ``now`` is UTC epoch seconds.
        """
        request = event.request
        if request.back_dated and not self._is_live(event, now):
            return self._register_back_dated(event, now)
        timestamp = request.timestamp
        before = self._live.get(event.user_id)
        if before is None or not covers(before, timestamp):
            former = event.previous_user_id
            before = None if former is None else find(None, self._live.get(former), timestamp)
        if request.event_name == ENGAGEMENT:
            if before is None:
                return None
            after = touch(before, timestamp)
            self._remember(self._live, after.user_id, after)
            return Entry(to_row(event, after), None, None)
        if before is None:
            new_session_id = self._new_session_id
            after = open_session(event, new_session_id())
        else:
            after = continue_session(before, event)
        self._remember(self._live, after.user_id, after)
        return Entry(to_row(event, after), before, after)

    def take_undo(self) -> Undo:
        """Give what takes back all changes since the last call."""
        undo, self._undo = self._undo, None
        return undo or []

    def roll_back(self, undo: Undo) -> None:
        """Take changes back; with several undos the newest goes first."""
        for table, visitor, before in reversed(undo):
            self._set(table, visitor, before)

    def end_old(self, now: float) -> None:
        """Forget the sessions that saw no change for 30 minutes."""
        horizon = now - KEPT_S
        ended = []
        for visitor, session in self._live.items():
            if session.timestamp > horizon:
                break
            ended.append(visitor)
        for visitor in ended:
            self._set(self._live, visitor, None)
        ended = []
        for visitor, past in self._past.items():
            if past.changed_at > horizon:
                break
            ended.append(visitor)
        for visitor in ended:
            self._set(self._past, visitor, None)

    def sessions_of(self, visitors: Iterable[int]) -> FoundSessions:
        """Give the sessions of these visitors as they are; ``holding`` makes a book of them again."""
        live, past = [], []
        for visitor in visitors:
            if (session := self._live.get(visitor)) is not None:
                live.append(session)
            if (before := self._past.get(visitor)) is not None:
                past.append((before.changed_at, before.sessions))
        return FoundSessions(tuple(live), tuple(past))

    @classmethod
    def holding(cls, found: FoundSessions, new_session_id: Callable[[], int]) -> "SessionBook":
        """Make a book of its own, with room for one more session, in which events may be tried out."""
        book = cls(SessionBudget(len(found.live) + len(found.past) + 1), new_session_id)
        book._take_up(found.live, found.past)
        return book

    def remember(self) -> tuple[Sessions, tuple[tuple[float, Sessions], ...]]:
        """Give the live sessions, and the back-dated ones with the time of their last change."""
        past = tuple((past.changed_at, past.sessions) for past in self._past.values())
        return tuple(self._live.values()), past

    def recall(self, live: Sessions, past: Iterable[tuple[float, Sessions]], *, now: float) -> None:
        """Take up what an earlier life remembered, except what ended meanwhile."""
        self._take_up(live, past)
        self.end_old(now)

    def clear(self) -> None:
        """Forget everything and give the budget back."""
        self._budget.used -= len(self)
        self._live.clear()
        self._past.clear()
        self._undo = None

    def _take_up(self, live: Sessions, past: Iterable[tuple[float, Sessions]]) -> None:
        for session in live:
            self._set(self._live, session.user_id, session)
        for changed_at, sessions in past:
            if sessions:
                self._set(self._past, sessions[-1].user_id, Past(changed_at, sessions))

    def _find_known(self, event: Event) -> ClickhouseSession | None:
        return self._live.get(event.user_id) or self._live.get(event.previous_user_id or 0)

    def _is_live(self, event: Event, now: float) -> bool:
        """Tell whether a back-dated event is no other than one of now."""
        timestamp, known = event.request.timestamp, self._find_known(event)
        if known is None:
            return now - timestamp <= KEPT_S
        return known.start <= timestamp and timestamp >= known.timestamp

    def _register_back_dated(self, event: Event, now: float) -> Entry | None:
        known = self._find_known(event)
        if known is not None and known.start <= event.request.timestamp:
            return self._register_late(event, known)
        return self._register_past(event, now)

    def _register_late(self, event: Event, session: ClickhouseSession) -> Entry:
        if event.request.event_name == ENGAGEMENT:
            return Entry(to_row(event, session), None, None)
        after = join_late(session, event)
        self._remember(self._live, after.user_id, after)
        return Entry(to_row(event, after), session, after)

    def _register_past(self, event: Event, now: float) -> Entry | None:
        timestamp = event.request.timestamp
        past = self._past.get(event.user_id)
        sessions = past.sessions if past is not None else ()
        before = next((session for session in sessions if covers_past(session, timestamp)), None)
        if event.request.event_name == ENGAGEMENT:
            if before is None:
                return None
            after = before if timestamp < before.timestamp else touch(before, timestamp)
            entry = Entry(to_row(event, after), None, None)
        else:
            after = self._next_past(event, before, timestamp)
            entry = Entry(to_row(event, after), before, after)
        others = tuple(session for session in sessions if session is not before)[
            -(MAX_PAST_PER_VISITOR - 1) :
        ]
        self._remember(self._past, event.user_id, Past(now, (*others, after)))
        return entry

    def _next_past(self, event: Event, before: ClickhouseSession | None, timestamp: int) -> ClickhouseSession:
        if before is None:
            return open_session(event, self._new_session_id())
        return join_late(before, event) if timestamp < before.timestamp else continue_session(before, event)

    def _remember(self, table: dict[int, R], visitor: int, after: R) -> None:
        # Taken out first, so that a changed session moves to the end: the table stays in the order of last
        # change.
        before = table.pop(visitor, None)
        if before is None:
            if self._budget.used >= self._budget.limit:
                self._evict(table)
            self._budget.used += 1
        if self._undo is None:
            self._undo = []
        self._undo.append((table, visitor, before))
        table[visitor] = after

    def _set(self, table: dict[int, R], visitor: int, after: R | None) -> None:
        if table.pop(visitor, None) is not None:  # as above
            self._budget.used -= 1
        if after is not None:
            table[visitor] = after
            self._budget.used += 1

    def _evict(self, table: dict[int, R]) -> None:
        count = -(-len(table) // EVICTED_SHARE)
        oldest = [visitor for visitor, _ in zip(table, range(count), strict=False)]
        for visitor in oldest:
            self._set(table, visitor, None)
        self._budget.evicted += len(oldest)
