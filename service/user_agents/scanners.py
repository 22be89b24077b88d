"""Which of thousands of expressions may match a text: one scan names them, in their order.

Hyperscan is the fast one; its database takes many seconds to build, and it has no wheel for every machine.
RE2 is ready in half a second anywhere, and slower on texts it has not seen the like of. Both may name too
many.
"""

import importlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

import re2

from service.user_agents.patterns import as_bytes_seen, loosen

SET_SIZE: Final = 200
"""Expressions in one set of RE2: it makes its states while it scans, and large sets have too many of them."""
SET_MEMORY_BYTES: Final = 8 * 1024 * 1024
"""What the states of one set may take; when it is full they are made anew."""


class Scanner(Protocol):
    """Names candidates."""

    def scan(self, seen: str, start: int, end: int) -> list[int]:
        """Give, rising, the numbers of the expressions that may match; of others than asked for at will."""


class Re2Scanner:
    """Scans with sets of RE2."""

    def __init__(self, expressions: Sequence[tuple[str, str]]) -> None:
        """Build it out of pairs of a frame with one ``%s`` and what stands in it."""
        self._sets = [
            _Re2Set(start, expressions[start : start + SET_SIZE])
            for start in range(0, len(expressions), SET_SIZE)
        ]

    def scan(self, seen: str, start: int, end: int) -> list[int]:
        """Give the candidates."""
        text = seen.encode("latin-1")
        found: list[int] = []
        for place in range(start // SET_SIZE, -(-end // SET_SIZE)):
            found += self._sets[place].scan(text)
        return found


class _Re2Set:
    """A part of the expressions, numbered from ``start``."""

    __slots__ = ("_always", "_numbers", "_set")

    def __init__(self, start: int, expressions: Sequence[tuple[str, str]]) -> None:
        options = re2.Options()
        options.case_sensitive = False
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        options.max_mem = SET_MEMORY_BYTES
        self._set = re2.Set.SearchSet(options)
        self._numbers: list[int] = []
        self._always: list[int] = []
        for number, (frame, expression) in enumerate(expressions, start):
            try:
                self._set.Add(as_bytes_seen(frame % loosen(expression)).encode("latin-1"))
            except re2.error:
                self._always.append(number)
            else:
                self._numbers.append(number)
        self._set.Compile()

    def scan(self, text: bytes) -> list[int]:
        numbers = self._numbers
        # None stands for no match at all.
        found = [numbers[place] for place in self._set.Match(text) or ()]
        return sorted(found + self._always)


class HyperscanUnavailable(Exception):
    """There is no Hyperscan on this machine, or it does not take what it is given."""


def hyperscan_version() -> str | None:
    """Give the version of the library; None where there is none."""
    try:
        return str(_hyperscan().__version__)
    except HyperscanUnavailable:
        return None


def build_hyperscan(expressions: Sequence[tuple[str, str]]) -> bytes:
    """Build a database, which takes many seconds. Raises HyperscanUnavailable."""
    hyperscan = _hyperscan()
    flags = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
    database = hyperscan.Database()
    try:
        database.compile(
            expressions=[(frame % loosen(expression)).encode() for frame, expression in expressions],
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=[flags] * len(expressions),
        )
    except hyperscan.HyperscanError as error:
        raise HyperscanUnavailable(f"it cannot build the database: {error}") from error
    return bytes(hyperscan.dumpb(database))


class HyperscanScanner:
    """Scans with a database that ``build_hyperscan`` built."""

    def __init__(self, database: bytes) -> None:
        """Load it. Raises HyperscanUnavailable when it is of another machine or version."""
        hyperscan = _hyperscan()
        try:
            self._database = hyperscan.loadb(database, hyperscan.HS_MODE_BLOCK)
            self._scratch = hyperscan.Scratch(self._database)
        except hyperscan.HyperscanError as error:
            raise HyperscanUnavailable(f"it cannot load the database: {error}") from error

    def scan(self, seen: str, start: int, end: int) -> list[int]:
        """Give the candidates."""
        found: list[int] = []
        append = found.append

        def note(number: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            append(number)

        self._database.scan(seen.encode("latin-1"), match_event_handler=note, scratch=self._scratch)
        found.sort()
        return found


def _hyperscan() -> Any:
    try:
        return importlib.import_module("hyperscan")
    except ImportError as error:
        raise HyperscanUnavailable(f"there is no hyperscan on this machine: {error}") from error
