"""Values that a column cannot hold are found before they are sent, and the row is named."""

from typing import Any

import pytest
from msgspec.structs import replace

from service.clickhouse.columns import PIECE_ROWS, event_pieces, insertable, session_pieces
from service.clickhouse.schema import COUNTERS_TABLE, EVENTS_TABLE, SESSIONS_TABLE
from service.errors import BlockRejected
from service.ingestion.rows import ClickhouseEvent, SessionAttributes
from tests.support.rows import EMPTY_EVENT, FULL_EVENT, FULL_SESSION


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

    assert len(piece) == len(EVENTS_TABLE.columns)


def test_bytes_hide_no_bad_text() -> None:
    """A text that UTF-8 cannot say is found among raw bytes too."""
    rows = [replace(EMPTY_EVENT, pathname=b"/\xff"), replace(EMPTY_EVENT, pathname="/\ud800")]

    with pytest.raises(BlockRejected, match=r"^row 1: pathname"):
        list(event_pieces(EVENTS_TABLE.columns, rows))


def test_pieces_are_small() -> None:
    """No piece has more rows than PIECE_ROWS, and none is lost."""
    pieces = list(session_pieces(SESSIONS_TABLE.columns, [(1, FULL_SESSION)] * (2 * PIECE_ROWS + 1)))

    assert [len(piece[0]) for piece in pieces] == [PIECE_ROWS, PIECE_ROWS, 1]


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
