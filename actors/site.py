"""The SiteActor: the single writer of all that belongs to one site.

It owns the cached Site, the rate limit and the sessions, and judges one event after the other without
awaiting in between, so there are no locks and no races. Its rows go to the buffer, which answers the sender
once they are durable; until then the change of the sessions can be taken back. Reference: sections 4.2, 5 and
8.
"""

import itertools
import logging
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from typing import ClassVar, Final

from msgspec import Struct
from msgspec.structs import replace

from actors.messages import (
    Append,
    FindSessions,
    FoundSessions,
    Look,
    Offer,
    Remember,
    SiteChanged,
    SiteView,
    Tick,
)
from actors.runtime import Actor, Envelope, Ref
from actors.salts import DAY_S, SaltBook
from actors.session_book import SessionBook, SessionBudget, Undo
from service.clock import Clock, stopwatch
from service.ingestion.event import Context, Event, Tables, run_steps, run_steps_timed
from service.ingestion.gate import RateLimit, check_gate
from service.ingestion.idempotency import digest_key
from service.ingestion.rows import Entry
from service.ingestion.shields import CompiledShields, compile_shields
from service.ingestion.site import Site
from service.ingestion.verdict import BUFFERED, REPEATED, Dropped, DropReason, Retry, RetryReason, Verdict
from service.sites.cache import SiteCache
from service.telemetry import Telemetry
from service.tracing.records import Recorder, SiteTrace
from service.wire.record import RecordError
from service.wire.snapshot import Memory, decode_memory, encode_memory

log = logging.getLogger(__name__)

NOT_READY = Retry(RetryReason.NOT_READY)
OVERLOADED = Retry(RetryReason.OVERLOADED)
JOURNAL_UNAVAILABLE = Retry(RetryReason.JOURNAL_UNAVAILABLE)
NO_DAY: Final = -1
DROPPED = {reason: Dropped(reason) for reason in DropReason}


class SiteSurroundings(Struct, frozen=True):
    """What every SiteActor is given; one for all of them."""

    sites: SiteCache
    salts: SaltBook
    tables: Tables
    telemetry: Telemetry
    budget: SessionBudget
    clock: Clock
    buffer: Ref[Append]
    tracing: Recorder | None
    keys: Container[bytes]
    """The digests of the keys under which events were stored."""
    epochs: "itertools.count[int]"
    """Numbers that only grow, so that a new life of a site is never taken for its old one."""
    new_session_id: Callable[[], int]
    memories: dict[int, bytes]
    """What sites remember of an earlier life of the service; each is taken out by its actor's start."""
    passivate: Callable[[int], None]
    """What an idle SiteActor calls: its parent decides, and lets it go."""
    idle_s: float
    """Seconds without an event after which a site without sessions is let go."""


Repeats = dict[bytes, list[Envelope]]
"""By the digest of a key whose event is on its way to the journal: who sent it again meanwhile."""


class Appending(Envelope):
    """Rows on their way to the buffer, whose answer or crash is the verdict of those who wait for them."""

    senders: Sequence[Envelope]
    undo: Undo
    """What takes the changes of the sessions back."""
    repeats: Repeats | None
    line: "deque[Appending]"
    written: bool | None = None
    """Whether the rows are durable; None until the buffer has answered."""

    @property
    def is_ask(self) -> bool:
        """Whether somebody waits: the senders do."""
        return True

    def reply(self, value: object) -> None:
        """Note the answer and give the senders their verdict; a later answer is ignored."""
        if self.written is None:
            if value is True:
                self._accept()
            else:
                self.refuse(JOURNAL_UNAVAILABLE)

    def fail(self, error: Exception) -> None:
        """Take an error of the actor system for a refusal."""
        self.reply(value=False)

    def refuse(self, verdict: Verdict) -> None:
        """Tell the senders that nothing of their events is kept."""
        self.written = False
        self._answer(verdict, verdict)

    def _accept(self) -> None:
        self.written = True
        self._answer(BUFFERED, REPEATED)
        # At once here too: kept until their site's next message, the rows of many sites are much to hold, and
        # to be looked at by the garbage collection.
        if self.line and self.line[0] is self:
            self.line.popleft()

    def _answer(self, verdict: Verdict, repeated: Verdict) -> None:
        for sender in self.senders:
            sender.reply(verdict)
        if self.repeats is not None and self.message.keys:
            for key in self.message.keys.values():
                for sender in self.repeats.pop(key):
                    sender.reply(repeated)
        # At once, not with the site's next message: they hold requests, and so addresses.
        self.senders = ()


