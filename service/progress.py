"""How far the insert of one block came after ClickHouse had refused it.

A part that was once refused is never sent whole again, and a part that is finished is never sent again at
all: else a table that changes while a block is taken apart, or a long wait, would store rows twice. So each
decision is on the disk before the next insert. Source: design sections 3 to 5.

The file stands beside the block's segment, ``<sequence>-<id>.progress``, and lives as long as that does: a
line of the format's version, then one line a decision, ``<fate> <table> <first> <end> <reason as JSON>``. A
last line without its end was cut off by a crash before anything followed from it, and is not read.
"""

import enum
import re
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from service.errors import JournalCorrupt
from service.segment import translated, write_at

PROGRESS_SUFFIX: Final = ".progress"

_VERSION: Final = b"gatehouse progress 1\n"
_LINE: Final = re.compile(rb'(split|given-up|finished) (events|sessions) (\d+) (\d+) (".*")\n')


class RowTable(enum.StrEnum):
    """Which rows of a block: each kind goes into a table of its own, apart from the other."""

    EVENTS = "events"
    SESSIONS = "sessions"


class Part(Struct, frozen=True):
    """The rows ``first`` to ``end`` − 1 of one table of a block, counted from 0."""

    table: RowTable
    first: int
    end: int

    @property
    def rows(self) -> int:
        """How many they are; at least one."""
        return self.end - self.first

    def halves(self) -> tuple["Part", "Part"]:
        """Give the two parts of a part of several rows."""
        middle = (self.first + self.end) // 2
        return Part(self.table, self.first, middle), Part(self.table, middle, self.end)


class Fate(enum.StrEnum):
    """What was decided of a part."""

    SPLIT = "split"
    """It was refused; its halves are inserted instead."""
    GIVEN_UP = "given-up"
    """It was refused and goes to the quarantine row by row."""
    FINISHED = "finished"
    """All its rows are stored or in the quarantine."""


class Progress:
    """The decisions on one block's parts; ``path`` is where they are kept, None = in memory only."""

    def __init__(self, path: Path | None, *, sync: bool) -> None:
        self._path = path
        self._sync = sync
        self._fates: dict[Part, Fate] = {}
        self._reasons: dict[Part, str] = {}  # of the parts that are given up
        self._splits = 0
        self._unwritten: list[bytes] = []  # finished parts of a block that was not refused, so far
        self._good_bytes = 0  # of the file; 0 = there is none yet

    @classmethod
    def load(cls, path: Path, *, sync: bool) -> Self:
        """Read what an earlier process decided.

        Raises JournalCorrupt when the file is damaged or of another version, OSError when it cannot be read.
        """
        progress = cls(path, sync=sync)
        content = path.read_bytes()
        if not _VERSION.startswith(content[: len(_VERSION)]):
            raise JournalCorrupt(f"{path.name} was not written by this version of Gatehouse")
        if content.startswith(_VERSION):
            end = len(_VERSION)
            try:
                while line := _LINE.match(content, end):
                    part = Part(RowTable(line[2].decode()), int(line[3]), int(line[4]))
                    progress._remember(part, Fate(line[1].decode()), msgspec.json.decode(line[5], type=str))
                    end = line.end()
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise _damaged(path, end) from None
            if b"\n" in content[end:]:
                raise _damaged(path, end)
            progress._good_bytes = end
        return progress

    @property
    def path(self) -> Path | None:
        """Where it is kept; None = in memory only."""
        return self._path

    @property
    def is_kept(self) -> bool:
        """Whether there is a file."""
        return self._good_bytes > 0

    @property
    def is_untouched(self) -> bool:
        """Whether nothing of the block was refused yet."""
        return not self._splits and not self._reasons

    @property
    def splits(self) -> int:
        """How many parts were split."""
        return self._splits

    def given_up(self, table: RowTable) -> int:
        """Give how many rows of a table ClickHouse will not take."""
        return sum(part.rows for part in self._reasons if part.table is table)

    def fate(self, part: Part) -> Fate | None:
        """Give what was decided of the part; None when it is still to be tried."""
        return self._fates.get(part)

    def reason(self, part: Part) -> str:
        """Give why a part is given up."""
        return self._reasons[part]

    def note(self, part: Part, fate: Fate, reason: str = "") -> None:
        """Decide; what is no mere success is on the disk when this returns. Raises JournalError."""
        said = msgspec.json.encode(reason)
        line = f"{fate} {part.table} {part.first} {part.end} ".encode() + said + b"\n"
        if self._path is not None:
            if fate is Fate.FINISHED and not self._good_bytes:
                self._unwritten.append(line)  # most blocks are never refused: they cost no file
            else:
                self._write(self._path, b"".join([*self._unwritten, line]))
                self._unwritten.clear()
        self._remember(part, fate, reason)

    def _remember(self, part: Part, fate: Fate, reason: str) -> None:
        self._fates[part] = fate
        self._splits += fate is Fate.SPLIT
        if fate is Fate.GIVEN_UP:
            self._reasons[part] = reason

    def _write(self, path: Path, lines: bytes) -> None:
        data = lines if self._good_bytes else _VERSION + lines
        try:
            write_at(path, data, at=self._good_bytes, sync=self._sync)
        except OSError as error:
            raise translated(error, path) from error
        self._good_bytes += len(data)


def _damaged(path: Path, at: int) -> JournalCorrupt:
    return JournalCorrupt(
        f"{path.name} is damaged at byte {at}: what was decided on its block is not known. Without that file"
        " the block is inserted from its beginning, and rows of it that are stored may be stored twice."
    )
