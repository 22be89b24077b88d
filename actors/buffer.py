"""The BufferActor: makes entries durable, groups them into blocks, keeps them until ClickHouse has them.

- An entry is acknowledged only after the journal has it; a batch of appends is one write.
- A journal segment is a block: its id, fixed before the first row, is the block's deduplication token, so a
  block that is sent twice, even by another process after a crash, is stored once.
- Blocks are inserted one at a time and in order by the InserterActor; only a few wait in memory, the rest on
  disk.
- A block of which ClickHouse refuses rows, while the quarantine has no room for them, is postponed: it stays
  in the journal and counts against its limit, and the others go on.
- A key of an idempotent sender is remembered as soon as its event is durable, and a segment is only deleted
  when the keys in it are saved.
- Once an append of a site was refused, all of that site's appends of the same epoch are refused: their
  session rows build on rows that were never written.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from typing import ClassVar, Final, NamedTuple

from msgspec import Struct

from actors.messages import Append, Flush, Insert, Inserted, InsertEnded, Postponed, Tick
from actors.runtime import Actor, Envelope, MailboxFull, Ref
from actors.status import Status
from service.clickhouse.store import BlockTrigger
from service.clock import Clock, stopwatch
from service.errors import JournalError, JournalFull
from service.ingestion.rows import Entry
from service.journal import Journal
from service.remembered_keys import RememberedKeys
from service.segment import SegmentInfo
from service.telemetry import Telemetry
from service.tracing.records import BlockTrace, Write, note_failed_write
from service.tracing.spans import Tracing

log = logging.getLogger(__name__)

POSTPONED_RETRY_S = 60.0
"""How often postponed blocks are tried again; at once when rows were taken out of the quarantine."""
LET_GO_AT_ONCE: Final = 500
"""Entries of stored blocks that leave memory in a turn without events: about half a millisecond."""
SAME_MOMENT_S: Final = 0.01
"""Events that arrive within this time are measured as one arrival."""


class BlockLimits(Struct, frozen=True):
    """When a block is closed, and how many closed ones may wait in memory."""

    max_rows: int = 10_000
    """Events in one block."""
    max_bytes: int = 16 * 2**20
    """Bytes of a block's entries in the journal."""
    max_age_s: float = 1.0
    """Seconds from the first event of a block to its closing."""
    max_waiting: int = 8
    """Closed blocks whose entries stay in memory.

    Those beyond are read from the journal when their turn comes.
    """


class _Arrivals:
    """When the events of a block came into the journal: how many at which time, UTC epoch seconds."""

    __slots__ = ("moments",)

    def __init__(self, at: float | None = None, events: int = 0) -> None:
        self.moments: list[tuple[float, int]] = [] if at is None else [(at, events)]

    def add(self, at: float, events: int) -> None:
        """Note some more; what came at nearly the same time counts as one."""
        moments = self.moments
        if moments and 0 <= at - moments[-1][0] < SAME_MOMENT_S:
            moments[-1] = (moments[-1][0], moments[-1][1] + events)
        else:
            moments.append((at, events))


class _Written(NamedTuple):
    """What was handed to the journal with one write."""

    accepted: list[Envelope]
    entries: list[Entry]
    keys: dict[int, bytes]
    size_bytes: int
    began: int
    """In nanoseconds of the tracing's clock; 0 without tracing."""


class _Waiting:
    """A closed block that is not in ClickHouse yet."""

    __slots__ = ("arrivals", "entries", "events", "segment", "trace", "trigger")

    def __init__(
        self,
        segment: SegmentInfo,
        trigger: BlockTrigger,
        entries: list[Entry] | None,
        arrivals: _Arrivals | None = None,
        trace: BlockTrace | None = None,
    ) -> None:
        self.segment = segment
        # Of a block of an earlier life, or of one that leaves memory, only its beginning is known.
        self.arrivals = arrivals or _Arrivals(segment.created_ms / 1000, segment.records)
        self.trigger = trigger
        self.entries = entries
        """None: on disk only."""
        self.events = segment.records
        self.trace = trace


