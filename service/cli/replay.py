"""Inserts a journal without the service, as the service would: same rows, same tokens, same quarantine."""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from itertools import zip_longest

from msgspec import Struct, structs

from service.cli.folder import prepare_folder
from service.cli.stores import open_clickhouse, open_journal, open_keys, open_quarantine
from service.clickhouse.store import Block, BlockTrigger
from service.clock import wall
from service.config import Config
from service.insertion import build_block, insert, note_sessions
from service.journal import Journal
from service.progress import RowTable
from service.segment import SegmentInfo


class Replayed(Struct, frozen=True):
    """What became of the blocks that waited."""

    blocks: int = 0
    """Those that are finished and no longer in the journal."""
    events: int = 0
    """In ClickHouse by them."""
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
        async with open_clickhouse(config) as store, aclosing(_blocks(journal)) as blocks:
            async for segment, block in blocks:
                progress = journal.progress(segment)
                problem = await insert(
                    store, block, progress, quarantine, created_ms=segment.created_ms, now=wall
                )
                if problem:
                    done = structs.replace(done, waiting=done.waiting + 1, problem=problem)
                    continue
                if journal.sessions is not None:
                    note_sessions(journal.sessions, block)
                journal.remove(segment)
                refused = progress.given_up(RowTable.EVENTS)
                done = structs.replace(
                    done,
                    blocks=done.blocks + 1,
                    events=done.events + len(block.events) - refused,
                    quarantined=done.quarantined + refused + progress.given_up(RowTable.SESSIONS),
                )
    finally:
        journal.close()
    return done


async def _blocks(journal: Journal) -> AsyncGenerator[tuple[SegmentInfo, Block]]:
    """Give what waits, oldest first; the next block is read while ClickHouse is busy with the one before."""

    def build(segment: SegmentInfo) -> Block:
        return build_block(segment.id, BlockTrigger.REPLAY, journal.read(segment))

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as reader:
        pending = journal.pending()
        blocks = [loop.run_in_executor(reader, build, segment) for segment in pending[:1]]
        for segment, following in zip_longest(pending, pending[1:]):
            block = await blocks.pop()
            if following is not None:
                blocks.append(loop.run_in_executor(reader, build, following))
            yield segment, block
