"""Rows become columns that say the same; a value that a column cannot hold is found and its row named."""

from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from service.clickhouse.columns import PIECE_ROWS, counter_pieces, event_pieces, insertable, session_pieces
from service.clickhouse.native_format import CODE_BYTES
from service.clickhouse.schema import COUNTERS_TABLE, EVENTS_TABLE, SESSIONS_TABLE, Kind, WrittenColumn
from service.clickhouse.store import CounterRow
from service.errors import BlockRejected
from service.ingestion.rows import ClickhouseEvent, SessionAttributes, Text
from tests.support.native_blocks import read_block
from tests.support.rows import EMPTY_EVENT, FULL_EVENT, FULL_SESSION, attributes, events


def _with_attributes(**changes: Any) -> ClickhouseEvent:
    return replace(EMPTY_EVENT, attributes=SessionAttributes(**changes))


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (replace(EMPTY_EVENT, scroll_depth=256), "scroll_depth is outside of 0 to 255"),
        (replace(EMPTY_EVENT, user_id=-1), "user_id is outside of 0 to 18446744073709551615"),
        (replace(EMPTY_EVENT, engagement_time=2**32), "engagement_time is outside of 0 to 4294967295"),
        (replace(EMPTY_EVENT, timestamp=2**32), "timestamp is outside of 0 to 4294967295"),
        (
            replace(EMPTY_EVENT, revenue_source_amount=10**18),
            "revenue_source_amount is outside of -999999999999999999 to 999999999999999999",
        ),
        (
            replace(EMPTY_EVENT, revenue_source_currency="EURO"),
            "revenue_source_currency is longer than 3 bytes",
        ),
        (_with_attributes(country_code="EST"), "country_code is longer than 2 bytes"),
        (_with_attributes(country_code="ÄÖ"), "country_code is longer than 2 bytes"),
        (_with_attributes(city_geoname_id=-1), "city_geoname_id is outside of 0 to 4294967295"),
        (
            replace(EMPTY_EVENT, pathname="/\ud800"),
            "pathname holds half a surrogate pair, which UTF-8 cannot say",
        ),
        (
            replace(EMPTY_EVENT, meta_keys=("a",), meta_values=("\udfff",)),
            "meta.value holds half a surrogate pair, which UTF-8 cannot say",
        ),
        (
            replace(EMPTY_EVENT, meta_keys=("a", "b"), meta_values=("1",)),
            "meta.key has not one value for each key",
        ),
    ],
)
def test_value_that_does_not_fit(event: ClickhouseEvent, sentence: str) -> None:
    """The block is refused with the number of the row, counted through all pieces."""
    rows = [FULL_EVENT] * (PIECE_ROWS + 2) + [event, FULL_EVENT]

    with pytest.raises(BlockRejected, match=f"^row {PIECE_ROWS + 2}: {sentence}$"):
        list(event_pieces(EVENTS_TABLE.columns, rows))


def test_values_that_just_fit() -> None:
    """The extremes of every range pass."""
    extreme = replace(EMPTY_EVENT, scroll_depth=255, timestamp=2**32 - 1, revenue_source_amount=10**18 - 1)

    [piece] = event_pieces(EVENTS_TABLE.columns, [EMPTY_EVENT, extreme])

    assert list(read_block(piece)) == [column.name for column in EVENTS_TABLE.columns]


def test_bytes_hide_no_bad_text() -> None:
    """A text that UTF-8 cannot say is found among raw bytes too."""
    rows = [replace(EMPTY_EVENT, pathname=b"/\xff"), replace(EMPTY_EVENT, pathname="/\ud800")]

    with pytest.raises(BlockRejected, match=r"^row 1: pathname"):
        list(event_pieces(EVENTS_TABLE.columns, rows))


def test_pieces_are_small() -> None:
    """No piece has more rows than PIECE_ROWS, and none is lost."""
    pieces = list(session_pieces(SESSIONS_TABLE.columns, [(1, FULL_SESSION)] * (2 * PIECE_ROWS + 1)))

    assert [len(read_block(piece)["sign"]) for piece in pieces] == [PIECE_ROWS, PIECE_ROWS, 1]


