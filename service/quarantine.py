"""The quarantine: rows that ClickHouse refuses, kept on disk with the reason until somebody decides.

Rules it keeps (issue: poison):

- One file a block, ``<created>-<block id>.rows``, of records framed and checksummed as the journal's are.
- A row is in it once, however often it is added: a crash in between only repeats the addition.
- It is bounded in bytes. At the bound a row is not taken and not lost: it stays in the journal.
- Files are 0600, the folder 0700. What cannot be read is set aside as ``.damaged``, never deleted.

It has one writer, who also holds the journal's lock; ``read_rows`` may be called by anybody at any time.
"""

import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, Self

from service.errors import QuarantineFull
from service.segment import free_place, make_folder, sync_folder, translated, write_at
from service.wire.record import RecordError, frame, read_records
from service.wire.refused_row import RefusedRow, decode_refused, encode_refused

QUARANTINE_FOLDER: Final = "quarantine"

_SUFFIX: Final = ".rows"
_DAMAGED_SUFFIX: Final = ".damaged"

log: Final = logging.getLogger(__name__)


class Quarantine:
    """The rows on disk, how many and how large; made by ``Quarantine.open``."""

    def __init__(self, folder: Path, *, max_bytes: int, sync: bool) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._sync = sync  # survive the loss of power
        self._sizes: dict[Path, int] = {}  # bytes, by file
        self._rows: dict[Path, int] = {}  # how many can be read, by file
        self._last: tuple[Path, set[str]] | None = None  # ids of the rows of the file last added to

    @classmethod
    def open(cls, folder: Path, *, max_bytes: int, sync: bool) -> Self:
        """Count what is there and cut off what a crash left unfinished; makes the folder if need be.

        Raises JournalError when the folder cannot be used.
        """
        quarantine = cls(folder, max_bytes=max_bytes, sync=sync)
        try:
            make_folder(folder)
            for path in _files(folder):
                quarantine._take_over(path)
        except OSError as error:
            raise translated(error, folder) from error
        return quarantine

    def _take_over(self, path: Path) -> None:
        content = path.read_bytes()
        found = read_records(content)
        if found.problem is not None:
            tail = free_place(path.with_suffix(_DAMAGED_SUFFIX), content[found.clean_end :])
            write_at(tail, content[found.clean_end :], at=0, sync=True)
            write_at(path, b"", at=found.clean_end, sync=True)
            log.warning(
                "quarantine: the end of %s cannot be read (%s), it was moved to %s; %d rows before are good",
                path,
                found.problem,
                tail,
                len(found.payloads),
            )
        self._sizes[path] = found.clean_end
        self._rows[path] = len(found.payloads)

    @property
    def rows(self) -> int:
        """How many rows are in it."""
        return sum(self._rows.values())

    @property
    def size_bytes(self) -> int:
        """How large its files are together."""
        return sum(self._sizes.values())

    @property
    def max_bytes(self) -> int:
        """The bound of ``size_bytes``."""
        return self._max_bytes

    def add(self, row: RefusedRow, *, created_ms: int) -> bool:
        """Keep a row of a block that was begun at ``created_ms``; False when it is in there already.

        Raises QuarantineFull, or JournalError when the disk refuses; it is not kept then.
        """
        path = self._folder / f"{created_ms:013d}-{row.block}{_SUFFIX}"
        try:
            known = self._ids(path)
            if row.id in known:
                return False
            data = frame(encode_refused(row))
            if self.size_bytes + len(data) > self._max_bytes:
                raise QuarantineFull(
                    f"The quarantine is full: {self.size_bytes} of {self._max_bytes} bytes, {len(data)} do "
                    "not fit. Look at its rows (`gatehouse quarantine list`), then retry or drop them, or "
                    "raise quarantine_max_bytes."
                )
            self._append(path, data)
        except OSError as error:
            raise translated(error, path) from error
        known.add(row.id)
        return True

    def find(self, ids: Collection[str]) -> list[RefusedRow]:
        """Give the rows of these ids that are in it, oldest blocks first. Raises JournalError."""
        blocks = {name.partition("-")[0] for name in ids}
        paths = [path for path in sorted(self._sizes) if block_of(path) in blocks]
        try:
            return [row for path in paths for row in _read(path) if row.id in ids]
        except OSError as error:
            raise translated(error, self._folder) from error

    def remove(self, ids: Collection[str]) -> int:
        """Let go of the rows of these ids for good and give how many there were. Raises JournalError."""
        blocks = {name.partition("-")[0] for name in ids}
        removed = 0
        for path in [path for path in sorted(self._sizes) if block_of(path) in blocks]:
            try:
                removed += self._rewrite(path, ids)
            except OSError as error:
                raise translated(error, path) from error
        return removed

    def _rewrite(self, path: Path, ids: Collection[str]) -> int:
        payloads = read_records(path.read_bytes()).payloads
        kept = [payload for payload in payloads if _id(payload) not in ids]
        if len(kept) == len(payloads):
            return 0
        self._last = None
        if kept:
            data = b"".join(map(frame, kept))
            whole = path.with_suffix(".part")
            write_at(whole, data, at=0, sync=self._sync)
            whole.replace(path)
            self._sizes[path], self._rows[path] = len(data), len(kept)
        else:
            path.unlink(missing_ok=True)
            del self._sizes[path], self._rows[path]
        if self._sync:
            sync_folder(self._folder)
        return len(payloads) - len(kept)

    def _ids(self, path: Path) -> set[str]:
        if self._last is None or self._last[0] != path:
            self._last = (path, {row.id for row in _read(path)} if path in self._sizes else set())
        return self._last[1]

    def _append(self, path: Path, data: bytes) -> None:
        size = self._sizes.get(path, 0)
        write_at(path, data, at=size, sync=self._sync)
        self._sizes[path] = size + len(data)
        self._rows[path] = self._rows.get(path, 0) + 1


def read_rows(folder: Path) -> Iterator[RefusedRow]:
    """Give all rows of a quarantine, oldest blocks first, also while somebody writes to it.

    Raises JournalError when the disk does not give them; a folder that is not there is empty.
    """
    try:
        for path in _files(folder):
            yield from _read(path)
    except OSError as error:
        raise translated(error, folder) from error


def block_of(path: Path) -> str:
    """Give the block id in a file's name."""
    return path.stem.partition("-")[2]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _id(payload: bytes) -> str:
    try:
        return decode_refused(payload).id
    except RecordError:
        return ""  # it has none, and so nobody lets go of it


def _read(path: Path) -> list[RefusedRow]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []  # its last row was just let go
    rows = []
    for payload in read_records(content).payloads:
        try:
            rows.append(decode_refused(payload))
        except RecordError as error:
            log.warning("quarantine: a row in %s cannot be read: %s", path, error)
    return rows
