"""Inserts a journal without the service, as the service would: same rows, same tokens, same quarantine."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Final

from msgspec import Struct, structs

from service.cli.folder import prepare_folder
from service.cli.stores import open_clickhouse, open_journal, open_keys, open_quarantine
from service.clickhouse.store import Block, BlockTrigger, ClickhouseStore
from service.clock import wall
from service.config import Config
from service.insertion import insert_whole, note_sessions, read_in_steps, run_through, take_apart
from service.journal import Journal
from service.progress import RowTable
from service.segment import SegmentInfo

AT_ONCE: Final = 3
"""Blocks in memory: one that is being stored, one that is being encoded, one that is being read."""


class Replayed(Struct, frozen=True):
    """What became of the blocks that waited."""

    blocks: int = 0
    """Those that are finished and no longer in the journal."""
    events: int = 0
    """In ClickHouse by them."""
    session_rows: int = 0
    """States of sessions and their cancellations, likewise."""
    quarantined: int = 0
    """Rows of both tables that ClickHouse refused."""
    waiting: int = 0
    """Blocks whose refused rows the quarantine did not take."""
    problem: str = ""
    """Why not."""


async def replay_journal(config: Config) -> Replayed:
    """Insert all that waits, oldest first.

    Raises JournalLocked when a service owns the journal, and StoreUnavailable; what was inserted until then
    stays so, and the rest stays in the journal.
    """
    prepare_folder(config.data_dir)
    keys = open_keys(config)
    journal = open_journal(config, keys)
    done = Replayed()
    try:
        keys.save()
        quarantine = open_quarantine(config)
        async with open_clickhouse(config) as store, aclosing(_attempts(journal, store)) as attempts:
            async for segment, block, is_stored in attempts:
                progress = journal.progress(segment)
                problem = ""
                if not is_stored:
                    problem = await take_apart(
                        store, block, progress, quarantine, created_ms=segment.created_ms, now=wall
                    )
                if problem:
                    done = structs.replace(done, waiting=done.waiting + 1, problem=problem)
                    continue
                if journal.sessions is not None:
                    note_sessions(journal.sessions, block)
                journal.remove(segment)
                refused_events = progress.given_up(RowTable.EVENTS)
                refused_sessions = progress.given_up(RowTable.SESSIONS)
                done = structs.replace(
                    done,
                    blocks=done.blocks + 1,
                    events=done.events + len(block.events) - refused_events,
                    session_rows=done.session_rows + len(block.sessions) - refused_sessions,
                    quarantined=done.quarantined + refused_events + refused_sessions,
                )
    finally:
        journal.close()
    return done


async def _attempts(
    journal: Journal, store: ClickhouseStore
) -> AsyncGenerator[tuple[SegmentInfo, Block, bool]]:
    """Give what waits, oldest first, and whether it is stored now as a whole.

    While ClickHouse is busy with a block the next one is encoded, and the one after that is read.
    """
    loop = asyncio.get_running_loop()

    def build(segment: SegmentInfo) -> Block:
        return run_through(read_in_steps(journal, segment, journal.load(segment), BlockTrigger.REPLAY))

    async def attempt(segment: SegmentInfo) -> tuple[SegmentInfo, Block, bool]:
        block = await loop.run_in_executor(reader, build, segment)
        return segment, block, await insert_whole(store, block, journal.progress(segment))

    under_way: deque[asyncio.Task[tuple[SegmentInfo, Block, bool]]] = deque()
    with ThreadPoolExecutor(1) as reader:
        try:
            for segment in journal.pending():
                task = asyncio.create_task(attempt(segment))  # noqa: TID251 - awaited or cancelled below
                under_way.append(task)
                if len(under_way) == AT_ONCE:
                    yield await under_way.popleft()
            while under_way:
                yield await under_way.popleft()
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
