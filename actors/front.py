"""The FrontActor: the one door of the system.

It bounds how many requests are in flight and how long a site's line may be, keeps referrer spam out before
any site is asked, hands each domain's event to its site, and gathers the verdicts. Every request has one
deadline: when it passes before a site took the event up, the verdict is ``lock_timeout``, as the reference
says (section 8.2); once a site took it up, its verdict is awaited.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Final

from actors.directory import Directory
from actors.messages import BuildResult, CloseDoor, Ingest, IngestBatch, Offer, Outcomes, Tick
from actors.runtime import Actor, DeadlineExceeded, Envelope, MailboxFull, Ref
from actors.status import Status
from service.ingestion.event import Event, Tables
from service.ingestion.request import Request
from service.ingestion.spam import is_spam_referrer
from service.ingestion.verdict import (
    BUFFERED,
    Buffered,
    Dropped,
    DropReason,
    Repeated,
    Retry,
    RetryReason,
    Verdict,
)
from service.telemetry import Telemetry
from service.tracing.records import RequestTrace

MAX_REMEMBERED_RESULTS: Final = 16_384

LOCK_TIMEOUT = Dropped(DropReason.LOCK_TIMEOUT)
NOT_FOUND = Dropped(DropReason.NOT_FOUND)
NOT_READY = Retry(RetryReason.NOT_READY)
OVERLOADED = Retry(RetryReason.OVERLOADED)
SITE_UNAVAILABLE = Retry(RetryReason.SITE_UNAVAILABLE)
SPAM_REFERRER = Dropped(DropReason.SPAM_REFERRER)


@lru_cache(MAX_REMEMBERED_RESULTS)
def _result_of_one(domain: str, verdict: Verdict) -> BuildResult:
    """Give the result of a request for one domain; a domain's verdicts are few, and always the same."""
    return BuildResult(((domain, verdict),))


class Gathering:
    """The verdicts of a request for several domains, as they come in."""

    __slots__ = ("_domains", "_missing", "_verdicts")

    def __init__(self, domains: Sequence[str]) -> None:
        self._domains = domains
        self._missing = len(domains)
        self._verdicts: list[Verdict] = [OVERLOADED] * self._missing

    def add(self, index: int, verdict: Verdict) -> Outcomes | None:
        """Note the verdict for the domain at ``index``; gives all of them with the last one."""
        self._verdicts[index] = verdict
        self._missing -= 1
        return None if self._missing else tuple(zip(self._domains, self._verdicts, strict=True))


class Offered(Envelope):
    """An event on its way to a site.

    Whatever answers it, the request gets a verdict, and only the first one.
    """

    front: "FrontActor"
    sender: Envelope
    gathering: Gathering | None
    """None for the event of a request for one domain."""
    index: int
    settled: bool = False
    """Whether the request has its verdict."""

    @property
    def is_ask(self) -> bool:
        """Whether somebody waits: always, the request does."""
        return True

    def reply(self, value: Any) -> None:
        """Count the verdict, and answer the sender with the last one; a second verdict is ignored."""
        if self.settled:
            return
        self.settled = True
        message, front, gathering = self.message, self.front, self.gathering
        if message.trace is not None:
            message.trace.settle(value)
        front.count(message.event, value)
        if gathering is None:
            front.in_flight -= 1
            self.sender.reply(_result_of_one(message.event.domain, value))
        elif (outcomes := gathering.add(self.index, value)) is not None:
            front.in_flight -= 1
            self.sender.reply(BuildResult(outcomes))

    def fail(self, error: BaseException) -> None:
        """Turn an error of the actor system into a verdict."""
        match error:
            case DeadlineExceeded():
                self.reply(LOCK_TIMEOUT)
            case MailboxFull():
                self.reply(OVERLOADED)
            case _:
                self.reply(SITE_UNAVAILABLE)

    def expired(self, now: float) -> bool:
        """Tell whether nobody waits for this any more."""
        return self.settled or (self.deadline is not None and now >= self.deadline)


class Batch:
    """The results of a batch as they come in, in the order of its items.

    Answers its sender when all are there.
    """

    __slots__ = ("_envelope", "_missing", "_results")

    def __init__(self, envelope: Envelope, size: int) -> None:
        self._envelope = envelope
        self._missing = size
        self._results: list[BuildResult | None] = [None] * size

    def settle(self, index: int, result: BuildResult) -> None:
        """Note the result of the item at ``index``."""
        self._results[index] = result
        self._missing -= 1
        if not self._missing:
            self._envelope.reply(self._results)


class BatchItem(Envelope):
    """Stands for the sender of one request of a batch."""

    batch: Batch
    index: int

    def reply(self, value: Any) -> None:
        """Hand the result to the batch."""
        self.batch.settle(self.index, value)


