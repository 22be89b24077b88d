"""The log of session states: what was noted is there after a kill, and what cannot be trusted is given up."""

import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from service import session_log
from service.errors import JournalError
from service.ingestion.rows import ClickhouseSession
from service.session_log import HEADER_BYTES, KEPT_S, REWRITE_EVERY_S, SessionLog
from service.wire import record
from service.wire.entry import decode_session
from tests.support.entries import make_entry

NOW = 1_795_000_000.25
BOOT = b"one start of it."


def _first_state() -> ClickhouseSession:
    session = make_entry(session_id=1).session
    assert session is not None
    return session


FIRST = _first_state()
SECOND = replace(FIRST, timestamp=FIRST.timestamp + 60, events=2)
OTHER = replace(FIRST, session_id=2, user_id=8)


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place for a log, where nothing is yet."""
    return tmp_path / "recent.sessions"


def open_log(path: Path, clock: Clock | None = None, *, sync: bool = False, boot: bytes = BOOT) -> SessionLog:
    """Open a log on a machine that was not started again."""
    return SessionLog.open(path, since=NOW, now=clock or Clock(), sync=sync, boot=boot)


def held(log: SessionLog) -> tuple[list[ClickhouseSession], list[tuple[int, int]]]:
    """All states and kept-alive times, in the order of their notes."""
    states, kept_alive = [], []
    for raw_states, pairs in log.read():
        states += [decode_session(msgspec.msgpack.decode(raw)) for raw in raw_states]
        kept_alive += pairs
    return states, kept_alive


@pytest.mark.parametrize("sync", [False, True])
def test_what_was_noted_is_there_after_a_kill(path: Path, sync: bool) -> None:
    """The next life finds every note, knows since when they are complete, and goes on behind them."""
    first = open_log(path, sync=sync)
    first.note([FIRST, OTHER], [])
    later = Clock()
    later.now += 100

    log = open_log(path, later, sync=sync)
    log.note([SECOND], [(1, SECOND.timestamp + 5)])

    assert held(log) == ([FIRST, OTHER, SECOND], [(1, SECOND.timestamp + 5)])
    assert log.since == int(NOW) + 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_at_once(path: Path) -> None:
    """A block of more states than a record holds comes back whole, and so do kept-alive times alone."""
    states = [replace(FIRST, session_id=number) for number in range(1_234)]
    log = open_log(path)

    log.note(states, [])
    log.note([], [(number, 1) for number in range(777)])

    assert held(open_log(path)) == (states, [(number, 1) for number in range(777)])


@pytest.mark.parametrize("cut", [1, 8, 40])
def test_a_torn_end_is_cut_off(path: Path, cut: int) -> None:
    """What precedes a torn note is kept, and the next note is written in its place."""
    log = open_log(path)
    log.note([FIRST], [])
    log.note([OTHER], [])
    path.write_bytes(path.read_bytes()[:-cut])

    log = open_log(path)
    log.note([SECOND], [])

    assert held(open_log(path)) == ([FIRST, SECOND], [])


def _flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: b"", "no log of sessions"),
        (lambda _: b"something else" * 10, "no log of sessions"),
        (lambda data: data[:8] + b"\x63\x00" + data[10:], "version 99"),
        (_flip(30), "checksum of its header"),
        (_flip(HEADER_BYTES + 50), "damaged at byte"),
        (lambda data: data + record.frame(b"\x01"), "cannot be decoded"),
    ],
)
def test_a_bad_one_is_set_aside_with_a_message(
    path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[bytes], bytes], words: str
) -> None:
    """A log that is damaged, foreign or of another version is kept beside, and another one is begun."""
    open_log(path).note([FIRST], [])
    path.write_bytes(change(path.read_bytes()))
    later = Clock()
    later.now += 100

    log = open_log(path, later)

    assert held(log) == ([], [])
    assert log.since == int(later.now) + 1
    assert path.with_suffix(".damaged").exists()
    assert words in caplog.text


@pytest.mark.parametrize(
    ("before", "after", "boot", "trusted"),
    [
        (False, False, BOOT, True),
        (False, False, b"another start...", False),
        (False, True, BOOT, False),
        (True, False, BOOT, False),
        (True, True, b"another start...", True),
    ],
)
def test_what_the_disk_did_not_confirm(
    path: Path, *, before: bool, after: bool, boot: bytes, trusted: bool
) -> None:
    """Notes that no disk confirmed are not believed after another start of the machine."""
    open_log(path, sync=before).note([FIRST], [])

    log = open_log(path, sync=after, boot=boot)

    assert held(log) == (([FIRST], []) if trusted else ([], []))


def test_a_machine_that_does_not_say_when_it_was_started(path: Path) -> None:
    """Where starts cannot be told apart, only what the disk confirmed is believed."""
    open_log(path, boot=bytes(16)).note([FIRST], [])

    assert held(open_log(path, boot=bytes(16))) == ([], [])


def test_a_note_that_cannot_be_written(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All is given up then: an older state must not pass for the latest. The next note begins anew."""
    clock = Clock()
    log = open_log(path, clock)
    log.note([FIRST], [])
    path.unlink()
    path.symlink_to("/dev/full")

    log.note([SECOND], [])
    clock.now += 100
    log.note([OTHER], [])

    assert "cannot be written" in caplog.text
    assert held(log) == ([OTHER], [])
    assert open_log(path).since == log.since == int(clock.now) + 1


def test_a_disk_that_does_not_even_delete(path: Path) -> None:
    """The old notes would stay beside newer states, so the block must stay in the journal: it is told."""
    log = open_log(path)
    path.unlink()
    path.mkdir()

    with pytest.raises(JournalError):
        log.note([FIRST], [])


def test_a_disk_that_refuses_the_start(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log that cannot be begun does not stop the service."""
    path.mkdir()

    open_log(path)

    assert "cannot be used" in caplog.text


def test_it_is_rewritten(path: Path) -> None:
    """From time to time what was replaced or is too old leaves the log, and the rest stays as it was."""
    clock = Clock()
    log = open_log(path, clock)
    log.note([FIRST, OTHER], [(1, FIRST.timestamp + 1), (2, FIRST.timestamp + 1)])
    log.note([SECOND], [])
    clock.now = FIRST.timestamp + KEPT_S + 30

    log.note([], [(1, int(clock.now))])

    assert held(log) == ([SECOND], [(1, int(clock.now))])
    assert held(open_log(path)) == held(log)
    assert log.since == int(NOW) + 1


@pytest.mark.parametrize("sync", [False, True])
def test_its_size_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch, sync: bool) -> None:
    """The same visits, however often they change, take the room of a few states."""
    monkeypatch.setattr(session_log, "REWRITE_BYTES", 10_000)
    log = open_log(path, sync=sync)

    for events in range(1, 2_000):
        log.note([replace(FIRST, events=events)], [(1, events)])

    assert path.stat().st_size < 12_000
    assert max(state.events for state in held(open_log(path, sync=sync))[0]) == 1_999


def test_more_than_it_may_hold(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Visits beyond its bound are not remembered for a kill, and the log says so."""
    monkeypatch.setattr(session_log, "MAX_BYTES", 10_000)
    clock = Clock()
    log = open_log(path, clock)
    log.note([replace(FIRST, session_id=number) for number in range(100)], [])
    clock.now += REWRITE_EVERY_S

    log.note([OTHER], [])

    assert "100 visits" in caplog.text
    assert held(log) == ([], [])
    assert not path.exists()
