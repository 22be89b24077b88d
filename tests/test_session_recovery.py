"""Sessions after a kill: what is put together is the latest state of each, or nothing."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from service import session_recovery
from service.clickhouse.store import BlockTrigger
from service.ingestion.rows import ClickhouseSession, Entry
from service.ingestion.session import SESSION_LIFETIME_S
from service.insertion import build_block, note_sessions
from service.journal import Journal, SegmentInfo
from service.session_log import SESSION_LOG
from service.session_recovery import recover_memories
from service.wire.snapshot import decode_memory
from tests.support.entries import make_entry, read_segment

START = 1_795_000_000
PLAIN = make_entry()


def entry_of(state: ClickhouseSession, replaced: ClickhouseSession | None = None) -> Entry:
    """Give the entry of a pageview that leaves the session in this state."""
    event = replace(PLAIN.event, session_id=state.session_id, timestamp=state.timestamp)
    return Entry(event, replaced, state)


def engagement(session_id: int, timestamp: int) -> Entry:
    """Give the entry of an engagement, which writes no state."""
    event = replace(PLAIN.event, session_id=session_id, timestamp=timestamp, name="engagement")
    return Entry(event, None, None)


def first_state(session_id: int, *, visitor: int, at: int, site_id: int = 1) -> ClickhouseSession:
    """Give the first state of a session."""
    assert PLAIN.session is not None
    return replace(
        PLAIN.session, session_id=session_id, user_id=visitor, site_id=site_id, start=at, timestamp=at
    )


def next_state(state: ClickhouseSession, at: int) -> ClickhouseSession:
    """Give the state after one more event."""
    return replace(state, timestamp=at, events=state.events + 1, duration=at - state.start)


class Life:
    """A journal with the clock of a test, and what one finds in it after a kill."""

    def __init__(self, folder: Path, *, now: int = START) -> None:
        self.folder = folder / "journal"
        self.now = now
        self.start()

    def start(self) -> None:
        """Open the journal, as after a kill."""
        self.journal = Journal.open(
            self.folder, durability="os", max_bytes=2**30, now=lambda: float(self.now)
        )

    def append(self, *entries: Entry) -> None:
        """Make entries durable."""
        self.journal.append(entries)

    def finish(self, segment: SegmentInfo, *, delete: bool = True) -> None:
        """Do what follows when a block is stored."""
        block = build_block(segment.id, BlockTrigger.AGE, read_segment(self.journal, segment))
        assert self.journal.sessions is not None
        note_sessions(self.journal.sessions, block)
        if delete:
            self.journal.remove(segment)

    def finish_all(self) -> None:
        """Store all that waits."""
        self.journal.rotate()
        for segment in self.journal.pending():
            self.finish(segment)

    def kill(self) -> None:
        """End the life and begin another."""
        self.journal.close()
        self.start()

    def recovered(self, *, limit: int = 1000) -> list[ClickhouseSession]:
        """Give the sessions that go on, site by site."""
        memories = recover_memories(self.journal, self.folder, now=self.now, limit=limit)
        return [session for memory in memories.values() for session in decode_memory(memory).live]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A new journal, a moment after its start."""
    life = Life(tmp_path)
    life.now += 10
    return life


@pytest.mark.parametrize("stored", [0, 1, 2, 3])
def test_wherever_its_states_are(life: Life, stored: int) -> None:
    """A session goes on from its latest state, whatever of it was stored before the kill."""
    states = [first_state(1, visitor=7, at=life.now)]
    for _ in range(2):
        life.now += 60
        states.append(next_state(states[-1], life.now))
    for number, state in enumerate(states, 1):
        life.append(entry_of(state))
        if number <= stored:
            life.finish_all()

    life.kill()

    assert life.recovered() == [states[-1]]


def test_kept_alive_by_an_engagement(life: Life) -> None:
    """The time to which engagements kept it alive counts, wherever they are written."""
    state = first_state(1, visitor=7, at=life.now)
    life.append(entry_of(state), engagement(1, life.now + 5))
    life.finish_all()
    life.append(engagement(1, life.now + 9))

    life.kill()

    assert life.recovered() == [replace(state, timestamp=life.now + 9)]


def test_the_later_one_of_a_visitor(life: Life) -> None:
    """Of two sessions of one visitor the later one goes on; other visitors and sites have their own."""
    late = first_state(1, visitor=7, at=life.now)
    sessions = [
        late,
        first_state(2, visitor=7, at=life.now - 3),
        first_state(3, visitor=7, at=life.now, site_id=2),
        first_state(4, visitor=8, at=life.now),
    ]
    life.append(*map(entry_of, sessions))

    assert life.recovered() == []  # its segment is open still: nobody was killed
    life.kill()

    assert life.recovered() == [late, sessions[3], sessions[2]]


def test_only_so_many(life: Life) -> None:
    """With more sessions than may be kept, the latest go on."""
    states = [first_state(number, visitor=number, at=life.now + number) for number in range(1, 6)]
    life.append(*map(entry_of, states))
    life.now += 10
    life.kill()

    assert life.recovered(limit=2) == states[3:]


