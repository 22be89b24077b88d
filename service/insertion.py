"""How a block gets into ClickHouse exactly once, also when ClickHouse refuses some of its rows.

A block that is refused for its content is taken apart: each half is inserted as a block of its own, whose id
is made of the block's id and the rows' places, and a half that is refused is halved again. So the same rows
always go under the same deduplication token, and what was decided is on disk before anything follows from it
(``service.progress``). A single row that is refused goes to the quarantine. Source: design sections 3 to 5.

Both tables are taken apart on their own: an event whose session row is refused is stored all the same, and
the other way round.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, cast, overload

from msgspec import Struct, structs

from service.clickhouse.store import Block, BlockTrigger, ClickhouseStore
from service.clock import Clock
from service.errors import BlockRejected, JournalError
from service.ingestion.request import ENGAGEMENT
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession, Entry
from service.ingestion.session import Visits
from service.journal import Journal
from service.progress import Fate, Part, Progress, RowTable
from service.quarantine import Quarantine
from service.segment import SegmentInfo
from service.session_log import SessionLog
from service.wire.entry import SkimmedEntry
from service.wire.record import RecordError
from service.wire.refused_row import RefusedRow

PIECE_ENTRIES: Final = 1_000
"""Of a block in memory: to coalesce so many takes a millisecond at most."""
PIECE_SESSIONS: Final = 200
"""Reading the states of so many takes a millisecond."""
MAX_SPLITS: Final = 2_000
"""Of one block. What is refused afterwards goes to the quarantine as it is, its good rows too.

A table that refuses every row must not cost two inserts a row of each block while the journal grows.
"""

_EVENT: Final[Callable[[Entry | SkimmedEntry], ClickhouseEvent]] = attrgetter("event")

log: Final = logging.getLogger(__name__)


async def insert(
    store: ClickhouseStore,
    block: Block,
    progress: Progress,
    quarantine: Quarantine,
    *,
    created_ms: int,
    now: Clock,
) -> str:
    """Store what ClickHouse takes of a block and keep the rest in the quarantine; once each.

    Gives why the quarantine has not taken some rows, which wait in the journal then; empty when all is done.
    ``created_ms`` is when the block was begun. Raises StoreUnavailable or JournalError: call again with the
    same then, also after a restart.
    """
    if await insert_whole(store, block, progress):
        return ""
    return await take_apart(store, block, progress, quarantine, created_ms=created_ms, now=now)


async def insert_whole(store: ClickhouseStore, block: Block, progress: Progress) -> bool:
    """Store all of a block at once; False when ClickHouse refuses it, now or before.

    Raises StoreUnavailable. Several may be under way; each waits for its turn at the store.
    """
    if not progress.is_untouched:
        return False
    try:
        await store.insert_block(block)
    except BlockRejected as error:
        log.warning("ClickHouse refuses block %s, it is taken apart to find the rows", block.id)
        log.debug("Block %s: %s", block.id, error)
        return False
    return True


async def take_apart(
    store: ClickhouseStore,
    block: Block,
    progress: Progress,
    quarantine: Quarantine,
    *,
    created_ms: int,
    now: Clock,
) -> str:
    """Do what ``insert`` does, for a block that ClickHouse refuses as a whole.

    One at a time: the quarantine has one writer.
    """
    return await _Bisection(store, block, progress, quarantine, created_ms, now).run()


def note_sessions(sessions: SessionLog, block: Block) -> None:
    """Keep what a stored block says of sessions, before the journal lets go of it. Raises JournalError."""
    states = [state for sign, state in block.sessions if sign > 0]
    kept_alive = {event.session_id: event.timestamp for event in block.events if event.name == ENGAGEMENT}
    sessions.note(states, list(kept_alive.items()))


class Retried(Struct, frozen=True):
    """What became of rows of the quarantine that were inserted again."""

    stored: int
    """So many are in ClickHouse now and no longer in the quarantine."""
    refused: dict[str, str]
    """Why ClickHouse refused the others, by their ids."""


def build_block(block_id: str, trigger: BlockTrigger, entries: Sequence[Entry]) -> Block:
    """Give the block of a segment's entries: the same rows in the same order whenever it is asked for."""
    return run_through(_gather(block_id, trigger, [entries]))


Steps = Generator[None, None, Block]
"""Work that gives a block in the end, cut into steps of a millisecond or so."""