class FrontActor(Actor):
    """Hands requests to sites and gathers their verdicts."""

    kind: ClassVar[str] = "front"
    mailbox_bound: ClassVar[int] = 10_000

    def __init__(
        self,
        *,
        directory: Directory,
        tables: Tables,
        telemetry: Telemetry,
        awake: Mapping[int, Ref[Offer]],
        find_site: Callable[[int], Ref[Offer] | None],
        max_in_flight: int,
        ask_timeout_s: float,
        max_wait_s: float,
        status: Status,
    ) -> None:
        self._directory = directory
        self._tables = tables
        self._telemetry = telemetry
        self._awake = awake
        self._find_site = find_site
        """Wakes a site that is not, unless it is down."""
        self._max_in_flight = max_in_flight
        self._ask_timeout_s = ask_timeout_s
        self._max_wait_s = max_wait_s
        self._status = status
        self.in_flight = 0
        """Requests that have no answer yet."""
        self._offered: deque[Offered] = deque()
        """Events on their way, oldest first, so that one look at the head a tick finds the overdue ones."""
        self._closing: Envelope | None = None
        """Set once the door is closed; answered when the last request has its verdicts."""

    def receive_batch(self, envelopes: list[Envelope]) -> None:
        """Hand out the requests of the batch."""
        self._forget_settled()
        deadline = asyncio.get_running_loop().time() + self._ask_timeout_s
        for envelope in envelopes:
            message = envelope.message
            if type(message) is Ingest:
                self._ingest(message.request, envelope, deadline, message.trace)
                continue
            match message:
                case IngestBatch(requests=requests, trace=trace):
                    self._ingest_batch(requests, envelope, deadline, trace)
                case Tick():
                    self._expire(deadline - self._ask_timeout_s)
                case CloseDoor():
                    self._closing = envelope
        if self._closing is not None and not self.in_flight:
            self._closing.reply(None)

    def count(self, event: Event, verdict: Verdict) -> None:
        """Count one verdict; every verdict passes here exactly once."""
        if verdict is BUFFERED:
            self._telemetry.emit_telemetry_buffered(event)
            return
        match verdict:
            case Buffered():
                self._telemetry.emit_telemetry_buffered(event)
            case Repeated():
                self._telemetry.emit_telemetry_repeated()
            case Dropped(reason=reason):
                self._telemetry.emit_telemetry_dropped(event, reason)
            case Retry(reason=reason):
                self._telemetry.emit_telemetry_refused(reason)

    def _ingest(
        self, request: Request, envelope: Envelope, deadline: float, trace: RequestTrace | None
    ) -> None:
        refusal: Verdict | None = None
        if self._closing is not None or not self._directory.loaded or self.in_flight >= self._max_in_flight:
            refusal = self._refusal()
        elif is_spam_referrer(request.referrer, self._tables.spam.value):
            refusal = SPAM_REFERRER
        self.in_flight += 1
        domains = request.domains
        if len(domains) == 1:
            self._offer(domains[0], request, envelope, deadline, trace, refusal, None, 0)
            return
        gathering = Gathering(domains)
        for index, domain in enumerate(domains):
            self._offer(domain, request, envelope, deadline, trace, refusal, gathering, index)

    def _ingest_batch(
        self,
        requests: Sequence[Request],
        envelope: Envelope,
        deadline: float,
        trace: RequestTrace | None,
    ) -> None:
        if not requests:
            envelope.reply([])
            return
        batch = Batch(envelope, len(requests))
        # In the order of their times: back-dated events form the sessions they would have formed then.
        times = [request.timestamp for request in requests]
        for index in sorted(range(len(times)), key=times.__getitem__):
            self._ingest(requests[index], BatchItem(None, None, None, batch, index), deadline, trace)

    def _offer(
        self,
        domain: str,
        request: Request,
        envelope: Envelope,
        deadline: float,
        trace: RequestTrace | None,
        refusal: Verdict | None,
        gathering: Gathering | None,
        index: int,
    ) -> None:
        """Hand the event for one domain to its site, unless it is refused."""
        event = Event(domain, request)
        site = None if trace is None else trace.begin_event(domain, request)
        offered = Offered(Offer(event, site), None, deadline, self, envelope, gathering, index)
        if refusal is not None:
            offered.reply(refusal)
            return
        site_id = self._directory.by_domain.get(domain)
        if site_id is None:
            offered.reply(NOT_FOUND)
            return
        ref = self._awake.get(site_id) or self._find_site(site_id)
        if ref is None:
            offered.reply(SITE_UNAVAILABLE)
        # Most sites have no backlog: not worth a call for each event.
        elif (ref.pace is None or ref.expected_wait_s <= self._max_wait_s) and ref.offer(offered):
            self._offered.append(offered)
        else:
            offered.reply(OVERLOADED)

    def _refusal(self) -> Retry:
        return NOT_READY if self._closing is not None or not self._directory.loaded else OVERLOADED

    def _forget_settled(self) -> None:
        # At once, not with the next tick: what lives for a second is walked through by the garbage collector.
        offered = self._offered
        while offered and offered[0].settled:
            offered.popleft()

    def _expire(self, now: float) -> None:
        offered = self._offered
        while offered and (offered[0].deadline is None or offered[0].expired(now)):
            head = offered.popleft()
            if head.deadline is not None:  # a site that took it up will answer it
                head.fail(DeadlineExceeded("no site took the event up in time"))
        deadline = offered[0].deadline if offered else None
        self._status.oldest_offer_s = now + self._ask_timeout_s - deadline if deadline is not None else 0.0
        self._status.requests_in_flight = self.in_flight
