"""What the actors say of themselves.

Plain fields, each with one writer, read by readiness checks and gauges.
"""


class Status:
    """Published figures of the buffer and the inserter; reading them costs nothing and waits for nobody."""

    __slots__ = (
        "blocks_inserted",
        "blocks_rejected",
        "clickhouse_error",
        "events_inserted",
        "events_waiting",
        "insert_tries_failed",
        "journal_error",
    )

    def __init__(self) -> None:
        self.clickhouse_error: str | None = None
        """Why the block at hand could not be inserted yet; None while ClickHouse takes blocks. Inserter."""
        self.insert_tries_failed = 0
        """Tries that ClickHouse did not take, since the start. Inserter."""
        self.blocks_inserted = 0
        """Since the start. Inserter."""
        self.blocks_rejected = 0
        """Blocks set aside because ClickHouse will never take them, since the start. Inserter."""
        self.events_inserted = 0
        """Since the start. Inserter."""
        self.journal_error: str | None = None
        """Why the last append failed; None after one that worked. Buffer."""
        self.events_waiting = 0
        """Events that are in the journal and not yet in ClickHouse. Buffer."""
