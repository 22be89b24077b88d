"""The keys that are remembered: for 24 hours, over restarts, and no more than may be."""

import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.errors import JournalError
from service.remembered_keys import GENERATION_S, REMEMBERED_S, RememberedKeys
from tests.support.running_system import NOON, SetClock


def key(number: int) -> bytes:
    """Give a key."""
    return number.to_bytes(16, "big")


def reopen(folder: Path, clock: SetClock, *, limit: int = 1000, sync: bool = False) -> RememberedKeys:
    """Read the folder as the next process does."""
    return RememberedKeys.open(folder, limit=limit, sync=sync, clock=clock)


@pytest.mark.parametrize("sync", [False, True])
def test_what_is_saved_survives(sync: bool, tmp_path: Path) -> None:
    """Saved in one piece or in several; what was not saved is the journal's to remember."""
    clock = SetClock(NOON)
    keys = reopen(tmp_path / "keys", clock, sync=sync)
    keys.add([key(1), key(2), key(1)])
    keys.save()
    keys.add([key(3)])
    keys.save()
    keys.add([key(4)])
    again = reopen(tmp_path / "keys", clock)

    assert [key(number) in keys for number in (1, 2, 3, 4, 5)] == [True, True, True, True, False]
    assert [key(number) in again for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert (len(keys), len(again)) == (4, 3)
    (file,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_saved_with_nothing_to_save(tmp_path: Path) -> None:
    """No event with a key makes no file."""
    reopen(tmp_path, SetClock(NOON)).save()

    assert not list(tmp_path.iterdir())


def test_forgotten_after_a_day(tmp_path: Path) -> None:
    """Not before 24 hours, and not long after; the file goes with it, also when nobody was there to see."""
    clock = SetClock(NOON)
    keys = reopen(tmp_path, clock)
    keys.add([key(1)])
    keys.save()
    clock.now += REMEMBERED_S
    keys.forget_old()
    before = key(1) in keys
    keys.add([key(2)])
    keys.save()
    clock.now += GENERATION_S + 1
    again = reopen(tmp_path, clock)
    keys.forget_old()

    assert before
    assert (key(1) in keys, key(1) in again) == (False, False)
    assert (key(2) in keys, key(2) in again) == (True, True)
    assert len(list(tmp_path.iterdir())) == 1


def test_too_many(tmp_path: Path) -> None:
    """The oldest are forgotten, some at a time, counted; their files too."""
    clock = SetClock(NOON)
    keys = reopen(tmp_path, clock, limit=160)
    for number in range(200):
        keys.add([key(number)])
        keys.save()

    assert 150 <= len(keys) <= 160
    assert len(keys) + keys.forgotten == 200
    assert key(199) in keys
    assert key(0) not in keys
    assert len(list(tmp_path.iterdir())) <= 16
    assert len(reopen(tmp_path, clock, limit=80)) <= 80


@pytest.mark.parametrize("cut", range(1, 42))
def test_torn_file(cut: int, tmp_path: Path) -> None:
    """What a crash cut off is not read; the whole keys before it are."""
    clock = SetClock(NOON)
    keys = reopen(tmp_path, clock)
    keys.add([key(1)])
    keys.save()
    keys.add([key(2)])
    keys.save()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-cut])
    again = reopen(tmp_path, clock)

    assert (key(1) in again, key(2) in again) == (cut <= 24, False)


def test_foreign_file(tmp_path: Path) -> None:
    """A file of another version ends the start with a sentence."""
    (tmp_path / "1-2.keys").write_bytes(b"GATEHKEY\x02\x00" + bytes(8))

    with pytest.raises(JournalError, match="not written by this version"):
        reopen(tmp_path, SetClock(NOON))


def test_disk_that_refuses(tmp_path: Path) -> None:
    """What could not be saved is saved the next time."""
    clock = SetClock(NOON)
    folder = tmp_path / "keys"
    keys = reopen(folder, clock)
    keys.add([key(1)])
    folder.rmdir()
    with pytest.raises(JournalError):
        keys.save()
    folder.mkdir()
    keys.save()

    assert key(1) in keys
    assert key(1) in reopen(folder, clock)


def test_memory_only() -> None:
    """Without a folder keys live as long as the process."""
    keys = RememberedKeys(None, limit=10, sync=False, clock=SetClock(NOON))
    keys.add([key(1)])
    keys.save()

    assert key(1) in keys


class Machine(RuleBasedStateMachine):
    """Keys come, are saved, time goes on, and processes end without saving."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = SetClock(NOON)
        self.known: dict[bytes, float] = {}
        self.saved: dict[bytes, float] = {}
        self.keys = reopen(Path(self.folder.name), self.clock)

    @rule(numbers=st.lists(st.integers(0, 30), max_size=5))
    def add(self, numbers: list[int]) -> None:
        """Keys come in; one that is known keeps its time."""
        for number in numbers:
            if key(number) not in self.keys:
                self.known[key(number)] = self.clock.now
        self.keys.add(map(key, numbers))

    @rule()
    def save(self) -> None:
        """All of them are on disk now."""
        self.keys.save()
        self.saved = dict(self.known)

    @rule(hours=st.floats(0, 30))
    def wait(self, hours: float) -> None:
        """Time goes on."""
        self.clock.now += hours * 3600
        self.keys.forget_old()

    @rule()
    def die(self) -> None:
        """The process is killed, and the next one begins."""
        self.keys = reopen(Path(self.folder.name), self.clock)
        self.known = dict(self.saved)

    @invariant()
    def remembers_a_day(self) -> None:
        """All of the last 24 hours is known, and nothing older than 25."""
        for known, since in self.known.items():
            age_s = self.clock.now - since
            if age_s <= REMEMBERED_S:
                assert known in self.keys
            elif age_s > REMEMBERED_S + GENERATION_S:
                assert known not in self.keys

    def teardown(self) -> None:
        """Take the folder away."""
        self.folder.cleanup()


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
