"""Why the pipeline judges an event as it does: each step run, and what it used and set told in words.

A dry run of the very steps of ``event.py``, one at a time: what a step set is the difference that it made to
the event, what it used is asked of the same tables. Salts are used and never told. Texts are made fit to be
shown: half a surrogate pair, which stands for a byte that is no UTF-8, becomes U+FFFD.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from service.ingestion.event import STEPS, Context, Event
from service.ingestion.gate import MS_PER_DAY, RateLimit, check_gate
from service.ingestion.request import Request
from service.ingestion.site import Site
from service.ingestion.spam import is_spam_referrer
from service.ingestion.step_words import DESCRIBED, date_of, show
from service.ingestion.verdict import DropReason


class StepReport(Struct, frozen=True):
    """One step: what it decided, in words, what it used to decide it, and what it set."""

    step: str
    sentence: str
    used: dict[str, Any] = {}
    set: dict[str, Any] = {}
    reason: str | None = None
    """Why the event ends here; None when it goes on."""


class SessionReport(Struct, frozen=True):
    """The session that the event would open or join; times are UTC epoch seconds."""

    does: str
    """``opens``, ``joins``, or ``keeps alive`` (an engagement, which writes no session row)."""
    session_id: str | None
    """None for a new session, whose number is drawn when it is opened. A text: JSON readers round it."""
    start: int
    last_event: int
    """Before this event; its own time for a new session."""
    pageviews: int
    """Before this event, as ``events``."""
    events: int


class RowReports(Struct, frozen=True):
    """The rows that the event would write, by column name; session rows each with their ``sign``."""

    events_v2: list[dict[str, Any]] = []
    sessions_v2: list[dict[str, Any]] = []


class Explanation(Struct, frozen=True):
    """What would become of one event for one domain, and why."""

    domain: str
    site_id: int | None
    verdict: str
    """``buffered``, ``dropped`` or ``retry``."""
    reason: str | None
    steps: list[StepReport]
    session: SessionReport | None = None
    rows: RowReports = RowReports()


class DryRun(Struct, frozen=True):
    """The answer to one question: how the request was read, and what becomes of it for each domain."""

    request: list[StepReport]
    domains: list[Explanation]


def explain_spam(request: Request, spam: frozenset[str]) -> StepReport:
    """Report on the referrer's host and the list of spam."""
    step, used = "drop_spam_referrer", {"referrer": show(request.referrer), "hosts_listed": len(spam)}
    if is_spam_referrer(request.referrer, spam):
        return StepReport(
            step, "The referrer's host is on the list of spam.", used, reason=DropReason.SPAM_REFERRER
        )
    sentence = "There is no referrer." if not request.referrer else "The referrer is not on the list of spam."
    return StepReport(step, sentence, used)


def explain_gate(site: Site | None, now_ms: int, rate_limit: RateLimit) -> StepReport:
    """Report on the gate and count the event in ``rate_limit``, which must be the caller's own copy."""
    reason = check_gate(site, now_ms, rate_limit)
    if site is None:
        return StepReport("gate", "The site is not there any more.", reason=reason)
    threshold, scale_s = site.ingest_rate_limit_threshold, site.ingest_rate_limit_scale_seconds
    used: dict[str, Any] = {"threshold": threshold}
    match reason:
        case DropReason.PAYMENT_REQUIRED:
            assert site.accept_traffic_until is not None
            last_day = date_of(site.accept_traffic_until * MS_PER_DAY // 1000)
            used["accept_traffic_until"] = last_day
            sentence = f"The site takes events until {last_day} (UTC) only."
        case DropReason.BLOCK:
            sentence = "The site is blocked: its threshold is 0."
        case _ if threshold is None:
            sentence = "The site has no limit."
        case _:
            used |= {"scale_seconds": scale_s, "count": rate_limit.count}
            count = f"{rate_limit.count:,}"
            sentence = f"It would be event {count} in a window of {scale_s:,} s, which takes {threshold:,}."
    return StepReport("gate", sentence, used, reason=reason)


def explain_steps(event: Event, context: Context) -> Iterator[StepReport]:
    """Run the steps on the event, up to the first drop, and report on each."""
    event.context = context
    before = _values(event)
    for name, run, _ in STEPS:
        reason = run(event, context)
        after = _values(event)
        sentence, used = DESCRIBED[name](event, context)
        yield StepReport(name, sentence, used, _difference(before, after), reason)
        if reason is not None:
            event.dropped = True
            event.drop_reason = reason
            return
        before = after


_PARTS: Final = ("location", "user_agent", "source", "clickhouse_event_attrs")
_NUMBERS: Final = frozenset({"user_id", "previous_user_id"})
"""Shown as texts, because JSON readers round numbers of 64 bits."""


def _values(event: Event) -> dict[str, object]:
    """Give everything that steps fill in and people may see; the session's attributes only repeat it."""
    values: dict[str, object] = {
        "ip_class": event.ip_class,
        "acquisition_channel": event.acquisition_channel,
        "user_id": event.user_id,
        "previous_user_id": event.previous_user_id,
    }
    for part in _PARTS:
        values |= msgspec.structs.asdict(getattr(event, part))
    revenue = values.pop("revenue")
    assert isinstance(revenue, Struct)
    for name, value in msgspec.structs.asdict(revenue).items():
        values[f"revenue_{name}"] = value
    return values


def _difference(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: str(value) if name in _NUMBERS else _fit(value)
        for name, value in after.items()
        if value != before[name]
    }


def _fit(value: object) -> object:
    if isinstance(value, tuple):
        return [_fit(item) for item in value]
    return show(value) if isinstance(value, str | bytes) else value
