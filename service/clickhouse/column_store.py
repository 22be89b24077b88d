"""What both stores have in common: blocks become encoded columns, sent under a deduplication token.

Each table of a block is one insert, and the server is told to make one block of all its pieces: so a refused
one leaves nothing behind. Its token is the block's id with the table's letter: sent again after a doubt, it
is stored once where the table has a deduplication window.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from service.clickhouse.columns import counter_pieces, event_pieces, insertable, session_pieces
from service.clickhouse.schema import (
    COUNTERS_TABLE,
    EVENTS_TABLE,
    SESSIONS_TABLE,
    TABLES,
    Table,
    WrittenColumn,
    describe_sql,
)
from service.clickhouse.store import Block, Column, CounterRow
from service.errors import StoreError, StoreUnavailable

INSERT_SETTINGS: dict[str, str | int] = {
    "async_insert": 0,  # the answer means "stored", and at once
    "insert_deduplicate": 1,
    # Whatever a user's profile says, the server must not store the first pieces of an insert before it has
    # looked at the last: a block that is refused would be stored in part.
    "min_insert_block_size_rows": 2**40,
    "min_insert_block_size_bytes": 0,
    "materialized_views_ignore_errors": 1,  # reference 10.1
}


class ColumnStore(ABC):
    """The part of a ClickhouseStore that does not depend on how ClickHouse is reached."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._columns: dict[str, tuple[WrittenColumn, ...]] = {}  # by table; forgotten after a failed insert

    @property
    def database(self) -> str:
        """The database that holds the tables."""
        return self._database

    async def start(self) -> None:
        """Open it and learn which columns the tables take. Raises StoreError with a sentence.

        Missing tables are no error here: ``contract`` says what is wrong with tables, ``migrations`` makes
        them.
        """
        await self.ping()
        for table in TABLES:
            if await self.describe(table.name):
                await self._written(table)

    async def insert_block(self, block: Block) -> None:
        """Insert both tables' rows; when it returns they are stored, and once.

        Raises StoreUnavailable (try again) or BlockRejected (never again).
        """
        if block.events:
            columns = await self._written(EVENTS_TABLE)
            await self._insert(EVENTS_TABLE, columns, event_pieces(columns, block.events), f"{block.id}-e")
        if block.sessions:
            columns = await self._written(SESSIONS_TABLE)
            await self._insert(
                SESSIONS_TABLE, columns, session_pieces(columns, block.sessions), f"{block.id}-s"
            )

    async def insert_counters(self, rows: Sequence[CounterRow], *, token: str) -> None:
        """Insert counter rows; the same token twice is stored once."""
        if rows:
            columns = await self._written(COUNTERS_TABLE)
            await self._insert(COUNTERS_TABLE, columns, counter_pieces(columns, rows), token)

    async def describe(self, table: str) -> list[Column]:
        """Give the table's columns; an empty list when there is no such table."""
        rows = await self.query(describe_sql(table))
        return [Column(str(row["name"]), str(row["type"]), str(row["default_kind"])) for row in rows]

    async def ping(self) -> None:
        """Return when ClickHouse answers ``SELECT 1``."""
        await self.query("SELECT 1")

    @abstractmethod
    async def query(self, sql: str) -> list[dict[str, object]]:
        """Run a SELECT and give its rows as JSON values: decimals and times are text. Raises QueryFailed."""

    @abstractmethod
    async def _send(
        self, table: Table, columns: Sequence[WrittenColumn], pieces: Sequence[bytes], token: str
    ) -> None:
        """Insert the pieces, blocks of the Native format, as one insert."""

    async def _insert(
        self, table: Table, columns: Sequence[WrittenColumn], pieces: Iterator[bytes], token: str
    ) -> None:
        try:
            ready = []
            for piece in pieces:
                ready.append(piece)
                await asyncio.sleep(0)  # encoding all of them would hold the loop for long
            await self._send(table, columns, ready, token)
        except StoreError:
            self._columns.pop(table.name, None)  # the table may have been changed: look again
            raise

    async def _written(self, table: Table) -> tuple[WrittenColumn, ...]:
        """Give the columns that the table takes, asked for once and again after a failure."""
        known = self._columns.get(table.name)
        if known is None:
            found = await self.describe(table.name)
            if not found:
                raise StoreUnavailable(
                    f"There is no table {self._database}.{table.name}: run `gatehouse migrate`."
                )
            known = insertable(table, {column.name: column.default_kind for column in found})
            self._columns[table.name] = known
        return known


def target(table: Table, columns: Sequence[WrittenColumn]) -> str:
    """Give the table and its columns as INSERT INTO takes them."""
    return f"{table.name} ({', '.join(f'`{column.name}`' for column in columns)})"
