"""Explains what would become of an event: a dry run through the pipeline that stores and changes nothing.

An awake site's actor is asked how its site stands and for the visitor's sessions; a sleeping one is left
asleep, and its site read from the store. Gate and sessions then work on copies of the explainer's own. An
explanation runs outside of the site's actor: whatever goes wrong in it is nobody else's trouble.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

from actors.directory import Directory
from actors.messages import FindSessions, FoundSessions, Look, SiteView
from actors.runtime import ActorStopped, Ref
from actors.salts import SaltBook
from actors.session_book import SessionBook, SessionBudget
from service.clickhouse.shown_rows import show_event, show_session
from service.clock import Clock
from service.ingestion.event import Context, Event, Tables
from service.ingestion.explanation import (
    Explanation,
    RowReports,
    SessionReport,
    StepReport,
    explain_gate,
    explain_spam,
    explain_steps,
)
from service.ingestion.gate import RateLimit
from service.ingestion.request import Request
from service.ingestion.rows import ClickhouseSession, Entry
from service.ingestion.shields import compile_shields
from service.ingestion.site import Site
from service.ingestion.step_words import moment_of, show
from service.ingestion.verdict import DropReason, RetryReason
from service.wire.record import RecordError
from service.wire.snapshot import decode_memory

ASK_TIMEOUT_S: Final = 5.0
NOT_DRAWN: Final = 0
"""Stands for the number of a session that would be opened."""


class Explainer:
    """Explains requests, by what the running system knows or, without one, what lies in the data folder."""

    def __init__(
        self,
        *,
        directory: Directory,
        load_site: Callable[[int], Awaitable[Site | None]],
        salts: SaltBook,
        tables: Tables,
        memories: Mapping[int, bytes],
        clock: Clock,
        find_awake: Callable[[int], Ref[Any] | None],
        is_down: Callable[[int], bool],
    ) -> None:
        self._directory = directory
        self._load_site = load_site
        self._salts = salts
        self._tables = tables
        self._memories = memories
        """What sleeping sites remember of an earlier life of the service."""
        self._clock = clock
        self._find_awake = find_awake
        self._is_down = is_down
        """Whether a site crashed too often and is not tried for a while."""

    async def explain(self, request: Request) -> list[Explanation]:
        """Explain what would become of the request for each of its domains, as if each were the only one.

        Raises ActorError when a site does not answer in time, and what the store of sites raises.
        """
        return [await self._explain(domain, request) for domain in request.domains]

    async def _explain(self, domain: str, request: Request) -> Explanation:
        steps = [explain_spam(request, self._tables.spam.value)]
        if steps[-1].reason is not None:
            return _ended(domain, None, steps)
        site_id = self._directory.find(domain)
        if site_id is None or self._is_down(site_id):
            return _ended(domain, site_id, [*steps, _refuse(domain, site_id)])
        view, sessions = await self._look(site_id)
        awake = isinstance(sessions, Ref)
        sentence = f"It is site {site_id}, {'awake' if awake else 'asleep'}."
        steps.append(StepReport("find_site", sentence, {"awake": awake}))
        event = Event(domain=domain, request=request)
        now = self._clock()
        steps += self._judge(event, view, now)
        if steps[-1].reason is not None:
            return _ended(domain, site_id, steps)
        return _conclude(event, await _sessions_of(sessions, event), now, steps)

    def _judge(self, event: Event, view: SiteView, now: float) -> Iterator[StepReport]:
        """Take the event through the gate and the steps, as the site's actor does."""
        gate = explain_gate(view.site, int(now * 1000), view.rate_limit)
        yield gate
        if gate.reason is not None:
            return
        assert view.site is not None, "the gate takes no event without a site"
        salts = self._salts.at(event.request.timestamp, now=now)
        if salts is None:
            sentence = "There is no salt for today yet; events are answered 503 until there is."
            yield StepReport("put_salts", sentence, reason=RetryReason.NOT_READY)
            return
        context = Context(
            site=view.site,
            shields=compile_shields(view.site.shields),
            tables=self._tables,
            current_salt=salts[0],
            previous_salt=salts[1],
        )
        yield from explain_steps(event, context)

    async def _look(self, site_id: int) -> tuple[SiteView, "Ref[Any] | SessionBook"]:
        """Give how the site stands, and who knows its sessions."""
        ref = self._find_awake(site_id)
        if ref is not None:
            view: SiteView = await ref.ask(Look(), timeout_s=ASK_TIMEOUT_S)
            return view, ref
        site = await self._load_site(site_id)
        rate_limit, book = _recall(self._memories.get(site_id), self._clock())
        return SiteView(site, rate_limit), book


