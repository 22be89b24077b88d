"""The write-ahead journal: what it promised is there, what it refused is not, nothing is deleted unread."""

import asyncio
import contextlib
import errno
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.errors import JournalCorrupt, JournalError, JournalFull, JournalLocked
from service.ingestion.rows import Entry
from service.journal import Durability, Journal, SegmentInfo
from service.progress import Fate, Part, RowTable
from service.segment import MOST_REMOVED_AT_ONCE, Remover
from service.wire import record
from service.wire.entry import encode_records
from tests.support.entries import encode_alone, make_entry, read_segment

ROOT = Path(__file__).parents[1]
NOW = 1_795_000_000.25
ONE = make_entry(session_id=1)
TWO = make_entry(session_id=2, pathname=b"/\xff")
THREE = make_entry(session_id=3)
FRAME_BYTES = len(encode_records([ONE]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place for a journal, where nothing is yet."""
    return tmp_path / "journal"


def open_journal(
    folder: Path,
    durability: Durability = "os",
    max_bytes: int = 10**6,
    fdatasync: Callable[[int], None] = os.fdatasync,
) -> Journal:
    """Open a journal that is large enough and always has the same time."""
    return Journal.open(
        folder, durability=durability, max_bytes=max_bytes, now=lambda: NOW, fdatasync=fdatasync
    )


def append(journal: Journal, *entries: Entry) -> None:
    """Append entries in one piece."""
    journal.append(entries)


def rotated(journal: Journal) -> SegmentInfo:
    """Close the open segment, which is not empty."""
    segment = journal.rotate()
    assert segment is not None
    return segment


def open_files_below(folder: Path) -> list[str]:
    """Name the files of a folder that this process holds open, those that were deleted too."""
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own, and what others close meanwhile
            names.append(str(descriptor.readlink()))
    return [name for name in names if name.startswith(str(folder))]


def stored(journal: Journal) -> list[Entry]:
    """All entries of all closed segments."""
    return [entry for segment in journal.pending() for entry in read_segment(journal, segment)]


def reopened(folder: Path) -> list[Entry]:
    """What the next process finds."""
    with contextlib.closing(open_journal(folder)) as journal:
        return stored(journal)


class TestSegments:
    @pytest.mark.parametrize("durability", ["memory", "os", "fsync"])
    async def test_entries_come_back(self, folder: Path, durability: Durability) -> None:
        """A closed segment gives its entries in the order of their appends, in every durability."""
        journal = open_journal(folder, durability)
        append(journal, ONE, TWO)
        append(journal, THREE)
        await journal.sync()

        segment = rotated(journal)

        assert read_segment(journal, segment) == [ONE, TWO, THREE]
        assert journal.pending() == [segment]

    @pytest.mark.parametrize("durability", ["memory", "os"])
    def test_what_a_segment_says(self, folder: Path, durability: Durability) -> None:
        """A segment knows its place, age, size and number of entries; its id is 32 hex digits."""
        journal = open_journal(folder, durability)
        append(journal, ONE)
        append(journal, ONE)

        segment = rotated(journal)

        size = record.HEADER_BYTES + 2 * FRAME_BYTES
        assert segment == SegmentInfo(1, segment.id, 1_795_000_000_250, size, 2)
        assert len(bytes.fromhex(segment.id)) == 16

    def test_each_segment_its_own_id(self, folder: Path) -> None:
        """The next append after a rotate begins a segment with another id and the next number."""
        journal = open_journal(folder)
        append(journal, ONE)
        first = rotated(journal)
        append(journal, TWO)
        second = rotated(journal)

        assert first.id != second.id
        assert [first.sequence, second.sequence] == [1, 2]
        assert stored(journal) == [ONE, TWO]

    def test_nothing_to_rotate(self, folder: Path) -> None:
        """Where nothing was appended there is no segment, and no file."""
        journal = open_journal(folder)
        journal.append([])

        assert journal.rotate() is None
        assert list(folder.glob("*.gh")) == []

    @pytest.mark.parametrize("durability", ["memory", "os"])
    def test_remove(self, folder: Path, durability: Durability) -> None:
        """A removed segment is gone, its bytes count no more, and removing it twice is no error."""
        journal = open_journal(folder, durability)
        append(journal, ONE)
        segment = rotated(journal)

        journal.remove(segment)
        journal.remove(segment)

        assert journal.pending() == []
        assert journal.statistics().bytes == 0
        assert list(folder.glob("*.gh")) == []
        with pytest.raises(JournalError, match="There is no closed segment"):
            read_segment(journal, segment)

    def test_statistics(self, folder: Path) -> None:
        """The figures cover closed and open segments."""
        journal = open_journal(folder, max_bytes=5000)
        append(journal, ONE)
        rotated(journal)
        append(journal, ONE, ONE)

        figures = journal.statistics()

        assert (figures.segments, figures.oldest_sequence, figures.records_appended) == (2, 1, 3)
        assert figures.bytes == sum(path.stat().st_size for path in folder.glob("*.gh"))
        assert (figures.limit_bytes, figures.oldest_created_ms) == (5000, 1_795_000_000_250)

    def test_modes(self, folder: Path) -> None:
        """Only the owner may enter the folder or read a file in it."""
        journal = open_journal(folder)
        append(journal, ONE)

        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(("durability", "is_cut"), [("os", True), ("memory", False)])
def test_the_disk_may_be_full_before(durability: Durability, is_cut: bool, folder: Path) -> None:
    """What the journal may grow to is no more than its disk takes, if it has one."""
    with contextlib.closing(open_journal(folder, durability, max_bytes=2**60)) as journal:
        append(journal, ONE)
        figures = journal.statistics()

    assert figures.bytes < figures.limit_bytes
    assert (figures.limit_bytes < 2**60) is is_cut


class TestRestart:
    def test_open_segment_is_closed(self, folder: Path) -> None:
        """What was open when a process ended is a closed segment of the next, under the same id."""
        journal = open_journal(folder)
        append(journal, ONE, TWO)
        (file,) = folder.glob("*.gh")
        journal.close()
        journal.close()

        again = open_journal(folder)

        assert [segment.file_name for segment in again.pending()] == [file.name]
        assert stored(again) == [ONE, TWO]

    def test_numbers_go_on(self, folder: Path) -> None:
        """New segments come after those that were found."""
        journal = open_journal(folder)
        append(journal, ONE)
        journal.close()

        again = open_journal(folder)
        append(again, TWO)
        rotated(again)

        assert [segment.sequence for segment in again.pending()] == [1, 2]

    def test_memory_forgets_but_finds(self, folder: Path) -> None:
        """``memory`` leaves no segment behind, but replays what an earlier, more careful process left."""
        careful = open_journal(folder)
        append(careful, ONE)
        careful.close()

        careless = open_journal(folder, "memory")
        append(careless, TWO)
        careless.close()

        assert reopened(folder) == [ONE]

    @pytest.mark.parametrize("round_", range(3))
    def test_kill(self, folder: Path, round_: int) -> None:
        """Whatever a process was promised before kill -9 is there, once and in order."""
        command = [sys.executable, "-m", "tests.support.journal_writer", str(folder)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in itertools.islice(writer.stdout, 100 + 37 * round_):
                continue
            writer.send_signal(signal.SIGKILL)
            promised = 100 + 37 * round_ + len(writer.stdout.readlines())

        found = [entry.event.session_id for entry in reopened(folder)]

        # One more may be there: written, but killed before it could say so.
        assert found in (list(range(1, promised + 1)), list(range(1, promised + 2)))


class TestLock:
    def test_second_process(self, folder: Path) -> None:
        """A second process is told which one owns the folder; when that is gone it gets in."""
        command = [sys.executable, "-m", "tests.support.journal_writer", str(folder)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()

            with pytest.raises(JournalLocked, match=f"is in use by process {writer.pid}: one service"):
                open_journal(folder)
            writer.kill()

        open_journal(folder).close()

    def test_no_folder(self, folder: Path) -> None:
        """A folder that cannot be made is an error with its name."""
        folder.write_text("a file is in the way")

        with pytest.raises(JournalError, match="journal: File exists"):
            open_journal(folder)


class TestDamage:
    def test_cut_anywhere(self, folder: Path, tmp_path: Path) -> None:
        """Wherever a segment's file is cut, the next process finds the entries before the cut."""
        journal = open_journal(folder)
        for _ in range(3):
            append(journal, ONE)
        journal.close()
        (original,) = folder.glob("*.gh")
        content = original.read_bytes()

        for cut in range(len(content)):
            torn = tmp_path / f"cut-{cut}"
            torn.mkdir()
            (torn / original.name).write_bytes(content[:cut])

            whole, rest = divmod(max(cut - record.HEADER_BYTES, 0), FRAME_BYTES)
            assert reopened(torn) == [ONE] * whole
            assert (torn / "damaged" / original.name).exists() == (rest > 0)

    def test_cut_append(self, folder: Path) -> None:
        """Of an append whose bytes are not all there, no entry is read: nobody was told that one is safe."""
        journal = open_journal(folder)
        append(journal, ONE)
        append(journal, TWO, THREE)
        journal.close()
        (path,) = folder.glob("*.gh")
        path.write_bytes(path.read_bytes()[:-1])

        assert reopened(folder) == [ONE]

    def test_segments_of_before(self, folder: Path) -> None:
        """A journal that an earlier version left has its entries in their order, and its keys."""
        journal = open_journal(folder)
        append(journal, ONE)
        journal.close()
        (path,) = folder.glob("*.gh")
        head = path.read_bytes()[: record.HEADER_BYTES]
        key = bytes(range(16))
        found: list[bytes] = []
        path.write_bytes(head + encode_alone(ONE) + encode_alone(TWO, key) + encode_alone(THREE))

        journal = Journal.open(folder, durability="os", max_bytes=10**6, remember=found.extend)
        with contextlib.closing(journal):
            [segment] = journal.pending()
            assert segment.records == 3
            assert read_segment(journal, segment) == [ONE, TWO, THREE]
            assert found == journal.keys(segment) == [key]

    def test_changed_byte(self, folder: Path) -> None:
        """Damage in the middle costs what follows it; that is kept as a segment in ``damaged/``."""
        journal = open_journal(folder)
        for entry in (ONE, TWO, THREE):
            append(journal, entry)
        journal.close()
        (path,) = folder.glob("*.gh")
        content = bytearray(path.read_bytes())
        content[record.HEADER_BYTES + FRAME_BYTES + 20] ^= 1
        path.write_bytes(content)

        assert reopened(folder) == [ONE]
        aside = (folder / "damaged" / path.name).read_bytes()
        assert record.decode_header(aside).id in path.name
        assert aside[record.HEADER_BYTES :] == content[record.HEADER_BYTES + FRAME_BYTES :]
        assert reopened(folder) == [ONE]

    def test_damaged_again(self, folder: Path) -> None:
        """What was set aside the first time stays beside what is set aside later."""
        journal = open_journal(folder)
        for entry in (ONE, TWO, THREE):
            append(journal, entry)
        journal.close()
        (path,) = folder.glob("*.gh")
        content = path.read_bytes()
        cuts = [record.HEADER_BYTES + FRAME_BYTES + 20, record.HEADER_BYTES + 20]
        for place in cuts:
            damaged = bytearray(path.read_bytes())
            damaged[place] ^= 1
            path.write_bytes(damaged)
            reopened(folder)

        later, earlier = cuts[1] - 20, cuts[0] - 20
        aside = {
            file.name: file.read_bytes()[record.HEADER_BYTES :] for file in (folder / "damaged").iterdir()
        }
        assert set(aside) == {path.name, f"{path.name}.2"}
        assert len(aside[path.name]) == len(content) - earlier
        assert len(aside[f"{path.name}.2"]) == earlier - later

    def test_damaged_again_by_the_same_bytes(self, folder: Path) -> None:
        """A torn end that is the beginning of what is set aside later is no unfinished copy of it."""
        journal = open_journal(folder)
        append(journal, ONE)
        journal.close()
        (path,) = folder.glob("*.gh")
        content = path.read_bytes()
        unreadable = record.frame(b"no entry")
        path.write_bytes(content + unreadable + unreadable[:3])
        assert reopened(folder) == [ONE]

        aside = [file.read_bytes()[record.HEADER_BYTES :] for file in sorted((folder / "damaged").iterdir())]
        assert aside == [unreadable[:3], unreadable]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            pytest.param(f"000000000007-{'0' * 32}.gh", b"x" * 99, id="not a segment"),
            pytest.param("hello.gh", b"x" * 99, id="not named like a segment"),
            pytest.param(
                f"000000000007-{'1' * 32}.gh",
                record.encode_header(record.Header(id="0" * 32, created_ms=0)) + record.frame(b"x"),
                id="the name says another id than the header",
            ),
        ],
    )
    def test_no_segment(self, folder: Path, name: str, content: bytes) -> None:
        """A file that is no segment is moved to ``damaged/`` whole, and the others are read."""
        journal = open_journal(folder)
        append(journal, ONE)
        journal.close()
        (folder / name).write_bytes(content)

        assert reopened(folder) == [ONE]
        assert (folder / "damaged" / name).read_bytes() == content

    def test_no_entry(self, folder: Path) -> None:
        """A whole record that holds no entry is set aside when it is read; what precedes it is given."""
        journal = open_journal(folder)
        append(journal, ONE)
        journal.close()
        (path,) = folder.glob("*.gh")
        path.write_bytes(path.read_bytes() + record.frame(b"no entry"))
        journal = open_journal(folder)
        [segment] = journal.pending()

        assert read_segment(journal, segment) == [ONE]
        assert read_segment(journal, segment) == [ONE]
        aside = (folder / "damaged" / segment.file_name).read_bytes()
        assert aside[record.HEADER_BYTES :] == record.frame(b"no entry")

    def test_later_version(self, folder: Path) -> None:
        """A segment of a later Gatehouse is set aside whole, so that going back and forth loses nothing."""
        folder.mkdir()
        header = bytearray(record.encode_header(record.Header(id="0" * 32, created_ms=0)))
        header[8] = 2
        name = f"000000000001-{'0' * 32}.gh"
        (folder / name).write_bytes(header + record.frame(b"x"))

        assert reopened(folder) == []
        assert (folder / "damaged" / name).exists()