class BufferActor(Actor):
    """Owns the journal, the open block, and the queue of closed ones."""

    kind: ClassVar[str] = "buffer"
    mailbox_bound: ClassVar[int] = 20_000

    def __init__(
        self,
        journal: Journal,
        inserter: Ref[Insert],
        limits: BlockLimits,
        clock: Clock,
        status: Status,
        telemetry: Telemetry,
        keys: RememberedKeys,
        tracing: Tracing | None = None,
    ) -> None:
        self._journal = journal
        self._keys = keys
        self._stored: list[SegmentInfo] = []
        """Segments whose blocks are in ClickHouse and that are kept for the keys in them, for now."""
        self._inserter = inserter
        self._limits = limits
        self._clock = clock
        self._status = status
        self._telemetry = telemetry
        self._tracing = tracing
        self._open_trace: BlockTrace | None = None
        """Follows the open block, from its first entry on."""
        self._open: list[Entry] = []
        self._open_bytes = 0
        self._arrivals = _Arrivals()
        """Of the open block."""
        self._opened_at = 0.0
        """When the open block got its first entry, UTC epoch seconds."""
        self._waiting: deque[_Waiting] = deque()
        self._postponed: list[_Waiting] = []
        """Blocks whose refused rows wait for room in the quarantine; as many as the journal holds."""
        self._resume_at = 0.0
        """When the postponed blocks are tried again at the latest, UTC epoch seconds."""
        self._spent: deque[list[Entry]] = deque()
        """Of blocks that are stored, or wait on disk only; on their way out of memory."""
        self._inserting = False
        """The head of the queue is with the inserter."""
        self._flushes: list[tuple[str, int, Envelope]] = []
        """Askers of a flush: the block they wait for, and how many events were waiting when they asked."""
        self._refused_epochs: dict[int, int] = {}

    async def on_start(self) -> None:
        """Queue what an earlier process, or an earlier self, left in the journal."""
        rotated = self._journal.rotate()
        if rotated is not None:  # of an earlier self, which may not have come to note the keys
            self._keys.add(self._journal.keys(rotated))
        for segment in self._journal.pending():
            self._waiting.append(_Waiting(segment, BlockTrigger.REPLAY, None, None))
        self._status.events_waiting = sum(block.events for block in self._waiting)
        self._insert_next()

    def receive_batch(self, envelopes: list[Envelope]) -> Awaitable[None] | None:
        """Write all appends of the batch with one write, then see to the rest in order."""
        appends = [envelope for envelope in envelopes if type(envelope.message) is Append]
        write = self._append(appends) if appends else None
        if write is not None and self._journal.confirms:
            return self._confirm(write, envelopes)
        if write is not None:
            self._note_written(write)
        if len(appends) < len(envelopes):
            self._see_to_rest(envelopes)
        if self._spent:
            self._forget_some(LET_GO_AT_ONCE if write is None else 2 * len(write.entries))
        return None

    async def _confirm(self, write: "_Written", envelopes: list[Envelope]) -> None:
        """Wait for the disk before anybody is told that his event is safe."""
        began = stopwatch()
        try:
            await self._journal.sync()
        except JournalError as error:
            self._note_refused(write.accepted, write.began, error)
        else:
            self._telemetry.record_sync(stopwatch() - began)
            self._note_written(write)
        self._see_to_rest(envelopes)
        if self._spent:
            self._forget_some(2 * len(write.entries))

    def _see_to_rest(self, envelopes: list[Envelope]) -> None:
        for envelope in envelopes:
            match envelope.message:
                case Append():
                    continue
                case Tick(now=now):
                    self._keys.forget_old()
                    if self._stored:
                        self._let_go()
                    if self._open and now - self._opened_at >= self._limits.max_age_s:
                        self._close(BlockTrigger.AGE)
                    self._resume(now)
                    self._insert_next()
                case InsertEnded(outcome=outcome):
                    self._insert_ended(outcome)
                case Flush():
                    self._flush(envelope)

    def _append(self, envelopes: list[Envelope]) -> "_Written | None":
        """Hand the entries to the journal; None when there is nothing to acknowledge."""
        accepted = (
            [envelope for envelope in envelopes if self._in_force(envelope)]
            if self._refused_epochs
            else envelopes
        )
        entries = [entry for envelope in accepted for entry in envelope.message.entries]
        if not entries:
            return None
        keys = _keys(accepted)
        began = self._tracing.now() if self._tracing is not None else 0
        try:
            written = self._journal.append(entries, keys)
        except JournalError as error:
            self._note_refused(accepted, began, error)
            return None
        return _Written(accepted, entries, keys, written, began)

    def _note_refused(self, accepted: list[Envelope], began: int, error: JournalError) -> None:
        self._status.journal_failed_at = self._clock()
        self._status.journal_is_full = isinstance(error, JournalFull)
        log.error("The journal refuses to be written, senders are told to try again: %s", error)
        write = None
        if self._tracing is not None:
            write = Write(began, self._tracing.now(), None, failed=True)
            for envelope in accepted:
                note_failed_write(envelope.message.traces, write)
        for envelope in accepted:
            self._refused_epochs[envelope.message.site_id] = envelope.message.epoch
        self._answer(accepted, write, written=False)
        # The segment may take nothing more; the next append begins another.
        self._close(BlockTrigger.FAILURE)

    def _note_written(self, write: "_Written") -> None:
        """Acknowledge what is durable now, and put it into the open block."""
        if write.keys:
            self._keys.add(write.keys.values())
        now = self._clock()
        if not self._open:
            self._opened_at = self._status.opened_at = now
        self._arrivals.add(now, len(write.entries))
        traced = None if self._tracing is None else self._follow(self._tracing, write.accepted, write.began)
        self._open.extend(write.entries)
        self._open_bytes += write.size_bytes
        self._status.journal_failed_at = None
        self._status.events_waiting += len(write.entries)
        self._status.open_events = len(self._open)
        self._answer(write.accepted, traced, written=True)
        if len(self._open) >= self._limits.max_rows or self._open_bytes >= self._limits.max_bytes:
            self._close(BlockTrigger.SIZE)

    def _follow(self, tracing: Tracing, envelopes: list[Envelope], began: int) -> Write:
        block = self._open_trace
        if block is None:
            block = self._open_trace = tracing.begin_block()
        write = Write(began, tracing.now(), block)
        for envelope in envelopes:
            if envelope.message.traces:
                block.note_write(envelope.message.traces, write)
        return write

    def _answer(self, envelopes: list[Envelope], write: Write | None, *, written: bool) -> None:
        """Answer all appends of a write, so that who is kept only now knows by what it was answered."""
        tracing = self._tracing
        if tracing is None:
            for envelope in envelopes:
                envelope.reply(written)
            return
        tracing.answering = write
        for envelope in envelopes:
            tracing.taken = envelope.message.taken
            envelope.reply(written)
        tracing.answering, tracing.taken = None, 0

    def _in_force(self, envelope: Envelope) -> bool:
        append = envelope.message
        refused = self._refused_epochs.get(append.site_id)
        if refused is None:
            return True
        if append.epoch > refused:
            del self._refused_epochs[append.site_id]
            return True
        envelope.reply(value=False)
        return False

    def _close(self, trigger: BlockTrigger) -> None:
        segment = self._journal.rotate()
        if segment is None:
            return
        keep = len(self._waiting) < self._limits.max_waiting or not self._journal.on_disk
        self._telemetry.record_block(trigger, events=segment.records)
        entries, arrivals = (self._open, self._arrivals) if keep else (None, None)
        if not keep:
            self._spent.append(self._open)
        self._waiting.append(_Waiting(segment, trigger, entries, arrivals, self._open_trace))
        self._open = []
        self._open_trace = None
        self._open_bytes = 0
        self._arrivals = _Arrivals()
        self._status.open_events = 0
        self._status.opened_at = None
        self._insert_next()

    def _insert_next(self) -> None:
        if self._inserting or not self._waiting:
            return
        head = self._waiting[0]
        future = asyncio.get_running_loop().create_future()
        future.add_done_callback(self._insert_done)
        self._inserting = True
        if head.trace is None and self._tracing is not None:
            head.trace = self._tracing.begin_block()  # of an earlier life
        envelope = Envelope(Insert(head.segment, head.trigger, head.entries, head.trace), future, None)
        if not self._inserter.offer(envelope):
            envelope.fail(MailboxFull("the inserter takes no block"))

    def _insert_done(self, future: asyncio.Future[Inserted | Postponed]) -> None:
        # Back into the mailbox, so that the state is changed by a message like any other.
        failed = future.cancelled() or future.exception() is not None
        self.ref.tell_control(InsertEnded(None if failed else future.result()))

    def _insert_ended(self, outcome: Inserted | Postponed | None) -> None:
        self._inserting = False
        match outcome:
            case None:
                return  # the next tick gives the block to the restarted inserter
            case Inserted():
                block = self._waiting.popleft()
                segment = block.segment
                self._stored.append(segment)
                self._let_go()
                if block.entries is not None:
                    self._spent.append(block.entries)
                self._status.events_waiting -= segment.records
                now = self._clock()
                for arrived_at, events in block.arrivals.moments:
                    self._telemetry.record_confirmed(max(0.0, now - arrived_at), events=events)
            case Postponed():
                block = self._waiting.popleft()
                block.entries = None
                block.trace = None  # it ended here; the next attempt is another
                if not self._postponed:
                    self._resume_at = self._clock() + POSTPONED_RETRY_S
                self._postponed.append(block)
                segment = block.segment
        self._status.blocks_postponed = len(self._postponed)
        for waiting in [flush for flush in self._flushes if flush[0] == segment.id]:
            self._flushes.remove(waiting)
            waiting[2].reply(waiting[1])
        self._insert_next()

    def _let_go(self) -> None:
        """Delete the segments of blocks that are stored, once the keys in them are remembered elsewhere."""
        try:
            self._keys.save()
        except JournalError as error:
            if len(self._stored) == 1:
                log.error("Stored blocks stay in the journal, their keys cannot be saved: %s", error)
            return
        for segment in self._stored:
            self._journal.remove(segment)
        self._stored.clear()

    def _forget_some(self, count: int) -> None:
        """Let go of a few: of more than came in with the same turn, so that they never pile up."""
        spent = self._spent[0]
        del spent[-count:]
        if not spent:
            self._spent.popleft()

    def _resume(self, now: float) -> None:
        """Queue the postponed blocks once the quarantine may have room, behind all others."""
        if self._postponed and (self._status.quarantine_error is None or now >= self._resume_at):
            self._resume_at = now + POSTPONED_RETRY_S
            self._waiting.extend(self._postponed)
            self._postponed.clear()
            self._status.blocks_postponed = 0

    def _flush(self, envelope: Envelope) -> None:
        if self._open:
            self._close(BlockTrigger.FLUSH)
        if not self._waiting:
            envelope.reply(0)
            return
        events = sum(block.events for block in self._waiting)
        self._flushes.append((self._waiting[-1].segment.id, events, envelope))

    async def on_stop(self, reason: object) -> None:
        """Leave what is not in ClickHouse to the journal; the next start inserts it under the same id."""
        waiting = sum(block.events for block in self._waiting) + len(self._open)
        if waiting:
            log.info("%d events wait in the journal for the next start", waiting)


def _keys(envelopes: list[Envelope]) -> dict[int, bytes]:
    """Give the keys of all entries of some appends, by the entry's place among them."""
    keys: dict[int, bytes] = {}
    first = 0
    for envelope in envelopes:
        append = envelope.message
        if append.keys:
            keys.update((first + place, key) for place, key in append.keys.items())
        first += len(append.entries)
    return keys
