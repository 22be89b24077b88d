import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.gate import RateLimit
from service.snapshot import MAX_AGE_S, read_snapshot, take_snapshot, write_snapshot
from service.wire.record import RecordError
from service.wire.snapshot import Memory, decode_memory, encode_memory
from tests.support.entries import entries, make_entry

NOW = 1_795_003_200.0
MEMORIES = {1: b"one", 2**40: b"", 7: b"x" * 100_000}


def test_what_is_written_is_taken_once(tmp_path: Path) -> None:
    """The memories come back whole, and the file is gone: it must not be read a second time."""
    path = tmp_path / "sessions.snapshot"
    write_snapshot(path, MEMORIES, now=NOW)
    mode = stat.S_IMODE(path.stat().st_mode)

    assert take_snapshot(path, now=NOW + 1) == MEMORIES
    assert take_snapshot(path, now=NOW + 1) == {}
    assert mode == 0o600
    assert not list(tmp_path.iterdir())


def test_looking_leaves_it_there(tmp_path: Path) -> None:
    """Who only looks gets the memories while they are fresh, and leaves every file, a damaged one too."""
    path = tmp_path / "sessions.snapshot"
    assert read_snapshot(path, now=NOW) == {}
    write_snapshot(path, MEMORIES, now=NOW)
    assert read_snapshot(path, now=NOW + 1) == MEMORIES
    assert read_snapshot(path, now=NOW + MAX_AGE_S + 1) == {}
    assert take_snapshot(path, now=NOW + 1) == MEMORIES
    path.write_bytes(b"damaged")
    assert read_snapshot(path, now=NOW) == {}
    assert path.read_bytes() == b"damaged"


def test_an_old_one_is_not_used(tmp_path: Path) -> None:
    """After half an hour no session could go on."""
    path = tmp_path / "sessions.snapshot"
    write_snapshot(path, MEMORIES, now=NOW)

    assert take_snapshot(path, now=NOW + MAX_AGE_S + 1) == {}
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "damaged"),
        (lambda data: data[:20], "torn"),
        (lambda data: data[:-1] + b"?", "damaged"),
        (lambda data: b"something else", "no snapshot"),
        (lambda data: data[:8] + b"\x63\x00" + data[10:], "version 99"),
    ],
)
def test_a_bad_one_is_set_aside_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: object, words: str
) -> None:
    """A damaged snapshot, or one of another version, is kept beside, and the log says why."""
    path = tmp_path / "sessions.snapshot"
    write_snapshot(path, {1: b"memory"}, now=NOW)
    assert callable(change)
    path.write_bytes(change(path.read_bytes()))

    assert take_snapshot(path, now=NOW) == {}
    assert not path.exists()
    assert (tmp_path / "sessions.damaged").exists()
    assert words in caplog.text


@given(st.binary(max_size=200))
def test_no_bytes_break_the_start(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Whatever is in the file, the service starts without memories."""
    path = tmp_path_factory.mktemp("snapshot") / "sessions.snapshot"
    path.write_bytes(data)

    assert take_snapshot(path, now=NOW) == {}


@given(st.lists(entries(), max_size=5), st.floats(0, 4e9))
def test_a_memory_comes_back_equal(states: list[object], changed_at: float) -> None:
    """Sessions of any content survive the way through bytes."""
    sessions = tuple(getattr(entry, "session", None) for entry in states)
    kept = tuple(session for session in sessions if session is not None)
    memory = Memory(RateLimit(60, 29_916_720, 3), kept, ((changed_at, kept),))

    assert decode_memory(encode_memory(memory)) == memory


@pytest.mark.parametrize("payload", [b"", b"\xc1", encode_memory(Memory(RateLimit(), (), ()))[:-1]])
def test_a_bad_memory_is_an_error_of_its_own(payload: bytes) -> None:
    """Bytes that are no memory raise RecordError and nothing else."""
    with pytest.raises(RecordError):
        decode_memory(payload)


def test_a_memory_names_no_visitor() -> None:
    """A remembered session holds the day's hash of its visitor, and no address or user agent."""
    session = make_entry().session
    assert session is not None

    assert {"remote_ip", "user_agent"}.isdisjoint(session.__struct_fields__)