@given(st.lists(attributes(), min_size=1, max_size=4), st.lists(events(), min_size=1, max_size=8), st.data())
def test_every_row_says_its_own(
    visits: list[SessionAttributes], rows: list[ClickhouseEvent], data: st.DataObject
) -> None:
    """In a block of any rows, each column holds the value of each row, whatever rows share."""
    rows = [replace(row, attributes=data.draw(st.sampled_from(visits))) for row in rows]

    [piece] = event_pieces(EVENTS_TABLE.columns, rows)

    assert read_block(piece) == {
        column.name: [_as_sent(column, attrgetter(column.source)(row)) for row in rows]
        for column in EVENTS_TABLE.columns
    }


def test_session_rows() -> None:
    """States keep their order and their signs; nothing is said of a transfer."""
    later = replace(FULL_SESSION, events=4, attributes=SessionAttributes(browser="Firefox"))

    [piece] = session_pieces(SESSIONS_TABLE.columns, [(-1, FULL_SESSION), (1, later)])

    found = read_block(piece)
    assert (found["sign"], found["events"], found["transferred_from"]) == ([-1, 1], [3, 4], [b"", b""])
    assert (found["browser"], found["is_bounce"]) == ([b"Safari", b"Firefox"], [0, 0])


def test_counter_rows() -> None:
    """A counter without a site holds NULL there."""
    counters = [CounterRow(60, "a.example", site_id, "buffered", 2, 2**64 - 1) for site_id in (None, 7, None)]

    [piece] = counter_pieces(COUNTERS_TABLE.columns, counters)

    assert read_block(piece) == {
        "event_timebucket": [60] * 3,
        "domain": [b"a.example"] * 3,
        "site_id": [None, 7, None],
        "metric": [b"buffered"] * 3,
        "value": [2**64 - 1] * 3,
        "tracker_script_version": [2] * 3,
    }


def test_long_text() -> None:
    """A text of more than 127 bytes has its length in two."""
    texts = ["a" * 127, "ä" * 64, "a" * 128, "a" * 20_000]

    [piece] = event_pieces(EVENTS_TABLE.columns, [replace(EMPTY_EVENT, pathname=text) for text in texts])

    assert read_block(piece)["pathname"] == [text.encode() for text in texts]


def _as_sent(column: WrittenColumn, value: Any) -> Any:
    if column.kind is Kind.TEXTS:
        return tuple(map(_as_bytes, value))
    if column.kind in CODE_BYTES:
        return value.encode().ljust(CODE_BYTES[column.kind], b"\0")
    return _as_bytes(value) if column.kind is Kind.TEXT else value


def _as_bytes(text: Text) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def test_order_of_the_reference() -> None:
    """Events have 32 columns and sessions 34, in the order of reference 10.2, and then the channel."""
    events = [column.name for column in EVENTS_TABLE.columns]
    sessions = [column.name for column in SESSIONS_TABLE.columns]

    assert (len(events), len(sessions), len(COUNTERS_TABLE.columns)) == (33, 35, 6)
    assert (events[0], events[31], events[32]) == ("name", "browser_version", "acquisition_channel")
    assert (sessions[0], sessions[33], sessions[34]) == (
        "hostname",
        "transferred_from",
        "acquisition_channel",
    )


@pytest.mark.parametrize(
    ("default_kind", "written"),
    [("", True), ("DEFAULT", True), ("MATERIALIZED", False), ("ALIAS", False), (None, False)],
)
def test_channel_is_left_out(default_kind: str | None, written: bool) -> None:
    """The acquisition channel is written only where it is an ordinary column."""
    found = {column.name: "" for column in EVENTS_TABLE.columns if not column.optional}
    if default_kind is not None:
        found["acquisition_channel"] = default_kind

    names = [column.name for column in insertable(EVENTS_TABLE, found)]

    assert ("acquisition_channel" in names) == written
    assert names[:32] == [column.name for column in EVENTS_TABLE.columns][:32]
