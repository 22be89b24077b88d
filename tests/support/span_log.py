"""ClickHouse's own spans, as its table ``system.opentelemetry_span_log`` has them."""

import asyncio
import time
import uuid

from service.clickhouse.migrations import MigratableStore
from tests.support.server import ARRIVAL_LIMIT_S, POLL_S


async def spans_below(store: MigratableStore, *, trace_id: str, span_id: int, at_least: int) -> int:
    """Count the spans right below one of ours, once there are enough of them.

    ClickHouse ends the span of a query only after its client has the answer, so that a flush of the log
    right behind an insert can come before the insert's span.
    """
    query = (
        "SELECT count() AS spans FROM system.opentelemetry_span_log "
        f"WHERE trace_id = '{uuid.UUID(trace_id)}' AND parent_span_id = {span_id}"
    )
    deadline = time.monotonic() + ARRIVAL_LIMIT_S
    while True:
        await store.execute("SYSTEM FLUSH LOGS")
        (row,) = await store.query(query)
        found = int(str(row["spans"]))
        if found >= at_least:
            return found
        assert time.monotonic() < deadline, (
            f"ClickHouse tells of {found} spans below {span_id:016x}, not {at_least}"
        )
        await asyncio.sleep(POLL_S)
