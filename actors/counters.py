"""The CountersActor: minute totals per domain and verdict, for the ``ingest_counters`` table.

The table sums what it gets, so a minute may arrive in several rows. A batch keeps its token until ClickHouse
has taken it, so that a try whose answer was lost counts nothing twice. Counters are statistics: they live in
memory, and what was not written at a kill is gone, unlike events. Reference: section 10.4.
"""

import asyncio
import logging
import uuid
from itertools import islice
from typing import ClassVar, Final

from actors.directory import Directory
from actors.messages import Flush, Tick
from actors.runtime import Actor, Envelope
from service.clickhouse.schema import COUNTERS_TABLE
from service.clickhouse.store import ClickhouseStore, CounterRow
from service.errors import BlockRejected, StoreError
from service.telemetry import OTHER_DOMAIN, TallyKey, Telemetry

log = logging.getLogger(__name__)

FLUSH_INTERVAL_S: Final = 10.0
MAX_TOTALS: Final = 100_000
"""Different totals held while ClickHouse is away; beyond it domains are folded into ``(other)``."""
ROWS_AT_ONCE: Final = 500
"""Made without letting others run: each costs a microsecond, and every domain has one."""


class CountersActor(Actor):
    """Collects the tally of the telemetry and writes it as rows."""

    kind: ClassVar[str] = "counters"
    mailbox_bound: ClassVar[int] = 16

    def __init__(self, store: ClickhouseStore, telemetry: Telemetry, directory: Directory) -> None:
        self._store = store
        self._telemetry = telemetry
        self._directory = directory
        self._totals: dict[TallyKey, int] = {}
        self._batch: tuple[str, list[CounterRow]] | None = None
        """The rows that are on their way, and the token under which they are sent until they are in."""
        self._flushed_at = 0.0
        telemetry.count_rows(COUNTERS_TABLE.name, 0)

    async def receive(self, envelope: Envelope) -> None:
        """Collect and write, when it is time or when asked."""
        match envelope.message:
            case Tick(now=now) if now - self._flushed_at >= FLUSH_INTERVAL_S:
                self._flushed_at = now
                await self._write()
            case Flush():
                await self._write()
                envelope.reply(None)

    async def on_stop(self, reason: object) -> None:
        """Write what is there; when ClickHouse is away it is lost."""
        await self._write()

    def _collect(self) -> None:
        tally = self._telemetry.take_tally()
        if not self._totals:
            self._totals = tally
            return
        for key, value in tally.items():
            if key not in self._totals and len(self._totals) >= MAX_TOTALS:
                minute, _, metric, _ = key
                key = (minute, OTHER_DOMAIN, metric, 0)
            self._totals[key] = self._totals.get(key, 0) + value

    async def _write(self) -> None:
        self._collect()
        if self._batch is None:
            if not self._totals:
                return
            totals, self._totals = iter(self._totals.items()), {}
            rows: list[CounterRow] = []
            while made := [self._row(key, value) for key, value in islice(totals, ROWS_AT_ONCE)]:
                rows += made
                await asyncio.sleep(0)
            self._batch = (uuid.uuid4().hex, rows)
        token, rows = self._batch
        try:
            await self._store.insert_counters(rows, token=token)
        except BlockRejected as error:
            log.error("ClickHouse will never take these %d counters, they are gone: %s", len(rows), error)
        except StoreError as error:
            log.warning("The counters wait, ClickHouse is away: %s", error)
            return
        else:
            self._telemetry.count_rows(COUNTERS_TABLE.name, len(rows))
        self._batch = None

    def _row(self, key: TallyKey, value: int) -> CounterRow:
        minute, domain, metric, script_version = key
        return CounterRow(minute, domain, self._directory.find(domain), metric, script_version, value)
