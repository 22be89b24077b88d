"""Every message of the system: its protocol on one page, grouped by receiver.

Imperative names are orders or questions; past participles are facts told. Messages only point down the tree,
front to site to buffer to inserter, so that no two actors can wait for each other.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from service.clickhouse.store import BlockTrigger
from service.ingestion.event import Event
from service.ingestion.gate import RateLimit
from service.ingestion.request import Request
from service.ingestion.rows import ClickhouseSession, Entry
from service.ingestion.site import Site
from service.ingestion.verdict import Buffered, Dropped, DropReason, Retry, RetryReason, Verdict
from service.segment import SegmentInfo
from service.tracing.records import BlockTrace, RequestTrace, SiteTrace

# -- to every actor
# ---------------------------------------------------------------------------------------------------


class Tick(Struct, frozen=True):
    """The clock moved; ``now`` is UTC epoch seconds."""

    now: float


# -- to the front
# -----------------------------------------------------------------------------------------------------


class Ingest(Struct, frozen=True, gc=False):
    """Judge one request; answered with BuildResult."""

    request: Request
    trace: RequestTrace | None = None


class IngestBatch(Struct, frozen=True):
    """Judge the requests of one batch, in the order given; answered with a list of BuildResult."""

    requests: Sequence[Request]
    trace: RequestTrace | None = None
    """One for all of them: they came together."""


Outcomes = tuple[tuple[str, Verdict], ...]
"""A verdict for each domain of a request, in the order they were sent."""


class BuildResult(Struct, frozen=True, gc=False):
    """What became of one request: a verdict for each of its domains, in the order they were sent."""

    outcomes: Outcomes

    @property
    def buffered(self) -> list[str]:
        """The domains whose event is in the journal."""
        return [domain for domain, verdict in self.outcomes if isinstance(verdict, Buffered)]

    @property
    def dropped(self) -> list[tuple[str, DropReason]]:
        """The domains whose event was judged and will not be stored, with the reason."""
        return [(domain, verdict.reason) for domain, verdict in self.outcomes if isinstance(verdict, Dropped)]

    @property
    def refused(self) -> list[tuple[str, RetryReason]]:
        """The domains whose event was not judged and may be sent again."""
        return [(domain, verdict.reason) for domain, verdict in self.outcomes if isinstance(verdict, Retry)]


class CloseDoor(Struct, frozen=True):
    """Refuse all that comes from now on with ``not_ready``.

    Answered when no request is in flight any more.
    """


# -- to a site
# --------------------------------------------------------------------------------------------------------


class Offer(Struct, frozen=True, gc=False):
    """Judge one event for this site; answered with a Verdict."""

    event: Event
    trace: SiteTrace | None = None


class SiteChanged(Struct, frozen=True):
    """The site is now like this; in force for the next message. None: it is gone."""

    site: Site | None


class Look(Struct, frozen=True):
    """Say how the site stands, for a dry run; answered with SiteView. Changes nothing."""


class SiteView(Struct, frozen=True):
    """How a site stands: what is known of it, and a copy of its rate limit."""

    site: Site | None
    rate_limit: RateLimit


class FindSessions(Struct, frozen=True):
    """Show the sessions of these visitors, for a dry run; answered with FoundSessions. Changes nothing."""

    visitors: Sequence[int]


class FoundSessions(Struct, frozen=True):
    """Live sessions, and back-dated ones with the time of their last change (UTC epoch seconds)."""

    live: tuple[ClickhouseSession, ...] = ()
    past: tuple[tuple[float, tuple[ClickhouseSession, ...]], ...] = ()


# -- to the inserter
# --------------------------------------------------------------------------------------------------


class Insert(Struct, frozen=True):
    """Insert one block exactly once, however long it takes; answered with Inserted or Postponed."""

    segment: SegmentInfo
    trigger: BlockTrigger
    entries: Sequence[Entry] | None
    """None: they are to be read from the journal."""
    trace: BlockTrace | None = None


class RetryRows(Struct, frozen=True):
    """Insert rows of the quarantine again; answered with ``insertion.Retried``."""

    ids: Sequence[str]


class DropRows(Struct, frozen=True):
    """Let go of rows of the quarantine for good; answered with how many there were."""

    ids: Sequence[str]


class Inserted(Struct, frozen=True):
    """The block is stored, but for rows that ClickHouse refuses: these are in the quarantine."""


class Postponed(Struct, frozen=True):
    """All is stored but rows that ClickHouse refuses, and the quarantine has no room for these."""


class Remember(Struct, frozen=True):
    """Say what is to be remembered of the site over a restart; answered with bytes, or None for nothing."""


# -- to the buffer
# ----------------------------------------------------------------------------------------------------


class Append(Struct, frozen=True):
    """Make these entries durable, all or none; answered with True or False.

    ``epoch`` fences a site's appends: after one was refused, the others of the same epoch are refused as
    well, because their session rows build on rows that were never written.
    """

    site_id: int
    epoch: int
    entries: Sequence[Entry]
    traces: Sequence[SiteTrace] = ()
    """Of those entries whose way is followed."""
    keys: Mapping[int, bytes] | None = None
    """The keys of idempotent senders, by the place of their entry; None when there are none."""
    taken: int = 0
    """When the site took the events up, in nanoseconds of the tracing's clock; 0 without tracing."""


class Flush(Struct, frozen=True):
    """Insert all that is held.

    Answered with the number of events that were waiting, once they are in ClickHouse.
    """


class InsertEnded(Struct, frozen=True):
    """The inserter has done with the block it was given."""

    outcome: Inserted | Postponed | None
    """None: the inserter failed; the block is still to be inserted."""


# -- to the directory
# -------------------------------------------------------------------------------------------------


class Reload(Struct, frozen=True):
    """A site was changed in the store; answered when the change is in force."""

    site_id: int