def _recall(memory: bytes | None, now: float) -> tuple[RateLimit, SessionBook]:
    """Give what the site's actor would recall if it woke now."""
    empty = SessionBook.holding(FoundSessions(), lambda: NOT_DRAWN)
    if memory is None:
        return RateLimit(), empty
    try:
        remembered = decode_memory(memory)
    except RecordError:
        return RateLimit(), empty  # as the actor does, which logs it when its time has come
    book = SessionBook(SessionBudget(len(remembered.live) + len(remembered.past)), lambda: NOT_DRAWN)
    book.recall(remembered.live, remembered.past, now=now)
    return remembered.rate_limit, book


async def _sessions_of(where: "Ref[Any] | SessionBook", event: Event) -> FoundSessions:
    visitors = [event.user_id]
    if event.previous_user_id is not None:
        visitors.append(event.previous_user_id)
    if isinstance(where, SessionBook):
        return where.sessions_of(visitors)
    try:
        found: FoundSessions = await where.ask(FindSessions(visitors), timeout_s=ASK_TIMEOUT_S)
    except ActorStopped:  # it fell asleep since we looked, which it does without sessions only
        return FoundSessions()
    return found


def _refuse(domain: str, site_id: int | None) -> StepReport:
    if site_id is not None:
        sentence = f"Site {site_id} crashed too often; for half a minute its events are answered 503."
        return StepReport("find_site", sentence, reason=RetryReason.SITE_UNAVAILABLE)
    name = show(domain)
    sentence = f"No site is registered as {name}; `gatehouse sites add {name}` would take its events."
    return StepReport("find_site", sentence, reason=DropReason.NOT_FOUND)


def _ended(domain: str, site_id: int | None, steps: list[StepReport]) -> Explanation:
    reason = steps[-1].reason
    verdict = "retry" if isinstance(reason, RetryReason) else "dropped"
    return Explanation(show(domain), site_id, verdict, reason, steps)


def _conclude(event: Event, found: FoundSessions, now: float, steps: list[StepReport]) -> Explanation:
    """Find the session in a book of the visitor's alone, and the rows."""
    site_id = event.clickhouse_event_attrs.site_id
    entry = SessionBook.holding(found, lambda: NOT_DRAWN).register(event, now=now)
    if entry is None:
        sentence = "The visitor has no session here, and an engagement opens none."
        reason = DropReason.NO_SESSION_FOR_ENGAGEMENT
        return _ended(
            event.domain, site_id, [*steps, StepReport("register_session", sentence, reason=reason)]
        )
    session = _report_session(entry, found)
    steps.append(_describe_session(session))
    return Explanation(show(event.domain), site_id, "buffered", None, steps, session, _report_rows(entry))


def _report_session(entry: Entry, found: FoundSessions) -> SessionReport:
    if entry.session is None:
        number = entry.event.session_id
        known = (*found.live, *(session for _, sessions in found.past for session in sessions))
        return _session("keeps alive", next(session for session in known if session.session_id == number))
    if entry.replaced is not None:
        return _session("joins", entry.replaced)
    new = entry.session
    return SessionReport("opens", None, new.start, new.timestamp, pageviews=0, events=0)


def _session(does: str, before: ClickhouseSession) -> SessionReport:
    return SessionReport(
        does,
        str(before.session_id),
        start=before.start,
        last_event=before.timestamp,
        pageviews=before.pageviews,
        events=before.events,
    )


def _describe_session(session: SessionReport) -> StepReport:
    if session.session_id is None:
        return StepReport("register_session", "It opens a new session.")
    began, changed = moment_of(session.start), moment_of(session.last_event)
    sentence = (
        f"It {session.does} the session of {began} UTC, last changed at {changed},"
        f" with {session.pageviews:,} pageview(s) and {session.events:,} event(s) so far."
    )
    return StepReport("register_session", sentence, {"session_id": session.session_id})


def _report_rows(entry: Entry) -> RowReports:
    event = show_event(entry.event)
    sessions = []
    if entry.replaced is not None:
        sessions.append(show_session(-1, entry.replaced))
    if entry.session is not None:
        sessions.append(show_session(1, entry.session))
        if entry.replaced is None:
            event["session_id"] = sessions[0]["session_id"] = None
    return RowReports([event], sessions)
