"""The session rows of any traffic add up: properties of reference 8.5, 8.9 and of coalescing."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from service.clickhouse.store import BlockTrigger
from service.ingestion.event import Context, Event, to_row
from service.ingestion.rows import ClickhouseSession, Entry
from service.ingestion.session import (
    continue_session,
    covers_past,
    find,
    join_late,
    open_session,
    touch,
)
from service.insertion import build_block
from tests.support.events import NOON, build_event

DAY_S: Final = 86_400
Row = tuple[int, ClickhouseSession]
Figures = tuple[int, int, int, int, int]


class Hit(Struct, frozen=True):
    """One request of a made-up visitor; ``step_s`` is the time since the one before it, often negative."""

    visitor: int
    kind: str
    step_s: int
    back_dated: bool


HITS: Final = st.lists(
    st.builds(
        Hit,
        visitor=st.integers(0, 2),
        kind=st.sampled_from("PPCNG"),
        step_s=st.sampled_from([0, 1, 30, -5, 600, 1_859, 1_860, -1_000, 40_000]),
        back_dated=st.booleans(),
    ),
    max_size=40,
)
CUTS: Final = st.lists(st.integers(1, 7), max_size=40)
NAMES: Final = {"P": "pageview", "C": "Signup", "N": "Scroll", "G": "engagement"}


def make_event(context: Context, hit: Hit, timestamp: int) -> Event:
    """Give the event of a hit."""
    return build_event(
        context,
        timestamp=timestamp,
        back_dated=hit.back_dated,
        event_name=NAMES[hit.kind],
        interactive=hit.kind != "N",
        remote_ip=f"203.0.113.{hit.visitor}",
    )


def play(context: Context, hits: Sequence[Hit]) -> list[Entry]:
    """Register the hits as a site does, one writer, and give what each of them writes."""
    sessions: dict[int, ClickhouseSession] = {}
    entries = []
    now = NOON
    for session_id, hit in enumerate(hits):
        now += hit.step_s
        event = make_event(context, hit, now)
        known = sessions.get(event.user_id)
        is_late = hit.back_dated and known is not None and now < known.timestamp
        before = known if is_late and known is not None and covers_past(known, now) else None
        if not is_late:
            before = find(known, None, now)
        if hit.kind == "G":
            if before is not None:
                after = before if is_late else touch(before, now)
                sessions[event.user_id] = after
                entries.append(Entry(to_row(event, after), None, None))
            continue
        if before is None:
            after = open_session(event, session_id)
        else:
            after = join_late(before, event) if is_late else continue_session(before, event)
        sessions[event.user_id] = after
        entries.append(Entry(to_row(event, after), before, after))
    return entries


def plain_rows(entries: Sequence[Entry]) -> list[Row]:
    """Give the rows as they would be without coalescing."""
    rows: list[Row] = []
    for entry in entries:
        if entry.replaced is not None:
            rows.append((-1, entry.replaced))
        if entry.session is not None:
            rows.append((1, entry.session))
    return rows


def coalesced(entries: Sequence[Entry]) -> Sequence[Row]:
    """Give the session rows of a block of these entries."""
    return build_block("0" * 32, BlockTrigger.AGE, entries).sessions


def cut(entries: Sequence[Entry], sizes: Sequence[int]) -> list[Sequence[Entry]]:
    """Cut the entries into blocks of these sizes, the rest into one."""
    blocks = []
    for size in sizes:
        blocks.append(entries[:size])
        entries = entries[size:]
    return [*blocks, entries]


def sums(rows: Sequence[Row]) -> dict[int, Figures]:
    """Give, for each session, the sums that every reader of the table makes: rows and sign × figure."""
    totals: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    for sign, session in rows:
        figures = (1, session.pageviews, session.events, int(session.is_bounce), session.duration)
        for index, figure in enumerate(figures):
            totals[session.session_id][index] += sign * figure
    return {key: (total[0], total[1], total[2], total[3], total[4]) for key, total in totals.items()}


@given(hits=HITS, sizes=CUTS)
def test_rows_sum_to_one_row_a_session(context: Context, hits: list[Hit], sizes: list[int]) -> None:
    """For any traffic and any blocks, each session sums to one row with no negative figure."""
    rows = [row for block in cut(play(context, hits), sizes) for row in coalesced(block)]
    for count, *figures in sums(rows).values():
        assert count == 1
        assert all(figure >= 0 for figure in figures)


@given(hits=HITS, sizes=CUTS)
def test_coalescing_changes_no_sum(context: Context, hits: list[Hit], sizes: list[int]) -> None:
    """With and without coalescing, every sum is the same."""
    entries = play(context, hits)
    rows = [row for block in cut(entries, sizes) for row in coalesced(block)]
    assert sums(rows) == sums(plain_rows(entries))


@given(hits=HITS, sizes=CUTS)
def test_a_cancelled_row_was_written_before(context: Context, hits: list[Hit], sizes: list[int]) -> None:
    """Each −1 row has an earlier +1 row of the same sorting key and version, so that they collapse."""
    open_rows: Counter[tuple[int, int, int, int, int]] = Counter()
    for block in cut(play(context, hits), sizes):
        for sign, session in coalesced(block):
            key = (
                session.site_id,
                session.start // DAY_S,
                session.user_id,
                session.session_id,
                session.events,
            )
            open_rows[key] += sign
            assert open_rows[key] >= 0


@given(hits=HITS, sizes=CUTS)
def test_a_block_has_at_most_two_rows_a_session(context: Context, hits: list[Hit], sizes: list[int]) -> None:
    """A block holds at most one −1 and one +1 row of a session, the −1 first."""
    for block in cut(play(context, hits), sizes):
        signs: dict[int, list[int]] = defaultdict(list)
        for sign, session in coalesced(block):
            signs[session.session_id].append(sign)
        assert all(of_session in ([1], [-1, 1]) for of_session in signs.values())


@given(hits=HITS)
def test_event_rows_name_their_session(context: Context, hits: list[Hit]) -> None:
    """Every event row carries the id, the visitor and the attributes of a session that was written."""
    entries = play(context, hits)
    written = {session.session_id: session for _, session in plain_rows(entries)}
    for entry in entries:
        session = written[entry.event.session_id]
        assert (entry.event.user_id, entry.event.attributes) == (session.user_id, session.attributes)
