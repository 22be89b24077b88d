"""What the running system tells telemetry of itself: figures of the moment, read once a second in its loop.

They are published as one tuple, because an exporter reads them from its own thread, where nothing that
changes may be walked through.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from actors.directory import Directory
from actors.mailbox import MailboxStatistics
from actors.runtime import Ref, Undelivered
from actors.salts import SaltBook
from actors.session_book import SessionBudget
from actors.status import Status
from actors.supervision import Supervisor
from actors.tables import Refreshable
from service.ingestion.geolocation import Geolocator
from service.ingestion.published import Published
from service.ingestion.verdict import DropReason
from service.journal import Journal
from service.quarantine import Quarantine
from service.remembered_keys import RememberedKeys
from service.sites.cache import SiteCache
from service.telemetry import Telemetry, catalogue
from service.telemetry.figures import Measured

SITE_KIND: Final = "site"
MAX_MARKS: Final = 64
"""Moments remembered of one mailbox; with more, every second is forgotten and ages become coarser."""


class WaitWatch:
    """Finds how long the oldest message of a mailbox has waited, by looking at the mailbox now and then.

    A message that came between two looks counts from the second: an age is right to one interval.
    """

    __slots__ = ("_marks", "age_s")

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()
        """Which number the newest message had, and when that was seen; oldest first."""
        self.age_s = 0.0
        """At the last look."""

    def look(self, mailbox: MailboxStatistics, now: float) -> None:
        """Look at the figures of the mailbox; ``now`` in seconds of any steady clock."""
        newest = mailbox.taken + mailbox.depth + mailbox.control_depth
        marks = self._marks
        while marks and marks[0][0] <= mailbox.taken:
            marks.popleft()
        if newest > mailbox.taken and (not marks or marks[-1][0] < newest):
            if len(marks) >= MAX_MARKS:
                self._marks = marks = deque(list(marks)[::2])
            marks.append((newest, now))
        self.age_s = now - marks[0][1] if marks else 0.0


class Observed(Struct, frozen=True, kw_only=True):
    """What is looked at; all of it belongs to the system."""

    telemetry: Telemetry
    status: Status
    directory: Directory
    budget: SessionBudget
    salts: SaltBook
    site_cache: SiteCache
    keys: RememberedKeys
    journal: Journal
    quarantine: Quarantine
    geo: Published[Geolocator]
    tree: Mapping[str, Ref[Any]]
    sites: Mapping[int, Ref[Any]]
    supervisors: Sequence[Supervisor]
    refreshed: Sequence[Refreshable]


class Measures:
    """Looks at the system and publishes what it saw."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed
        self._watches: dict[str, WaitWatch] = {}
        self.site_depth = 0
        """Messages that waited for sites, counted over the last round of their ticks."""
        self.figures: tuple[Measured, ...] = ()
        """As they were published last."""

    def look(self, now: float) -> None:
        """Look at the mailboxes; ``now`` on the clock of the loop. For every tick."""
        for name, ref in self._observed.tree.items():
            watch = self._watches.get(name)
            if watch is None:
                watch = self._watches[name] = WaitWatch()
            watch.look(ref.statistics(), now)

    def publish(self, now: float) -> None:
        """Read all figures at ``now`` (UTC epoch seconds) and publish them."""
        self.figures = tuple(self._read(now))

    def _read(self, now: float) -> Iterable[Measured]:
        seen = self._observed
        status, budget = seen.status, seen.budget
        yield Measured(catalogue.SITES_KNOWN, len(seen.directory.by_domain))
        yield Measured(catalogue.SITES_AWAKE, len(seen.sites))
        yield Measured(catalogue.CACHE_HITS, seen.site_cache.hits, {"cache": "sites"})
        yield Measured(catalogue.CACHE_MISSES, seen.site_cache.misses, {"cache": "sites"})
        yield Measured(catalogue.SESSIONS_LIVE, budget.used)
        yield Measured(catalogue.SESSIONS_LIMIT, budget.limit)
        yield Measured(catalogue.SESSIONS_EVICTED, budget.evicted)
        yield Measured(catalogue.EVENTS_WAITING, status.events_waiting)
        yield Measured(catalogue.EVENTS_INSERTED, status.events_inserted)
        yield Measured(catalogue.KEYS_REMEMBERED, len(seen.keys))
        yield Measured(catalogue.KEYS_FORGOTTEN, seen.keys.forgotten)
        yield Measured(catalogue.BLOCKS_REJECTED, status.blocks_rejected)
        yield Measured(catalogue.BLOCKS_POSTPONED, status.blocks_postponed)
        yield Measured(catalogue.QUARANTINE_ROWS, seen.quarantine.rows)
        yield Measured(catalogue.QUARANTINE_SIZE, seen.quarantine.size_bytes)
        built_at = seen.geo.value.built_at
        if built_at is not None:
            yield Measured(catalogue.GEO_DATABASE_AGE, max(0.0, now - built_at))
        yield Measured(catalogue.GEO_LOOKUPS_FAILED, seen.geo.value.failures)
        yield Measured(catalogue.REQUESTS_IN_FLIGHT, status.requests_in_flight)
        yield Measured(catalogue.BUFFER_ROWS, status.open_events)
        yield Measured(catalogue.BUFFER_AGE, _age(status.opened_at, now))
        yield Measured(catalogue.TABLES_STALE, sum(table.problem is not None for table in seen.refreshed))
        salt_age_s = seen.salts.age_s(now)
        if salt_age_s is not None:
            yield Measured(catalogue.SALT_AGE, salt_age_s)
        yield from self._read_journal(now)
        yield from self._read_actors()

    def _read_journal(self, now: float) -> Iterable[Measured]:
        journal = self._observed.journal.statistics()
        created_ms = journal.oldest_created_ms
        yield Measured(catalogue.JOURNAL_SIZE, journal.bytes)
        yield Measured(catalogue.JOURNAL_LIMIT, journal.limit_bytes)
        yield Measured(catalogue.JOURNAL_WRITTEN, journal.bytes_appended)
        yield Measured(catalogue.JOURNAL_SEGMENTS, journal.segments)
        yield Measured(
            catalogue.JOURNAL_OLDEST_AGE, _age(None if created_ms is None else created_ms / 1000, now)
        )

    def _read_actors(self) -> Iterable[Measured]:
        seen = self._observed
        for name, ref in seen.tree.items():
            kind = {"actor.kind": ref.kind}
            yield Measured(catalogue.MAILBOX_DEPTH, ref.depth, kind)
            yield Measured(
                catalogue.MAILBOX_AGE, self._watches[name].age_s if name in self._watches else 0.0, kind
            )
            yield Measured(catalogue.ASKS_TIMED_OUT, ref.timed_out, kind)
        kind = {"actor.kind": SITE_KIND}
        yield Measured(catalogue.MAILBOX_DEPTH, self.site_depth, kind)
        yield Measured(catalogue.MAILBOX_AGE, seen.status.oldest_offer_s, kind)
        # The only question to a site that has a deadline is an event, and this is what becomes of it.
        yield Measured(catalogue.ASKS_TIMED_OUT, seen.telemetry.dropped[DropReason.LOCK_TIMEOUT], kind)
        yield from self._read_troubles()

    def _read_troubles(self) -> Iterable[Measured]:
        """Give what should not happen; begun at 0, because Prometheus sees no growth to a first value."""
        seen = self._observed
        kinds = [ref.kind for ref in seen.tree.values()] + [SITE_KIND]
        restarts = dict.fromkeys(kinds, 0)
        letters = dict.fromkeys(((kind, reason) for kind in kinds for reason in Undelivered), 0)
        for supervisor in seen.supervisors:
            for kind, count in supervisor.restarts.items():
                restarts[kind] = restarts.get(kind, 0) + count
            for key, count in supervisor.dead_letters.statistics().items():
                letters[key] = letters.get(key, 0) + count
        for kind, count in restarts.items():
            yield Measured(catalogue.ACTOR_RESTARTS, count, {"actor.kind": kind})
        for (kind, reason), count in letters.items():
            yield Measured(catalogue.DEAD_LETTERS, count, {"actor.kind": kind, "reason": reason.value})


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - since)
