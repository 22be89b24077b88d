"""What sites remember, put together again after a kill: from the journal, and the log of what it let go of.

A session goes on from its latest state, which is the one with the most events among all that journal and log
hold (``service.session_log``). Of a visitor with several sessions the one with the latest time goes on. What
only memory knew is lost: rate limits, and which sessions were back-dated ones.
"""

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from service.errors import JournalCorrupt, JournalError
from service.ingestion.session import SESSION_LIFETIME_S
from service.journal import Journal
from service.segment import inspect
from service.wire import record
from service.wire.session_state import KeptAlive, State, kept_alive_until, read_state, read_written
from service.wire.snapshot import encode_states

MAX_ENTRIES: Final = 1_000_000
"""So many entries of the journal are looked through at a start; with more, sessions begin anew."""

log: Final = logging.getLogger(__name__)


class _TooManyError(Exception):
    """The journal holds more than a start may wait for."""


def recover_memories(journal: Journal, folder: Path, *, now: float, limit: int) -> dict[int, bytes]:
    """Give what each site would have remembered, by its id; ``limit`` sessions at most, the latest.

    ``folder`` is the journal's, ``now`` UTC epoch seconds. Never fails: what cannot be read is logged, and
    all sessions begin anew then, because one that goes on from an older state makes sums wrong.
    """
    if journal.sessions is None:
        return {}
    found = _Found()
    try:
        for states, kept_alive in journal.sessions.read():
            for raw in states:
                found.add(raw)
            for session_id, timestamp in kept_alive:
                found.keep_alive(session_id, timestamp)
        _read_journal(journal, folder, found, horizon=now - SESSION_LIFETIME_S)
        live = found.live(horizon=now - SESSION_LIFETIME_S, since=journal.sessions.since)[-limit:]
        by_site: dict[int, list[msgspec.Raw]] = {}
        for state in live:
            by_site.setdefault(state.site_id, []).append(found.bytes_of(state))
    except _TooManyError:
        log.warning("Sessions begin anew: the journal holds more than %d recent entries", MAX_ENTRIES)
        return {}
    except (OSError, JournalError, record.RecordError) as error:
        log.warning("Sessions begin anew, they cannot be put together: %s", error)
        return {}
    if live:
        log.info("Visits go on after a kill", extra={"sessions": len(live)})
    return {site_id: encode_states(states) for site_id, states in by_site.items()}


class _Found:
    """The latest state of each session so far."""

    def __init__(self) -> None:
        self._latest: dict[int, State] = {}
        self._alive: dict[int, int] = {}

    def add(self, raw: msgspec.Raw) -> None:
        state = read_state(raw)
        known = self._latest.get(state.session_id)
        if known is None or state.events > known.events:
            self._latest[state.session_id] = state._replace(raw=raw.copy())  # let go of the whole record

    def keep_alive(self, session_id: int, timestamp: int) -> None:
        if timestamp > self._alive.get(session_id, 0):
            self._alive[session_id] = timestamp

    def live(self, *, horizon: float, since: int) -> Sequence[State]:
        """Give the session that each visitor goes on with, in the order of their last change.

        The state's own time counts for being live, whatever kept it alive since: so that a state whose
        successors were already let go of for their age never comes back.
        """
        of_visitors: dict[tuple[int, int], State] = {}
        for state in self._latest.values():
            if state.timestamp > horizon and state.start >= since:
                visitor = state.site_id, state.user_id
                known = of_visitors.get(visitor)
                if known is None or state.timestamp >= known.timestamp:
                    of_visitors[visitor] = state
        return sorted(of_visitors.values(), key=self._changed_at)

    def bytes_of(self, state: State) -> msgspec.Raw:
        """Give the state as it was in memory: with the time to which it was kept alive."""
        changed_at = self._changed_at(state)
        if changed_at == state.timestamp:
            return state.raw
        return kept_alive_until(state.raw, changed_at)

    def _changed_at(self, state: State) -> int:
        return max(state.timestamp, self._alive.get(state.session_id, 0))


def _read_journal(journal: Journal, folder: Path, found: _Found, *, horizon: float) -> None:
    left = MAX_ENTRIES
    for segment in journal.pending():
        path = folder / segment.file_name
        if path.stat().st_mtime < horizon:
            continue  # whatever it holds is over
        left -= segment.records
        if left < 0:
            raise _TooManyError
        try:
            _, data = inspect(path)
        except JournalCorrupt as error:
            raise record.RecordError(str(error)) from error
        for written in itertools.chain.from_iterable(map(read_written, record.read_records(data).records)):
            if isinstance(written, KeptAlive):
                found.keep_alive(*written)
            else:
                found.add(written)