class SiteActor(Actor):
    """Judges the events of one site."""

    kind: ClassVar[str] = "site"
    mailbox_bound: ClassVar[int] = 1000

    __slots__ = (
        "_around",
        "_context",
        "_context_book",
        "_context_day",
        "_epoch",
        "_id",
        "_last_used",
        "_rate_limit",
        "_repeats",
        "_sessions",
        "_shields",
        "_site",
        "_unsettled",
    )

    def __init__(self, site_id: int, around: SiteSurroundings) -> None:
        self._id = site_id
        self._around = around
        self._site: Site | None = None
        self._shields: CompiledShields | None = None
        self._context: Context | None = None
        """What its last event was judged with; None before the first one, and after a change of the site."""
        self._context_day = NO_DAY
        """The day whose events it is for, in days since 1970 ..."""
        self._context_book: Mapping[int, bytes] | None = None
        """... as long as the salts are these."""
        self._rate_limit = RateLimit()
        self._sessions: SessionBook | None = None
        """None until the first event: most awake sites of a large installation have none."""
        self._epoch = next(around.epochs)
        self._unsettled: deque[Appending] | None = None
        """Appends that may still be refused, oldest first."""
        self._repeats: Repeats | None = None
        """None until the first event with a key."""
        self._last_used = around.clock()

    async def on_start(self) -> None:
        """Load the site; the events that came first wait in the mailbox."""
        self._set_site(await self._around.sites.get(self._id))
        memory = self._around.memories.pop(self._id, None)
        if memory is not None:
            self._recall(memory)

    def receive_batch(self, envelopes: list[Envelope]) -> None:
        """Judge the batch, and hand its rows to the buffer in one message."""
        self._settle()
        around = self._around
        now = around.clock()
        now_ms = int(now * 1000)
        timer = stopwatch if around.telemetry.steps_due(len(envelopes)) else None
        entries: list[Entry] = []
        senders: list[Envelope] = []
        traces: list[SiteTrace] = []
        keys: dict[int, bytes] = {}
        tracing, taken = around.tracing, 0
        if tracing is not None:
            tracing.taken = taken = tracing.now()
        for envelope in envelopes:
            message = envelope.message
            if type(message) is not Offer:
                self._take_other(envelope, alone=len(envelopes) == 1)
                continue
            event, trace = message.event, message.trace
            self._last_used = now
            if trace is not None:
                trace.taken = taken
            key = None
            if event.request.key is not None:
                key = digest_key(self._id, event.request.key)
                if self._is_repeat(key, envelope):
                    continue
            verdict = self._judge(event, now, now_ms, timer)
            timer = None
            if type(verdict) is not Entry:
                envelope.reply(verdict)
                continue
            if key is not None:
                keys[len(entries)] = key
                self._await_repeats(key)
            # From here on the journal decides, and the sender waits for its word.
            envelope.claim()
            entries.append(verdict)
            senders.append(envelope)
            if trace is not None:
                traces.append(trace)
        if tracing is not None:
            tracing.taken = 0
        if entries:
            self._append(Append(self._id, self._epoch, entries, traces, keys or None, taken), senders)

    def _take_other(self, envelope: Envelope, *, alone: bool) -> None:
        """Take a message that is no event; ``alone`` says that nothing came with it."""
        match envelope.message:
            case SiteChanged(site=site):
                self._set_site(site)
            case Remember():
                envelope.reply(self._remember())
            case Look():
                envelope.reply(SiteView(self._site, replace(self._rate_limit)))
            case FindSessions(visitors=visitors):
                sessions = self._sessions
                envelope.reply(FoundSessions() if sessions is None else sessions.sessions_of(visitors))
            case Tick(now=tick):
                self._tick(tick, alone=alone)

    async def on_stop(self, reason: object) -> None:
        """Give the session budget back."""
        if self._sessions is not None:
            self._sessions.clear()

    def _remember(self) -> bytes | None:
        # What was not answered yet may still be taken back: better no memory than one of rows never written.
        if self._unsettled or not (self._sessions or self._rate_limit.count):
            return None
        live, past = self._sessions.remember() if self._sessions is not None else ((), ())
        return encode_memory(Memory(self._rate_limit, live, past))

    def _recall(self, payload: bytes) -> None:
        try:
            memory = decode_memory(payload)
        except RecordError as error:
            log.warning("Site %d begins its sessions anew: %s", self._id, error)
            return
        self._rate_limit = memory.rate_limit
        if memory.live or memory.past:
            self._sessions = SessionBook(self._around.budget, self._around.new_session_id)
            self._sessions.recall(memory.live, memory.past, now=self._around.clock())

    def _set_site(self, site: Site | None) -> None:
        self._site = site
        self._shields = compile_shields(site.shields) if site is not None else None
        self._context = None

    def _tick(self, now: float, *, alone: bool) -> None:
        if self._sessions is not None:
            self._sessions.end_old(now)
        # The window of the rate limit must not be forgotten while it lasts.
        patience_s = max(self._around.idle_s, self._rate_limit.scale_s)
        if alone and not self._sessions and not self._unsettled and now - self._last_used > patience_s:
            self._around.passivate(self._id)

    def _judge(
        self, event: Event, now: float, now_ms: int, timer: Callable[[], float] | None
    ) -> Entry | Verdict:
        """Give the rows of an event, or why there are none; ``timer`` measures its steps if there is one."""
        reason = check_gate(self._site, now_ms, self._rate_limit)
        if reason is not None:
            return DROPPED[reason]
        timestamp, context = event.request.timestamp, self._context
        if (
            context is None
            or timestamp // DAY_S != self._context_day
            or self._around.salts.by_day is not self._context_book
        ):
            context = self._find_context(timestamp, now)
            if context is None:
                return NOT_READY
        if timer is None:
            reason = run_steps(event, context)
        else:
            reason = run_steps_timed(event, context, timer, self._around.telemetry.record_step)
        if reason is not None:
            return DROPPED[reason]
        if self._sessions is None:
            self._sessions = SessionBook(self._around.budget, self._around.new_session_id)
        entry = self._sessions.register(event, now)
        return entry if entry is not None else DROPPED[DropReason.NO_SESSION_FOR_ENGAGEMENT]

    def _find_context(self, timestamp: int, now: float) -> Context | None:
        """Give what events of that day are judged with, from now on; None while there is no salt."""
        around, context = self._around, self._context
        book, day = around.salts.by_day, timestamp // DAY_S
        salts = around.salts.at(timestamp, now=now)
        if salts is None:
            return None
        if context is None or (context.current_salt, context.previous_salt) != salts:
            assert self._site is not None, "a site that passed the gate is loaded"
            assert self._shields is not None, "they come with the site"
            current_salt, previous_salt = salts
            context = self._context = Context(
                site=self._site,
                shields=self._shields,
                tables=around.tables,
                current_salt=current_salt,
                previous_salt=previous_salt,
            )
        # A day whose salt is gone is judged with today's, and today ends.
        self._context_day, self._context_book = (day if day in book else NO_DAY), book
        return context

    def _is_repeat(self, key: bytes, envelope: Envelope) -> bool:
        """Answer an event that was stored before, or have it wait for the one that is on its way."""
        if key in self._around.keys:
            envelope.reply(REPEATED)
            return True
        if self._repeats is None or key not in self._repeats:
            return False
        envelope.claim()
        self._repeats[key].append(envelope)
        return True

    def _await_repeats(self, key: bytes) -> None:
        if self._repeats is None:
            self._repeats = {}
        self._repeats[key] = []

    def _append(self, append: Append, senders: Sequence[Envelope]) -> None:
        assert self._sessions is not None, "entries come out of sessions"
        if self._unsettled is None:
            self._unsettled = deque()
        undo = self._sessions.take_undo()
        appending = Appending(append, None, None, senders, undo, self._repeats, self._unsettled)
        if not self._around.buffer.offer(appending):
            self._sessions.roll_back(appending.undo)
            appending.refuse(OVERLOADED)
            return
        self._unsettled.append(appending)

    def _settle(self) -> None:
        """Let go of what is durable; take back what was refused, with all that was built on it."""
        unsettled = self._unsettled
        while unsettled and unsettled[0].written:
            unsettled.popleft()
        if not unsettled or unsettled[0].written is None:
            return
        assert self._sessions is not None
        for appending in reversed(unsettled):
            self._sessions.roll_back(appending.undo)
        unsettled.clear()
        # The buffer refuses what is still on its way under the old number.
        self._epoch = next(self._around.epochs)