def test_what_was_before_the_log(life: Life) -> None:
    """A session that began before the log has states that were let go of unseen: it does not go on."""
    state = first_state(1, visitor=7, at=life.now)
    life.append(entry_of(state))
    life.now += 10
    (life.folder / SESSION_LOG).unlink()

    life.kill()

    assert life.recovered() == []


def test_an_old_one_is_over(life: Life) -> None:
    """What was not changed for the time a session lives does not go on, though the journal still has it."""
    life.append(entry_of(first_state(1, visitor=7, at=life.now)))
    life.now += SESSION_LIFETIME_S
    life.kill()

    assert life.recovered() == []


def test_a_journal_that_is_too_long(
    life: Life, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A start does not wait for a very long journal: sessions begin anew, and the log says so."""
    monkeypatch.setattr(session_recovery, "MAX_ENTRIES", 1)
    for number in (1, 2):
        life.append(entry_of(first_state(number, visitor=number, at=life.now)))
    life.kill()

    assert life.recovered() == []
    assert "more than 1 recent entries" in caplog.text


def test_a_log_that_cannot_be_read(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    """Of a log that was damaged since it was opened nothing is used, and no part of the journal either."""
    life.append(entry_of(first_state(1, visitor=7, at=life.now)))
    life.finish_all()
    life.append(entry_of(first_state(2, visitor=8, at=life.now)))
    life.kill()
    log = life.folder / SESSION_LOG
    log.write_bytes(log.read_bytes()[:-1] + b"?")

    assert life.recovered() == []
    assert "cannot be put together" in caplog.text


def test_a_journal_in_memory(tmp_path: Path) -> None:
    """A journal that keeps nothing has no sessions for another life."""
    journal = Journal.open(tmp_path / "journal", durability="memory", max_bytes=2**20)

    assert recover_memories(journal, tmp_path / "journal", now=START, limit=10) == {}


class Kills(RuleBasedStateMachine):
    """Visits of a few people, blocks stored in any order, kills: what goes on is what was last written."""

    @initialize()
    def begin(self) -> None:
        self.place = tempfile.TemporaryDirectory(prefix="kills-")
        self.life = Life(Path(self.place.name))
        self.life.now += 1
        self.current: dict[int, ClickhouseSession] = {}
        self.alive: dict[int, int] = {}
        self.sessions = 0

    @rule(visitor=st.integers(1, 3), pause=st.sampled_from([0, 1, 60, 900, SESSION_LIFETIME_S]))
    def visit(self, visitor: int, pause: int) -> None:
        """Somebody looks at a page."""
        now = self.life.now = self.life.now + pause
        before = self.current.get(visitor)
        if before is not None and now - self._changed_at(before) < SESSION_LIFETIME_S:
            after = next_state(before, now)
        else:
            self.sessions += 1
            before, after = None, first_state(self.sessions, visitor=visitor, at=now)
        self.life.append(entry_of(after, before))
        self.current[visitor] = after

    @rule(visitor=st.integers(1, 3), pause=st.sampled_from([0, 300, 1200]))
    def engage(self, visitor: int, pause: int) -> None:
        """Somebody reads on."""
        now = self.life.now = self.life.now + pause
        known = self.current.get(visitor)
        if known is not None and now - self._changed_at(known) < SESSION_LIFETIME_S:
            self.life.append(engagement(known.session_id, now))
            self.alive[known.session_id] = now

    @rule()
    def rotate(self) -> None:
        """A block is closed."""
        self.life.journal.rotate()

    @precondition(lambda self: self.life.journal.pending())
    @rule(data=st.data(), delete=st.booleans())
    def store(self, data: st.DataObject, *, delete: bool) -> None:
        """A block is stored, not always the oldest; the process may die before it is deleted."""
        segment = data.draw(st.sampled_from(self.life.journal.pending()))
        self.life.finish(segment, delete=delete)
        if not delete:
            self.life.kill()

    @rule()
    def kill(self) -> None:
        """The process dies."""
        self.life.kill()

    @invariant()
    def goes_on_from_the_last_state(self) -> None:
        """After a kill at this moment each live session has its last state, and no other comes back."""
        if not hasattr(self, "life"):
            return
        with tempfile.TemporaryDirectory(prefix="kills-") as place:
            shutil.copytree(self.life.folder, Path(place) / "journal")
            after = Life(Path(place), now=self.life.now)
            found = {state.session_id: state for state in after.recovered()}
            after.journal.close()
        horizon = self.life.now - SESSION_LIFETIME_S
        expected = {
            state.session_id: replace(state, timestamp=self._changed_at(state))
            for state in self.current.values()
            if state.timestamp > horizon
        }
        assert found == expected

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.life.journal.close()
            self.place.cleanup()

    def _changed_at(self, state: ClickhouseSession) -> int:
        return max(state.timestamp, self.alive.get(state.session_id, 0))


TestKills = Kills.TestCase
TestKills.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