class EventsOf(Sequence[ClickhouseEvent]):
    """The events of entries, each taken out when it is asked for.

    A list of them would be young, and a garbage collection walks through all that is in a young list.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        """Count them."""
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> ClickhouseEvent: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ClickhouseEvent]: ...

    def __getitem__(self, index: int | slice) -> ClickhouseEvent | Sequence[ClickhouseEvent]:
        """Give one, or a list of some."""
        if isinstance(index, slice):
            return list(map(_EVENT, self._entries[index]))
        return self._entries[index].event

    def __iter__(self) -> Iterator[ClickhouseEvent]:
        """Give each."""
        return map(_EVENT, self._entries)


def build_in_steps(block_id: str, trigger: BlockTrigger, entries: Sequence[Entry]) -> Steps:
    """Do the same step by step; the block is good only as long as these entries stay as they are."""
    visits = Visits[Entry | SkimmedEntry]()
    for first in range(0, len(entries), PIECE_ENTRIES):
        visits.note(entries[first : first + PIECE_ENTRIES])
        yield
    sessions = yield from _coalesce(visits)
    return Block(id=block_id, trigger=trigger, events=EventsOf(entries), sessions=sessions)


def _coalesce(
    visits: Visits[Entry | SkimmedEntry],
) -> Generator[None, None, list[tuple[int, ClickhouseSession]]]:
    """Give the session rows of a block. Raises RecordError for a state that was skimmed."""
    sessions: list[tuple[int, ClickhouseSession]] = []
    for place, (first, last) in enumerate(visits.ends(), start=1):
        replaced = first.replaced if isinstance(first, Entry) else first.read_replaced()
        session = last.session if isinstance(last, Entry) else last.read_session()
        if replaced is not None:
            sessions.append((-1, replaced))
        if session is not None:
            sessions.append((1, session))
        if not place % PIECE_SESSIONS:
            yield
    return sessions


def read_in_steps(journal: Journal, segment: SegmentInfo, data: bytes, trigger: BlockTrigger) -> Steps:
    """Give the block of a closed segment, read from what ``Journal.load`` gave. Raises JournalError."""
    try:
        return (yield from _gather(segment.id, trigger, journal.skim(segment, data)))
    except RecordError:  # in a state that was needed in the end
        left = journal.load(segment)  # something behind it may have been set aside already
        return (yield from _gather(segment.id, trigger, journal.decode(segment, left)))


def _gather(block_id: str, trigger: BlockTrigger, pieces: Iterable[Sequence[Entry | SkimmedEntry]]) -> Steps:
    """Give the block of entries that come piece by piece. Raises RecordError for a state that was skimmed."""
    events: list[ClickhouseEvent] = []
    visits = Visits[Entry | SkimmedEntry]()
    for entries in pieces:
        events += map(_EVENT, entries)
        visits.note(entries)
        yield
    sessions = yield from _coalesce(visits)
    return Block(id=block_id, trigger=trigger, events=events, sessions=sessions)


def run_through(steps: Steps) -> Block:
    """Take all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast(Block, end.value)


async def retry(store: ClickhouseStore, quarantine: Quarantine, ids: Collection[str]) -> Retried:
    """Insert rows of the quarantine again, one by one; ids that are not in it are passed over.

    Raises StoreUnavailable or JournalError; call again with the same then.
    """
    stored: list[str] = []
    refused: dict[str, str] = {}
    try:
        for row in await asyncio.to_thread(quarantine.find, ids):
            try:
                await _insert_again(store, row)
            except BlockRejected as error:
                refused[row.id] = str(error)
            else:
                stored.append(row.id)
    finally:
        await asyncio.to_thread(quarantine.remove, stored)
    return Retried(len(stored), refused)


async def _insert_again(store: ClickhouseStore, row: RefusedRow) -> None:
    if isinstance(row.values, ClickhouseEvent):
        block = Block(id=row.id, trigger=BlockTrigger.RETRY, events=[row.values], sessions=[])
    else:
        block = Block(id=row.id, trigger=BlockTrigger.RETRY, events=[], sessions=[(row.sign, row.values)])
    await store.insert_block(block)


class _Bisection:
    """One block on its way to be taken apart; holds nothing that a next try would miss."""

    def __init__(
        self,
        store: ClickhouseStore,
        block: Block,
        progress: Progress,
        quarantine: Quarantine,
        created_ms: int,
        now: Clock,
    ) -> None:
        self._store = store
        self._block = block
        self._progress = progress
        self._quarantine = quarantine
        self._created_ms = created_ms
        self._now = now
        self._problem = ""  # the first that the quarantine had

    async def run(self) -> str:
        for table, rows in (
            (RowTable.EVENTS, len(self._block.events)),
            (RowTable.SESSIONS, len(self._block.sessions)),
        ):
            if rows:
                await self._place(Part(table, 0, rows))
        return self._problem

    async def _place(self, whole: Part) -> None:
        parts = [whole]
        while parts:
            part = parts.pop()
            fate = self._progress.fate(part) or await self._try(part)
            if fate is Fate.SPLIT:
                parts.extend(reversed(part.halves()))
            elif fate is Fate.GIVEN_UP:
                await self._give_up(part)

    async def _try(self, part: Part) -> Fate:
        """Insert a part and give what was decided of it."""
        try:
            await self._store.insert_block(self._cut(part))
        except BlockRejected as error:
            may_split = part.rows > 1 and self._progress.splits < MAX_SPLITS
            fate, reason = (Fate.SPLIT, "") if may_split else (Fate.GIVEN_UP, str(error))
        else:
            fate, reason = Fate.FINISHED, ""
        await asyncio.to_thread(self._progress.note, part, fate, reason)  # the disk may take its time
        return fate

    async def _give_up(self, part: Part) -> None:
        try:
            await asyncio.to_thread(self._keep, part)
        except JournalError as error:
            self._problem = self._problem or str(error)
        else:
            await asyncio.to_thread(self._progress.note, part, Fate.FINISHED)

    def _keep(self, part: Part) -> None:
        now_ms = int(self._now() * 1000)
        reason = self._progress.reason(part)
        for place in range(part.first, part.end):
            if part.table is RowTable.EVENTS:
                event = self._block.events[place]
                row = RefusedRow(self._block.id, "events", place, now_ms, reason, 0, event)
            else:
                sign, state = self._block.sessions[place]
                row = RefusedRow(self._block.id, "sessions", place, now_ms, reason, sign, state)
            self._quarantine.add(row, created_ms=self._created_ms)

    def _cut(self, part: Part) -> Block:
        """Give a part as a block. The whole table keeps the block's id: it may be stored already."""
        block = self._block
        is_events = part.table is RowTable.EVENTS
        is_whole = part.rows == len(block.events if is_events else block.sessions)
        if part.rows == 1:
            name = f"{block.id}-{part.table}-{part.first}"
        else:
            name = f"{block.id}-{part.first}-{part.end}"
        return structs.replace(
            block,
            id=block.id if is_whole else name,
            events=block.events[part.first : part.end] if is_events else [],
            sessions=[] if is_events else block.sessions[part.first : part.end],
        )
