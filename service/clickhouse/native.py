"""ClickHouse over its native TCP protocol.

A block is streamed in small pieces, so that the loop is never held for long. Deduplication tokens are kept
per server: with several hosts that are not replicas of one another, a block whose answer was lost and that is
sent again to another host can be stored on both.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from asynch.proto.protocol import ServerPacket
from msgspec.structs import replace

from service.clickhouse.address import parse_address
from service.clickhouse.column_store import INSERT_SETTINGS, ColumnStore, target
from service.clickhouse.outcome import insert_error, query_error
from service.clickhouse.question import check_question
from service.clickhouse.quoting import quoted
from service.clickhouse.schema import Table, WrittenColumn
from service.clickhouse.store import Column
from service.clickhouse.tcp import CONNECT_TIMEOUT_S, Hosts, Line, TcpConnection, as_store_errors
from service.clickhouse.text_formats import TextFormat, as_json_value, text_format

INSERT_TIMEOUT_S = 30.0
QUERY_TIMEOUT_S = 300.0


class NativeStore(ColumnStore):
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
        super().__init__(self._address.database)
        self._hosts = Hosts(self._address, connect_timeout_s=connect_timeout_s)
        self._insert_timeout_s = insert_timeout_s
        self._query_timeout_s = query_timeout_s
        self._inserts = Line(self._hosts, timeout_s=insert_timeout_s, errors=insert_error)
        self._queries = Line(self._hosts, timeout_s=query_timeout_s, errors=query_error)
        self._traceparent = current_traceparent

    @property
    def account(self) -> tuple[str, str]:
        """User and password, for the dictionaries that ClickHouse reads by itself."""
        return self._address.user, self._address.password

    async def execute(self, statement: str) -> None:
        """Run one statement that answers nothing (DDL)."""
        async with self._queries.use() as connection:
            await connection.execute(statement)

    async def query(self, sql: str) -> list[dict[str, object]]:
        """Run a SELECT and give its rows as JSON values: decimals and times are text. Raises QueryFailed."""
        async with self._queries.use() as connection:
            rows, columns = await connection.execute(sql, with_column_types=True, settings={"readonly": 2})
        names = [name for name, _ in columns]
        return [dict(zip(names, map(as_json_value, row), strict=True)) for row in rows]

    async def describe(self, table: str) -> list[Column]:
        """Give the columns of a table, in the time of an insert: a block waits for the answer."""
        with as_store_errors(query_error):
            async with asyncio.timeout(self._insert_timeout_s):
                return await super().describe(table)

    async def query_text(self, sql: str, *, output_format: str) -> AsyncIterator[bytes]:
        """Stream a person's SELECT as text; read-only, on a connection of its own. Raises QueryFailed.

        Formats are those of ``text_formats``: over TCP ClickHouse sends values, not text.
        """
        check_question(sql)
        writer = text_format(output_format)
        connection = await self._hosts.connect()
        try:
            with as_store_errors(query_error):
                async for text in _answer(connection, sql, writer, self._query_timeout_s):
                    if text:
                        yield text.encode()
        finally:
            connection.abort()

    async def create_database(self, *, cluster: str | None) -> None:
        """Make the configured database if it does not exist; for migrations."""
        where = f" ON CLUSTER {quoted(cluster)}" if cluster else ""
        anywhere = Hosts(replace(self._address, database=""))
        line = Line(anywhere, timeout_s=self._query_timeout_s, errors=query_error)
        try:
            async with line.use() as connection:
                await connection.execute(f"CREATE DATABASE IF NOT EXISTS {self.database}{where}")
        finally:
            line.drop()

    async def close(self) -> None:
        """Let go of both connections; safe to call twice."""
        self._inserts.drop()
        self._queries.drop()

    async def _send(
        self, table: Table, columns: Sequence[WrittenColumn], pieces: Sequence[bytes], token: str
    ) -> None:
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
        traceparent = self._traceparent()
        if traceparent is not None:
            settings["opentelemetry_traceparent"] = _halves_swapped(traceparent)
        async with self._inserts.use() as connection:
            await connection.insert(f"INSERT INTO {target(table, columns)} VALUES", pieces, settings=settings)


def _halves_swapped(traceparent: str) -> str:
    """Give the traceparent with the halves of its trace id exchanged, as asynch 0.4.0 exchanges them."""
    version, trace_id, *rest = traceparent.split("-")
    return "-".join((version, trace_id[16:] + trace_id[:16], *rest))


async def _answer(
    connection: TcpConnection, sql: str, writer: TextFormat, timeout_s: float
) -> AsyncIterator[str]:
    """Give the text of an answer block by block, the totals of WITH TOTALS left out.

    The time limit is for each block: how long the reader takes in between is not the server's fault.
    """
    async with asyncio.timeout(timeout_s):
        answer = await connection.execute_iter(sql, settings={"readonly": 2})
    columns: list[tuple[str, str]] = []
    count = 0
    while True:
        async with asyncio.timeout(timeout_s):
            packet = await anext(answer.packet_generator, None)
        if packet is None:
            break
        if packet.type != ServerPacket.DATA:
            continue
        if not columns:
            columns = packet.block.columns_with_types
            yield writer.begin(columns)
        rows = packet.block.get_rows()
        yield writer.block(columns, rows, count)
        count += len(rows)
    yield writer.end(count)
