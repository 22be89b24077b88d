"""ClickHouse over its native TCP protocol.

A block is one insert a table, streamed in small pieces so that the loop is never held for long, under a
deduplication token made of the block's id: sent again after a doubt, it is stored once (where the table has a
deduplication window, see ``contract``). Tokens are per server: with several hosts that are not replicas of
one another, a block whose answer was lost and that is sent again to another host can be stored on both.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from decimal import Decimal

from asynch.proto.protocol import ServerPacket
from msgspec.structs import replace

from service.clickhouse.address import parse_address
from service.clickhouse.columns import Columns, counter_pieces, event_pieces, insertable, session_pieces
from service.clickhouse.outcome import insert_error, query_error
from service.clickhouse.schema import (
    COUNTERS_TABLE,
    EVENTS_TABLE,
    SESSIONS_TABLE,
    Kind,
    Table,
    WrittenColumn,
    describe_sql,
)
from service.clickhouse.store import Block, Column, CounterRow
from service.clickhouse.tcp import CONNECT_TIMEOUT_S, Hosts, Line, TcpConnection, as_store_errors
from service.clickhouse.text_formats import TextFormat, as_json_value, text_format
from service.errors import StoreError, StoreUnavailable

INSERT_TIMEOUT_S = 30.0
QUERY_TIMEOUT_S = 300.0


class NativeStore:
    """ClickhouseStore over TCP: one connection inserts, another one answers; both are opened at first use.

    ``current_traceparent`` gives the W3C traceparent of the span under way, or None; it goes along with each
    insert so that ClickHouse's own spans join ours.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        insert_timeout_s: float = INSERT_TIMEOUT_S,
        query_timeout_s: float = QUERY_TIMEOUT_S,
        current_traceparent: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._address = parse_address(url)
        self._hosts = Hosts(self._address, connect_timeout_s=connect_timeout_s)
        self._anywhere = Hosts(replace(self._address, database=""), connect_timeout_s=connect_timeout_s)
        self._query_timeout_s = query_timeout_s
        self._inserts = Line(self._hosts, timeout_s=insert_timeout_s, errors=insert_error)
        self._queries = Line(self._hosts, timeout_s=query_timeout_s, errors=query_error)
        self._traceparent = current_traceparent
        self._columns: dict[str, tuple[WrittenColumn, ...]] = {}  # by table; empty after a failed insert

    @property
    def database(self) -> str:
        """The database that holds the tables."""
        return self._address.database

    @property
    def account(self) -> tuple[str, str]:
        """User and password, for the dictionaries that ClickHouse reads by itself."""
        return self._address.user, self._address.password

    async def start(self) -> None:
        """Connect and learn which columns the tables take. Raises StoreUnavailable.

        Missing tables are no error here: ``contract`` says what is wrong with tables, ``migrations`` makes
        them.
        """
        await self.ping()
        for table in (EVENTS_TABLE, SESSIONS_TABLE, COUNTERS_TABLE):
            if await self.describe(table.name):
                await self._written(table)

    async def insert_block(self, block: Block) -> None:
        """Insert both tables' rows; when it returns they are stored, and once."""
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

    async def execute(self, statement: str) -> None:
        """Run one statement that answers nothing (DDL)."""
        async with self._queries.use() as connection:
            await connection.execute(statement)

    async def query(self, sql: str) -> list[dict[str, object]]:
        """Run a SELECT and give its rows as JSON values; decimals and times as text. Raises QueryFailed."""
        async with self._queries.use() as connection:
            rows, columns = await connection.execute(sql, with_column_types=True, settings={"readonly": 2})
        names = [name for name, _ in columns]
        return [dict(zip(names, map(as_json_value, row), strict=True)) for row in rows]

    async def query_text(self, sql: str, *, output_format: str) -> AsyncIterator[bytes]:
        """Stream a person's SELECT as text; read-only, on a connection of its own. Raises QueryFailed."""
        writer = text_format(output_format)
        connection = await self._hosts.connect()
        try:
            with as_store_errors(query_error):
                async for text in _answer(connection, sql, writer):
                    if text:
                        yield text.encode()
        finally:
            connection.abort()

    async def describe(self, table: str) -> list[Column]:
        """Give the table's columns; an empty list when there is no such table."""
        rows = await self.query(describe_sql(table))
        return [Column(str(row["name"]), str(row["type"]), str(row["default_kind"])) for row in rows]

    async def ping(self) -> None:
        """Return when ClickHouse answers ``SELECT 1``."""
        await self.query("SELECT 1")

    async def create_database(self, *, cluster: str | None) -> None:
        """Make the configured database if it does not exist; for migrations."""
        where = f" ON CLUSTER '{cluster}'" if cluster else ""
        line = Line(self._anywhere, timeout_s=self._query_timeout_s, errors=query_error)
        try:
            async with line.use() as connection:
                await connection.execute(f"CREATE DATABASE IF NOT EXISTS {self.database}{where}")
        finally:
            line.drop()

    async def close(self) -> None:
        """Let go of both connections; safe to call twice."""
        self._inserts.drop()
        self._queries.drop()

    async def _written(self, table: Table) -> tuple[WrittenColumn, ...]:
        """Give the columns that the table takes, asked for once and again after a failure."""
        known = self._columns.get(table.name)
        if known is None:
            found = await self.describe(table.name)
            if not found:
                raise StoreUnavailable(
                    f"There is no table {self.database}.{table.name}: run `gatehouse migrate`."
                )
            known = insertable(table, {column.name: column.default_kind for column in found})
            self._columns[table.name] = known
        return known

    async def _insert(
        self, table: Table, columns: Sequence[WrittenColumn], pieces: Iterator[Columns], token: str
    ) -> None:
        names = ", ".join(f"`{column.name}`" for column in columns)
        ready = []
        for piece in pieces:
            ready.append(_with_decimals(columns, piece))
            await asyncio.sleep(0)
        try:
            async with self._inserts.use() as connection:
                await connection.insert(
                    f"INSERT INTO {table.name} ({names}) VALUES", ready, settings=self._insert_settings(token)
                )
        except StoreError:
            self._columns.pop(table.name, None)  # the table may have been changed: look again
            raise

    def _insert_settings(self, token: str) -> dict[str, str | int]:
        settings: dict[str, str | int] = {
            "async_insert": 0,
            "insert_deduplicate": 1,
            "insert_deduplication_token": token,
            "materialized_views_ignore_errors": 1,  # reference 10.1
        }
        traceparent = self._traceparent()
        if traceparent is not None:
            settings["opentelemetry_traceparent"] = traceparent
        return settings


def _with_decimals(columns: Sequence[WrittenColumn], piece: Columns) -> Columns:
    """Give the amounts as Decimals: asynch takes an integer for whole units, ours are thousandths."""
    for index, column in enumerate(columns):
        if column.kind is Kind.AMOUNT:
            piece[index] = [None if value is None else Decimal(value).scaleb(-3) for value in piece[index]]
    return piece


async def _answer(connection: TcpConnection, sql: str, writer: TextFormat) -> AsyncIterator[str]:
    """Give the text of an answer block by block, the totals of WITH TOTALS left out."""
    answer = await connection.execute_iter(sql, settings={"readonly": 2})
    columns: list[tuple[str, str]] = []
    count = 0
    async for packet in answer.packet_generator:
        if packet.type != ServerPacket.DATA:
            continue
        if not columns:
            columns = packet.block.columns_with_types
            yield writer.begin(columns)
        rows = packet.block.get_rows()
        yield writer.block(columns, rows, count)
        count += len(rows)
    yield writer.end(count)
