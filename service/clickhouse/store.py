"""Where rows go, as an interface: neither the actors nor the command line know more than this."""

import enum
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from service.ingestion.rows import ClickhouseEvent, ClickhouseSession


class BlockTrigger(enum.StrEnum):
    """Why a block was closed."""

    SIZE = "size"
    AGE = "age"
    FLUSH = "flush"
    FAILURE = "failure"
    """The journal's segment takes nothing more."""
    REPLAY = "replay"
    RETRY = "retry"
    """It is one row of the quarantine."""


class Block(Struct, frozen=True):
    """Rows that are inserted together, exactly once. ``id`` is its deduplication token and never changes.

    ``sessions`` are pairs of sign and state, already coalesced: at most one −1 and one +1 row a session.
    Who inserts it keeps neither it nor its rows: they leave memory once they are stored.
    """

    id: str
    trigger: BlockTrigger
    events: Sequence[ClickhouseEvent]
    sessions: Sequence[tuple[int, ClickhouseSession]]


class CounterRow(Struct, frozen=True):
    """One row of ``ingest_counters``. ``minute`` is UTC epoch seconds at the start of the minute."""

    minute: int
    domain: str
    site_id: int | None
    metric: str
    tracker_script_version: int
    value: int


class Column(Struct, frozen=True):
    """One line of DESCRIBE: name, type and DEFAULT, MATERIALIZED, ALIAS or empty."""

    name: str
    type: str
    default_kind: str


class ClickhouseStore(Protocol):
    """ClickHouse, wherever it runs. Every method raises StoreUnavailable when it is away."""

    async def start(self) -> None:
        """Open it and learn which columns the tables take. Raises StoreError with a sentence."""

    async def insert_block(self, block: Block) -> None:
        """Insert both tables' rows; when it returns they are stored. The same block twice is stored once.

        Raises StoreUnavailable (try again) or BlockRejected (never again).
        """

    async def insert_counters(self, rows: Sequence[CounterRow], *, token: str) -> None:
        """Insert counter rows; the same token twice is stored once."""

    async def execute(self, statement: str) -> None:
        """Run one statement that answers nothing (DDL)."""

    async def query(self, sql: str) -> list[dict[str, object]]:
        """Run a SELECT and give its rows as JSON values: decimals and times are text. Raises QueryFailed."""

    def query_text(self, sql: str, *, output_format: str) -> AsyncIterator[bytes]:
        """Stream the answer of a person's SELECT in a format of ClickHouse's. Raises QueryFailed.

        Read-only: a statement that would change anything is refused.
        """

    async def describe(self, table: str) -> list[Column]:
        """Give the table's columns; an empty list when there is no such table."""

    async def ping(self) -> None:
        """Return when ClickHouse answers ``SELECT 1``."""

    async def close(self) -> None:
        """Let go of connections, threads and locks; safe to call twice."""
