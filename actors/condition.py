"""How the system is: whether it takes events, what is wrong with its parts, and its figures of the moment."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from actors.measures import Observed
from actors.outlook import GrowthRate, describe_duration, describe_outage
from actors.status import Status

TRIED_AGAIN_S: Final = 10.0
"""How long a journal that failed counts as one that fails.

Only an event shows that it works again, and to a service that is not ready a load balancer sends none.
"""


class Readiness(Struct, frozen=True):
    """Whether events are taken, and the state of each part: ``ok`` or a sentence."""

    ready: bool
    checks: Mapping[str, str]


class Front(NamedTuple):
    """The door: whether it is open, and which part of the tree crashed too often, if one did."""

    accepting: bool
    down_part: str | None


def find_readiness(seen: Observed, front: Front, journal_growth: GrowthRate, *, now: float) -> Readiness:
    """Tell what is wrong at ``now`` (UTC epoch seconds)."""
    status = seen.status
    checks = {
        "front": "ok" if front.accepting else "the service starts or stops, senders get 503",
        "actors": "ok" if front.down_part is None else f"the {front.down_part} crashed too often",
        "sites": "ok" if seen.directory.loaded else "the list of sites is not loaded yet",
        "salts": "ok" if seen.salts.at(int(now), now=now) is not None else "there is no salt for today",
        # Anybody may read this: what ClickHouse or the disk said, addresses too, is for the log alone.
        "journal": "ok" if status.journal_failed_at is None else _describe_journal(status, now),
        "clickhouse": "ok",
        "quarantine": "ok" if status.quarantine_error is None else "full, rows wait in the journal",
    }
    refuses = _refuses(status, now)
    if status.away_since is not None:
        journal = seen.journal.statistics()
        checks["clickhouse"] = describe_outage(
            max(0.0, now - status.away_since),
            free_bytes=0 if refuses and status.journal_is_full else journal.limit_bytes - journal.bytes,
            bytes_per_s=journal_growth.per_second,
        )
    for table in seen.refreshed:
        stale = "the last refresh failed, what was there before stays in force"
        checks[table.name.replace(" ", "_")] = "ok" if table.problem is None else stale
    ready = front.accepting and checks["sites"] == checks["salts"] == "ok" and not refuses
    return Readiness(ready, checks)


def _refuses(status: Status, now: float) -> bool:
    """Tell whether the journal takes no events, as far as that is known."""
    return status.journal_failed_at is not None and now - status.journal_failed_at < TRIED_AGAIN_S


def _describe_journal(status: Status, now: float) -> str:
    assert status.journal_failed_at is not None, "it failed"
    if _refuses(status, now):
        return f"it {'is full' if status.journal_is_full else 'cannot be written'}, senders get 503"
    ago = describe_duration(max(0.0, now - status.journal_failed_at))
    was = "was full" if status.journal_is_full else "could not be written"
    return f"it {was} {ago} ago, the next event tries it again"


def read_statistics(seen: Observed, *, now: float) -> Mapping[str, int]:
    """Give the figures at ``now`` (UTC epoch seconds) by name."""
    status, geo = seen.status, seen.geo.value
    # A database that does not say when it was made counts as new.
    built_at = now if geo.built_at is None else geo.built_at
    return {
        "sites_known": len(seen.directory.by_domain),
        "sites_awake": len(seen.sites),
        "sessions": seen.budget.used,
        "sessions_evicted": seen.budget.evicted,
        "events_waiting": status.events_waiting,
        "events_inserted": status.events_inserted,
        "blocks_inserted": status.blocks_inserted,
        "blocks_rejected": status.blocks_rejected,
        "blocks_postponed": status.blocks_postponed,
        "rows_quarantined": status.rows_quarantined,
        "quarantine_rows": seen.quarantine.rows,
        "quarantine_bytes": seen.quarantine.size_bytes,
        "insert_tries_failed": status.insert_tries_failed,
        "tables_stale": sum(table.problem is not None for table in seen.refreshed),
        "geo_database_age_s": max(0, int(now - built_at)),
        "geo_lookups_failed": geo.failures,
    }
