"""What the actors say of themselves.

Plain fields, each with one writer, read by readiness checks and gauges.
"""


class Status:
    """Published figures of front, buffer and inserter; reading them costs nothing and waits for nobody."""

    __slots__ = (
        "away_since",
        "blocks_inserted",
        "blocks_postponed",
        "blocks_rejected",
        "events_inserted",
        "events_waiting",
        "insert_tries_failed",
        "journal_failed_at",
        "journal_is_full",
        "oldest_offer_s",
        "open_events",
        "opened_at",
        "quarantine_error",
        "requests_in_flight",
        "rows_quarantined",
    )

    def __init__(self) -> None:
        self.away_since: float | None = None
        """Since when ClickHouse takes no block, UTC epoch seconds; None while it does. Inserter."""
        self.insert_tries_failed = 0
        """Tries that ClickHouse did not take, since the start. Inserter."""
        self.blocks_inserted = 0
        """Since the start. Inserter."""
        self.blocks_rejected = 0
        """Blocks of which ClickHouse refused rows, since the start. Inserter."""
        self.rows_quarantined = 0
        """Rows that ClickHouse refused and that went to the quarantine, since the start. Inserter."""
        self.quarantine_error: str | None = None
        """Why the quarantine takes no more rows; None when it does. Inserter."""
        self.blocks_postponed = 0
        """Blocks that wait in the journal for room in the quarantine. Buffer."""
        self.events_inserted = 0
        """Since the start. Inserter."""
        self.journal_failed_at: float | None = None
        """When the last append failed, UTC epoch seconds; None after one that worked. Buffer."""
        self.journal_is_full = False
        """Whether it failed for want of room. Buffer."""
        self.oldest_offer_s = 0.0
        """How long the oldest event has waited for its site to take it up. Front, at every tick."""
        self.requests_in_flight = 0
        """Requests without an answer. Front, at every tick."""
        self.open_events = 0
        """Events in the block that is being filled. Buffer."""
        self.opened_at: float | None = None
        """When that block got its first event, UTC epoch seconds; None while it is empty. Buffer."""
        self.events_waiting = 0
        """Events that are in the journal and not yet in ClickHouse. Buffer."""