class TestRemover:
    def test_files_go_at_once(self, tmp_path: Path) -> None:
        """Each file is gone when the call returns, and nothing of it is held open in the end."""
        paths = [tmp_path / f"{number}" for number in range(3 * MOST_REMOVED_AT_ONCE)]
        for path in paths:
            path.write_bytes(b"some")
        remover = Remover()

        for path in paths:
            remover.remove(path)
            remover.remove(path)
            assert not path.exists()
        remover.close()
        remover.close()

        assert open_files_below(tmp_path) == []

    def test_without_a_descriptor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """When no more files can be opened, one can still be deleted: that is what makes room."""

        def refuse(*_: object, **__: object) -> int:
            raise OSError(errno.EMFILE, "Too many open files")

        (tmp_path / "file").write_bytes(b"some")
        remover = Remover()
        monkeypatch.setattr("service.segment.os.open", refuse)

        remover.remove(tmp_path / "file")

        monkeypatch.undo()
        assert list(tmp_path.iterdir()) == []
        remover.close()


class TestFullDisk:
    @pytest.mark.parametrize("durability", ["memory", "os"])
    def test_limit(self, folder: Path, durability: Durability) -> None:
        """What does not fit under the limit is refused whole; removing a segment makes room."""
        limit = record.HEADER_BYTES + 2 * FRAME_BYTES
        two = len(encode_records([ONE, ONE]))
        journal = open_journal(folder, durability, max_bytes=limit)
        append(journal, ONE)
        with pytest.raises(JournalFull, match=f"{limit - FRAME_BYTES} of {limit} bytes, {two} do"):
            append(journal, ONE, ONE)
        append(journal, ONE)
        segment = rotated(journal)

        assert read_segment(journal, segment) == [ONE, ONE]
        journal.remove(segment)
        append(journal, ONE)

    def test_partial_write(self, folder: Path) -> None:
        """When the disk takes only a part, nothing of the append stays, and the next one works again."""
        journal = open_journal(folder)
        append(journal, ONE)
        with (
            file_size_limit(record.HEADER_BYTES + 2 * FRAME_BYTES + 5),
            pytest.raises(JournalFull, match="full"),
        ):
            append(journal, TWO, TWO, TWO)
        append(journal, THREE)
        journal.close()

        assert reopened(folder) == [ONE, THREE]
        assert not (folder / "damaged").exists()

    def test_no_room_for_a_segment(self, folder: Path) -> None:
        """When not even a header fits there is an error and no file; it works again when there is room."""
        journal = open_journal(folder)
        with file_size_limit(10), pytest.raises(JournalFull):
            append(journal, ONE)
        assert list(folder.glob("*.gh")) == []
        append(journal, TWO)

        journal.close()
        assert reopened(folder) == [TWO]

    def test_disk_away(self, folder: Path) -> None:
        """When the folder is gone an append is refused; it works again when the folder is back."""
        journal = open_journal(folder)
        folder.rename(folder.with_name("elsewhere"))
        with pytest.raises(JournalError, match="No such file or directory"):
            append(journal, ONE)
        folder.with_name("elsewhere").rename(folder)
        append(journal, TWO)

        journal.close()
        assert reopened(folder) == [TWO]

    def test_rest_cannot_be_cut(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where a part of a failed write cannot be cut off, the segment takes nothing more and hides it."""
        journal = open_journal(folder)
        append(journal, ONE)
        with monkeypatch.context() as broken, file_size_limit(record.HEADER_BYTES + 2 * FRAME_BYTES + 5):
            broken.setattr(os, "ftruncate", io_error)
            with pytest.raises(JournalFull):
                append(journal, TWO, TWO, TWO)
        with pytest.raises(
            JournalError, match="takes nothing more: what a failed write left could not be cut"
        ):
            append(journal, THREE)

        assert read_segment(journal, rotated(journal)) == [ONE]
        append(journal, THREE)
        journal.close()
        assert reopened(folder) == [ONE, THREE]

    def test_cannot_delete(self, folder: Path) -> None:
        """A file that the disk does not delete is gone for the caller, and deleted with a later one."""
        journal = open_journal(folder)
        append(journal, ONE)
        first = rotated(journal)
        append(journal, TWO)
        second = rotated(journal)
        content = (folder / first.file_name).read_bytes()
        (folder / first.file_name).unlink()
        (folder / first.file_name).mkdir()  # a folder cannot be unlinked

        journal.remove(first)
        assert journal.pending() == [second]
        assert journal.statistics().bytes == first.bytes + second.bytes
        (folder / first.file_name).rmdir()
        (folder / first.file_name).write_bytes(content)
        journal.remove(second)

        assert journal.statistics().bytes == 0
        assert list(folder.glob("*.gh")) == []


class TestProgress:
    """What was decided of a block that ClickHouse refused lives as long as its segment."""

    PART = Part(RowTable.EVENTS, 0, 2)

    @pytest.mark.parametrize(("durability", "kept"), [("memory", 0), ("os", 1), ("fsync", 1)])
    def test_kept_beside_the_segment(self, folder: Path, durability: Durability, kept: int) -> None:
        """It is there at once and gone with the segment; without durability it has no file."""
        journal = open_journal(folder, durability)
        append(journal, ONE)
        asyncio.run(journal.sync())
        segment = rotated(journal)

        journal.progress(segment).note(self.PART, Fate.SPLIT)
        files = list(folder.glob("*.progress"))
        again = journal.progress(segment).fate(self.PART)
        journal.remove(segment)

        assert [path.stem for path in files] == [Path(segment.file_name).stem] * kept
        assert again is Fate.SPLIT
        assert list(folder.glob("*.progress")) == []

    def test_read_by_the_next_process(self, folder: Path) -> None:
        """A restart goes on where the insert stopped."""
        journal = open_journal(folder)
        append(journal, ONE)
        segment = rotated(journal)
        journal.progress(segment).note(self.PART, Fate.SPLIT)
        journal.close()

        journal = open_journal(folder)
        [found] = journal.pending()

        assert journal.progress(found).fate(self.PART) is Fate.SPLIT

    def test_outlives_its_segment_by_a_crash_only(self, folder: Path) -> None:
        """One whose segment is gone is deleted by the next start."""
        open_journal(folder).close()
        (folder / f"{1:012d}-{'0' * 32}.progress").write_bytes(b"gatehouse progress 1\n")

        open_journal(folder)

        assert list(folder.glob("*.progress")) == []

    def test_of_another_version(self, folder: Path) -> None:
        """What cannot be understood stops the start: guessing could store rows twice. The lock is let go."""
        journal = open_journal(folder)
        append(journal, ONE)
        segment = rotated(journal)
        journal.close()
        path = (folder / segment.file_name).with_suffix(".progress")
        path.write_bytes(b"gatehouse progress 9\n")

        with pytest.raises(JournalCorrupt, match="not written by this version"):
            open_journal(folder)
        path.unlink()
        open_journal(folder)


class TestSync:
    async def test_once_per_batch(self, folder: Path) -> None:
        """One sync covers all appends before it; where nothing is new the disk is not asked."""
        synced: list[int] = []
        journal = open_journal(folder, "fsync", fdatasync=synced.append)
        append(journal, ONE)
        append(journal, TWO)

        await journal.sync()
        await journal.sync()

        assert len(synced) == 1

    async def test_os_does_not_sync(self, folder: Path) -> None:
        """``os`` leaves the disk alone."""
        synced: list[int] = []
        journal = open_journal(folder, "os", fdatasync=synced.append)
        append(journal, ONE)

        await journal.sync()

        assert synced == []

    async def test_failure_takes_back(self, folder: Path) -> None:
        """What the disk did not confirm is gone, what it confirmed stays, the next segment works."""
        broken = False

        def fdatasync(descriptor: int) -> None:
            if broken:
                io_error()
            os.fdatasync(descriptor)

        journal = open_journal(folder, "fsync", fdatasync=fdatasync)
        append(journal, ONE)
        await journal.sync()
        broken = True
        append(journal, TWO)
        with pytest.raises(
            JournalError, match=r"did not confirm segment .*: a sync failed \(Input/output error\)"
        ):
            await journal.sync()
        broken = False
        with pytest.raises(JournalError, match="takes nothing more"):
            append(journal, THREE)

        assert read_segment(journal, rotated(journal)) == [ONE]
        append(journal, THREE)
        await journal.sync()
        assert read_segment(journal, rotated(journal)) == [THREE]

    async def test_failure_of_the_first(self, folder: Path) -> None:
        """A failed sync of a block's first records needs no rotate: the next append begins anew."""
        outcomes: Iterator[Callable[[int], None]] = iter([io_error, os.fdatasync])
        journal = open_journal(folder, "fsync", fdatasync=lambda descriptor: next(outcomes)(descriptor))
        append(journal, ONE)
        with pytest.raises(JournalError):
            await journal.sync()

        append(journal, TWO)
        await journal.sync()

        assert read_segment(journal, rotated(journal)) == [TWO]
        assert journal.pending()[0].records == 1

    async def test_rotate_before_the_sync_returns(self, folder: Path) -> None:
        """A rotate takes back what no sync has confirmed, and a sync that still waits raises."""
        loop = asyncio.get_running_loop()
        asked, answer = asyncio.Event(), asyncio.Event()

        def fdatasync(descriptor: int) -> None:
            os.fdatasync(descriptor)
            loop.call_soon_threadsafe(asked.set)
            asyncio.run_coroutine_threadsafe(answer.wait(), loop).result()

        journal = open_journal(folder, "fsync", fdatasync=fdatasync)
        append(journal, ONE)
        async with asyncio.TaskGroup() as tasks:
            sync = tasks.create_task(raises_journal_error(journal))
            await asked.wait()
            assert journal.rotate() is None
            answer.set()

        assert sync.result() is True
        journal.close()
        assert reopened(folder) == []


async def raises_journal_error(journal: Journal) -> bool:
    """Tell whether a sync raises JournalError."""
    try:
        await journal.sync()
    except JournalError:
        return True
    return False


def io_error(*_: object) -> None:
    """Fail as a broken disk does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes: the kernel then writes a part, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class JournalModel(RuleBasedStateMachine):
    """A journal on disk beside a list of lists: the closed segments, and the open one."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.journal = open_journal(self.folder)
        self.closed: list[list[Entry]] = []
        self.open: list[Entry] = []
        self.ids: set[str] = set()
        self.sessions = itertools.count(1)

    @rule(count=st.integers(0, 5))
    def append(self, count: int) -> None:
        """Append some new entries."""
        entries = [make_entry(session_id=next(self.sessions)) for _ in range(count)]
        append(self.journal, *entries)
        self.open += entries

    @rule()
    def rotate(self) -> None:
        """Close the open segment; a new id each time."""
        segment = self.journal.rotate()
        assert (segment is not None) == bool(self.open)
        self._close()
        if segment is not None:
            assert segment.id not in self.ids
            self.ids.add(segment.id)

    @precondition(lambda self: self.closed)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        """Let go of any closed segment."""
        index = data.draw(st.integers(0, len(self.closed) - 1))
        self.journal.remove(self.journal.pending()[index])
        del self.closed[index]

    @rule()
    def reopen(self) -> None:
        """End the process and begin another."""
        self.journal.close()
        self.journal = open_journal(self.folder)
        self._close()
        self.ids.update(segment.id for segment in self.journal.pending())

    @invariant()
    def same(self) -> None:
        """The journal holds what the lists hold."""
        assert [read_segment(self.journal, segment) for segment in self.journal.pending()] == self.closed
        files = list(self.folder.glob("*.gh"))
        assert len(files) == len(self.closed) + bool(self.open) == self.journal.statistics().segments
        assert sum(path.stat().st_size for path in files) == self.journal.statistics().bytes

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.journal.close()
        shutil.rmtree(self.folder)

    def _close(self) -> None:
        if self.open:
            self.closed.append(self.open)
            self.open = []


TestModel = JournalModel.TestCase
TestModel.settings = settings(max_examples=50)
