"""What is remembered of requests and blocks under way, so that spans can be made of those that are kept.

Whether a request failed or was slow is known at its end only. So these are plain objects with times; when all
is over and it is kept, it goes to the thread that sends spans, which makes them, with their true times. They
hold nothing of a visitor.

Of a plain event for one domain nothing is remembered but when it began: should it have to be kept in the end,
its record is made then, under the ``Recorder.answering`` that ends it: an ``EndedEvent`` when all is as it
should be (``Tracing.keep_buffered``), else as if it had been followed (``Tracing.keep_late``).
"""

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Final, NamedTuple, Protocol

from msgspec import Struct
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from service.ingestion.request import Request
from service.ingestion.verdict import BUFFERED, Repeated, Retry, Verdict

MAX_DOMAIN_CHARS: Final = 253
MAX_SITES: Final = 32
"""Site spans of one request; a batch or a request for more domains says how many were left out."""
MAX_LINKS: Final = 128
"""Requests that the span of one block links to; how many were left out it says in a number."""
FAILED_STATUS: Final = 500
RETRIED: Final = (Retry, Repeated)
"""Verdicts on what is to be sent again, or was."""
SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
RANDOM_IDS: Final = RandomIdGenerator()


class Kept(enum.StrEnum):
    """Why a trace is kept."""

    SAMPLED = "sampled"
    FAILED = "failed"
    RETRIED = "retried"
    SLOW = "slow"
    LINKED = "linked"
    """A block that holds a kept request."""


class Write(Struct, frozen=True, gc=False):
    """One write of the journal, which can be for many requests; times in nanoseconds of ``Recorder.now``."""

    began: int
    ended: int
    block: "BlockTrace | None"
    """What the events are in, for as long as that is to be linked to them."""
    failed: bool = False
    """Whether the events did not become durable."""


class Recorder(Protocol):
    """Who decides what is kept, and has spans made of it."""

    taken: int
    """When their site took up the events that are being answered at this moment; 0: not known."""

    answering: Write | None
    """The write under which they are answered; set by who answers, and taken away within the same turn."""

    slow_ns: int
    """What takes longer is kept."""

    links_cut: int
    """Requests that blocks did not link to; they add to it."""

    def now(self) -> int:
        """Give nanoseconds of a clock that never goes back."""

    def admit(self) -> bool:
        """Tell whether one more may be kept that was not sampled."""

    def record(self, ended: "Ended") -> None:
        """Have the spans made of what is over and kept."""


class SiteTrace:
    """One event on its way through the actors."""

    __slots__ = ("began", "domain", "ended", "request", "script_version", "taken", "verdict", "write")

    def __init__(self, request: "RequestTrace", domain: str, script_version: int, began: int) -> None:
        self.request = request
        self.domain = domain
        self.script_version = script_version
        self.began = began
        self.taken = 0
        """When its site took it up; 0: it did not."""
        self.ended = 0
        """0: no verdict yet."""
        self.verdict: Verdict | None = None
        self.write: Write | None = None

    def settle(self, verdict: Verdict) -> None:
        """Note what became of the event: known at the end of its write, if there was one."""
        write = self.write
        self.ended = self.request.recorder.now() if write is None else write.ended
        self.verdict = verdict
        if type(verdict) in RETRIED:
            self.request.retried = True


