"""ClickHouse in the process (chDB), on a folder of its own: nothing to install, start or watch.

The engine blocks, so it has threads of its own: one writes, one reads, and each question of a person gets one
more, so that a slow one delays nothing. One process at a time can have a folder open.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from service.clickhouse.column_store import INSERT_SETTINGS, ColumnStore, target
from service.clickhouse.engine import Engine, load_engine
from service.clickhouse.question import check_question
from service.clickhouse.quoting import quoted
from service.clickhouse.schema import Table, WrittenColumn
from service.errors import StoreUnavailable

DATABASE = "gatehouse"


class EmbeddedStore(ColumnStore):
    """ClickhouseStore in this process; the folder is opened at first use and locked until ``close``.

    Opening raises StoreUnavailable when another process has the folder, ConfigError when chDB is not
    installed.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(DATABASE)
        self._folder = folder
        self._opening = asyncio.Lock()
        self._engine: Engine | None = None  # from first use to close
        self._closed = False
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="clickhouse-write")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="clickhouse-read")

    @property
    def account(self) -> tuple[str, str]:
        """User and password, for the dictionaries that ClickHouse reads by itself."""
        return "default", ""

    async def execute(self, statement: str) -> None:
        """Run one statement that answers nothing (DDL)."""
        engine = await self._opened()
        await asyncio.get_running_loop().run_in_executor(self._writing, engine.execute, statement)

    async def query(self, sql: str) -> list[dict[str, object]]:
        """Run a SELECT and give its rows as JSON values: decimals and times are text. Raises QueryFailed."""
        engine = await self._opened()
        return await asyncio.get_running_loop().run_in_executor(self._reading, engine.query, sql)

    async def query_text(self, sql: str, *, output_format: str) -> AsyncIterator[bytes]:
        """Stream the answer of a person's SELECT in any format of ClickHouse's. Raises QueryFailed."""
        check_question(sql)
        engine = await self._opened()
        loop = asyncio.get_running_loop()
        answer = engine.stream(sql, output_format)
        thread = ThreadPoolExecutor(1, thread_name_prefix="clickhouse-ask")
        try:
            while (chunk := await loop.run_in_executor(thread, next, answer, None)) is not None:
                yield chunk
        finally:
            thread.submit(answer.close)  # after the chunk that may still be under way
            thread.shutdown(wait=False)

    async def create_database(self, *, cluster: str | None) -> None:
        """Open the folder, which makes the database."""
        assert cluster is None, "an embedded ClickHouse is no member of a cluster"
        await self._opened()

    async def close(self) -> None:
        """Finish what is under way and let go of the folder; safe to call twice."""
        self._closed = True
        async with self._opening:
            engine, self._engine = self._engine, None
            if engine is not None:
                await asyncio.get_running_loop().run_in_executor(self._writing, engine.close)
        self._writing.shutdown()
        self._reading.shutdown()

    async def _opened(self) -> Engine:
        async with self._opening:
            if self._closed:
                raise StoreUnavailable("The embedded store has been closed.")
            if self._engine is None:
                connect = load_engine()
                self._engine = await asyncio.get_running_loop().run_in_executor(
                    self._writing, Engine, connect, self._folder, DATABASE
                )
            return self._engine

    async def _send(
        self, table: Table, columns: Sequence[WrittenColumn], pieces: Sequence[bytes], token: str
    ) -> None:
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": quoted(token)}
        engine = await self._opened()
        await asyncio.get_running_loop().run_in_executor(
            self._writing,
            engine.insert,
            target(table, columns),
            ", ".join(f"{name} = {value}" for name, value in settings.items()),
            b"".join(pieces),
        )
