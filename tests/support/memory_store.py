"""A ClickHouse that is a list: for tests of the actors, where it must be away, slow or stubborn on command.

Verified against the real ones by ``tests/clickhouse``, which holds all stores to the same rules.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

from msgspec.structs import replace

from service.clickhouse.store import Block, Column, CounterRow
from service.errors import BlockRejected, StoreUnavailable
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession


class MemoryStore:
    """Keeps rows in lists; a block or a token that it has seen is stored once."""

    def __init__(self) -> None:
        self.events: list[ClickhouseEvent] = []
        self.sessions: list[tuple[int, ClickhouseSession]] = []
        self.counters: list[CounterRow] = []
        self.blocks: list[Block] = []
        """Every block offered while it was not away, repeated ones too."""
        self.away = False
        self.refuses: Callable[[ClickhouseEvent | ClickhouseSession], bool] = lambda _: False
        """Which rows it never takes; a table's rows come in together or not at all."""
        self.loses_answers = 0
        """So many times the block is stored and the answer lost."""
        self.offered = asyncio.Event()
        """Set at every try."""
        self._tokens: set[str] = set()

    async def start(self) -> None:
        """Do nothing."""

    async def insert_block(self, block: Block) -> None:
        """Store the block, unless told otherwise."""
        self.offered.set()
        if self.away:
            raise StoreUnavailable("away, as the test wants it")
        # What a block holds is its sender's own, and leaves memory once it is stored.
        self.blocks.append(replace(block, events=list(block.events)))
        if any(map(self.refuses, block.events)):
            raise BlockRejected("an event is refused, as the test wants it")
        if block.events and f"{block.id}-e" not in self._tokens:
            self._tokens.add(f"{block.id}-e")
            self.events.extend(block.events)
        if any(self.refuses(session) for _, session in block.sessions):
            raise BlockRejected("a session is refused, as the test wants it")
        if block.sessions and f"{block.id}-s" not in self._tokens:
            self._tokens.add(f"{block.id}-s")
            self.sessions.extend(block.sessions)
        if self.loses_answers:
            self.loses_answers -= 1
            raise StoreUnavailable("the answer was lost, as the test wants it")

    async def insert_counters(self, rows: Sequence[CounterRow], *, token: str) -> None:
        """Store the rows, unless told otherwise."""
        if self.away:
            raise StoreUnavailable("away, as the test wants it")
        if token not in self._tokens:
            self._tokens.add(token)
            self.counters.extend(rows)

    async def execute(self, statement: str) -> None:
        """Refuse: there is no SQL here."""
        raise StoreUnavailable(f"no SQL here: {statement}")

    async def query(self, sql: str) -> list[dict[str, object]]:
        """Refuse: there is no SQL here."""
        raise StoreUnavailable(f"no SQL here: {sql}")

    async def query_text(self, sql: str, *, output_format: str) -> AsyncIterator[bytes]:
        """Refuse: there is no SQL here."""
        raise StoreUnavailable(f"no SQL here: {sql} {output_format}")
        yield b""

    async def describe(self, table: str) -> list[Column]:
        """Know no table."""
        return []

    async def ping(self) -> None:
        """Answer, unless away."""
        if self.away:
            raise StoreUnavailable("away, as the test wants it")

    async def close(self) -> None:
        """Do nothing."""

    def live_sessions(self) -> list[ClickhouseSession]:
        """Give what is left when every −1 row has cancelled the +1 row with its session and version."""
        balance: Counter[tuple[int, int]] = Counter()
        newest: dict[tuple[int, int], ClickhouseSession] = {}
        for sign, session in self.sessions:
            key = (session.session_id, session.events)
            balance[key] += sign
            newest[key] = session
        assert set(balance.values()) <= {0, 1}, "a −1 row without its +1 row, or two +1 rows of one version"
        return [newest[key] for key, count in balance.items() if count]