class RequestTrace:
    """One request from the first look at it to its answer."""

    __slots__ = (
        "began",
        "context",
        "ended",
        "kept",
        "parent",
        "recorder",
        "retried",
        "route",
        "sites",
        "sites_cut",
    )

    def __init__(self, recorder: Recorder, route: str, parent: SpanContext | None, began: int) -> None:
        self.recorder = recorder
        self.route = route
        self.parent = parent
        self.began = began
        self.ended = 0
        self.kept: Kept | None = None
        """Why it is kept, or would be if there were not too many; None: it is not, so far."""
        self.context: SpanContext | None = None
        """The ids of its span; None: none will be made, so far."""
        self.retried = False
        """The sender was told, for one event at least, to try again, or has done so (under the same key)."""
        self.sites: list[SiteTrace] = []
        self.sites_cut = 0

    def keep(self, why: Kept) -> None:
        """Have spans made of it at its end, unless too many are kept that were not sampled."""
        if self.kept is None:
            self.kept = why
            if why is Kept.SAMPLED or self.recorder.admit():
                self.context = new_context(self.parent)

    def begin_event(self, domain: str, request: Request, *, began: int = 0) -> SiteTrace | None:
        """Follow one of its events since ``began`` (now); None beyond the bound."""
        if len(self.sites) >= MAX_SITES:
            self.sites_cut += 1
            return None
        began = began or self.recorder.now()
        site = SiteTrace(self, domain[:MAX_DOMAIN_CHARS], request.tracker_script_version, began)
        self.sites.append(site)
        return site

    def make_current(self) -> None:
        """Have what is logged in this task from now on name the trace, if it is kept."""
        if self.context is not None:
            otel_context.attach(otel_trace.set_span_in_context(NonRecordingSpan(self.context)))

    def finish(self, status: int) -> int:
        """Note the answer; has the spans made of a request that is kept. Gives when it ended."""
        self.ended = ended = self.recorder.now()
        if status >= FAILED_STATUS:
            self.keep(Kept.FAILED)
        elif self.retried:
            self.keep(Kept.RETRIED)
        elif ended - self.began > self.recorder.slow_ns:
            self.keep(Kept.SLOW)
        # They know the request: a circle would wait for the garbage collector.
        sites, self.sites = self.sites, []
        if self.context is not None:
            self.recorder.record(
                EndedRequest(
                    self.route,
                    self.parent,
                    self.context,
                    self.kept,
                    self.began,
                    ended,
                    sites,
                    self.sites_cut,
                    status,
                )
            )
        return ended


class EndedSite(NamedTuple):
    """What a ``SiteTrace`` says, of an event that nobody followed."""

    domain: str
    script_version: int
    began: int
    ended: int
    taken: int
    verdict: Verdict
    write: Write | None


class EndedRequest(NamedTuple):
    """A request that has its answer, and its events."""

    route: str
    parent: SpanContext | None
    context: SpanContext
    kept: Kept | None
    began: int
    ended: int
    sites: Sequence[SiteTrace | EndedSite]
    sites_cut: int
    status: int

    @property
    def spans(self) -> int:
        """How many it becomes: its own, one a site, one a journal write."""
        return 1 + sum(1 if site.write is None else 2 for site in self.sites)


class EndedEvent(Struct):
    """A request for one domain that was sampled when it was over: buffered, and not slow.

    No more than what the loop alone knows; the thread that sends makes the rest of it, a batch at a time.
    """

    route: str
    status: int
    domain: str
    script_version: int
    began: int
    ended: int
    taken: int
    write_began: int
    """0: it is not known by which write it was answered."""
    write_ended: int
    context: SpanContext | None = None
    """The ids of its span; None until it is made, which is before that of its block."""

    spans: ClassVar[int] = 3
    """How many it becomes."""

    def as_request(self) -> EndedRequest:
        """Give what it would be had it been followed; now its span has its ids."""
        context = self.context = new_context(None)
        site = EndedSite(
            self.domain[:MAX_DOMAIN_CHARS],
            self.script_version,
            self.began,
            self.write_ended or self.ended,
            self.taken,
            BUFFERED,
            Write(self.write_began, self.write_ended, None) if self.write_began else None,
        )
        return EndedRequest(
            self.route, None, context, Kept.SAMPLED, self.began, self.ended, (site,), 0, self.status
        )


class EndedInsert(NamedTuple):
    """One try to insert a block; ``error`` is the kind of error, never its text."""

    number: int
    context: SpanContext
    block: SpanContext
    began: int
    ended: int
    error: str | None

    @property
    def spans(self) -> int:
        """How many it becomes."""
        return 1


class BlockResult(NamedTuple):
    """What became of a block."""

    block_id: str
    trigger: str
    events: int
    refused: int
    """Rows that ClickHouse will never take."""
    postponed: bool
    """The refused rows found no room in the quarantine."""


