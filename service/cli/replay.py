"""Inserts a journal without the service, as the service would: same rows, same tokens, same quarantine."""

from msgspec import Struct, structs

from service.cli.folder import prepare_folder
from service.cli.stores import open_clickhouse, open_journal, open_keys, open_quarantine
from service.clickhouse.store import BlockTrigger
from service.clock import wall
from service.config import Config
from service.insertion import build_block, insert, note_sessions
from service.progress import RowTable


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
        async with open_clickhouse(config) as store:
            for segment in journal.pending():
                block = build_block(segment.id, BlockTrigger.REPLAY, journal.read(segment))
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