class BlockTrace:
    """One block from its first event to its end in ClickHouse."""

    __slots__ = (
        "_last_try",
        "_recorder",
        "_tries",
        "began",
        "context",
        "ended",
        "events",
        "kept",
        "links",
        "links_cut",
    )

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._tries = 0
        self._last_try: EndedInsert | None = None
        """Has no span, because the block was not kept at its end."""
        self.began = recorder.now()
        self.ended = 0
        self.context = new_context(None)
        self.kept: Kept | None = None
        self.links: dict[int, SpanContext] = {}
        """The kept requests with events in it, by span id."""
        self.events: list[EndedEvent] = []
        """Those of them whose spans have no ids yet."""
        self.links_cut = 0

    @property
    def tries(self) -> int:
        """How often it was tried to insert it."""
        return self._tries

    def note_write(self, sites: Sequence[SiteTrace], write: Write) -> None:
        """Note that these events are durable and in this block; links to those of kept requests."""
        slow_ns = self._recorder.slow_ns
        for site in sites:
            site.write = write
            request = site.request
            if request.kept is None and write.ended - request.began > slow_ns:
                request.keep(Kept.SLOW)
            if request.context is not None:
                self.link(request.context)

    def link(self, context: SpanContext) -> None:
        """Link to the span of a kept request that has an event in it; the block is kept then."""
        if context.span_id not in self.links and self._has_room():
            self.links[context.span_id] = context
            self.kept = Kept.LINKED

    def link_event(self, event: "EndedEvent") -> None:
        """Link to a request that will have a span."""
        if self._has_room():
            self.events.append(event)
            self.kept = Kept.LINKED

    def _has_room(self) -> bool:
        if len(self.links) + len(self.events) < MAX_LINKS:
            return True
        self.links_cut += 1
        self._recorder.links_cut += 1
        return False

    @contextmanager
    def current(self) -> Iterator[None]:
        """Have what is logged meanwhile name this trace."""
        with _as_current(self.context):
            yield

    @contextmanager
    def insert(self) -> Iterator[None]:
        """Note one try to insert it; meanwhile its span is the current one, for ClickHouse to join.

        A block that is tried again is kept, so that ClickHouse is told of it from the second try on.
        """
        self._tries += 1
        context = new_context(self.context)
        began = self._recorder.now()
        error: str | None = None
        try:
            with _as_current(context if self.kept is not None else _unsampled(context)):
                yield
        except BaseException as failure:
            error = type(failure).__name__
            self.kept = self.kept or Kept.FAILED
            raise
        finally:
            ended = self._recorder.now()
            if self.kept is None and ended - began > self._recorder.slow_ns:
                self.kept = Kept.SLOW
            done = EndedInsert(self._tries, context, self.context, began, ended, error)
            if self.kept is not None:
                self._recorder.record(done)
            else:
                self._last_try = done

    def finish(self, result: BlockResult) -> None:
        """Note that the block is done with; has its span made when it is kept."""
        self.ended = self._recorder.now()
        if self.kept is None and result.refused:
            self.kept = Kept.FAILED
            if self._last_try is not None:
                self._recorder.record(self._last_try)
        if self.kept is not None:
            self._recorder.record(EndedBlock(self, result))


class EndedBlock(NamedTuple):
    """A block that is done with, and what became of it."""

    block: BlockTrace
    result: BlockResult

    @property
    def spans(self) -> int:
        """How many it becomes."""
        return 1


Ended = EndedRequest | EndedEvent | EndedInsert | EndedBlock
"""What is over and kept, for spans to be made of."""


def new_context(parent: SpanContext | None) -> SpanContext:
    """Give the ids of a span that is to be made: in the parent's trace, or in one of its own."""
    trace_id = RANDOM_IDS.generate_trace_id() if parent is None else parent.trace_id
    return SpanContext(trace_id, RANDOM_IDS.generate_span_id(), is_remote=False, trace_flags=SAMPLED)


def note_failed_write(sites: Sequence[SiteTrace], write: Write) -> None:
    """Note that these events did not become durable."""
    for site in sites:
        site.write = write


def _unsampled(context: SpanContext) -> SpanContext:
    return SpanContext(context.trace_id, context.span_id, is_remote=False)


@contextmanager
def _as_current(context: SpanContext) -> Iterator[None]:
    """Make a span current in this task that is made only later."""
    token = otel_context.attach(otel_trace.set_span_in_context(NonRecordingSpan(context)))
    try:
        yield
    finally:
        otel_context.detach(token)
