"""What is written is what is read, byte for byte, through both stores and the real engine."""

from typing import Any

import pytest
from msgspec.structs import replace

from service.clickhouse.migrations import MigratableStore
from service.clickhouse.schema import EVENTS_TABLE, SESSIONS_TABLE, Kind, Table
from service.clickhouse.store import CounterRow
from service.ingestion.rows import Text
from tests.support.rows import EMPTY_EVENT, FULL_EVENT, FULL_SESSION, MINUTE, make_block


async def _read(store: MigratableStore, table: Table) -> dict[str, Any]:
    """Read the only row."""
    [row] = await _read_all(store, table)
    return row


async def _read_all(store: MigratableStore, table: Table) -> list[dict[str, Any]]:
    """Read the rows, texts as upper-case hexadecimal, so that no byte is lost on the way."""
    columns = []
    for column in table.columns:
        name = f"`{column.name}`"
        if column.kind is Kind.TEXTS:
            columns.append(f"arrayMap(text -> hex(text), {name}) AS {name}")
        elif column.kind in {Kind.TEXT, Kind.CODE2, Kind.CODE3}:
            columns.append(f"hex({name}) AS {name}")
        elif column.kind is Kind.DATETIME:
            columns.append(f"toUnixTimestamp({name}) AS {name}")
        else:
            columns.append(name)
    return await store.query(f"SELECT {', '.join(columns)} FROM {table.name}")


def _hex(text: str | bytes) -> str:
    return (text if isinstance(text, bytes) else text.encode()).hex().upper()


async def test_full_event(store: MigratableStore) -> None:
    """Every column of an event comes back as it was: invalid UTF-8, NUL, the largest numbers and amounts."""
    await store.insert_block(make_block(FULL_EVENT))

    assert await _read(store, EVENTS_TABLE) == {
        "name": _hex("Purchase"),
        "site_id": 2**64 - 1,
        "hostname": _hex("shop.example.com"),
        "pathname": _hex(b"/caf\xe9\x00"),
        "user_id": 2**63,
        "session_id": 3,
        "timestamp": 1_795_000_000,
        "meta.key": [_hex("plan"), _hex("größe")],
        "meta.value": [_hex("business"), "FFFE"],
        "scroll_depth": 255,
        "engagement_time": 2**32 - 1,
        "revenue_source_amount": "999999999999999.999",
        "revenue_source_currency": _hex("EUR"),
        "revenue_reporting_amount": "-0.001",
        "revenue_reporting_currency": _hex("USD"),
        **_FULL_ATTRIBUTES,
    }


async def test_empty_event(store: MigratableStore) -> None:
    """Nothing is the empty text, 0, the empty array, NULL, and NUL bytes for codes (reference 9.8)."""
    await store.insert_block(make_block(EMPTY_EVENT))

    row = await _read(store, EVENTS_TABLE)

    assert (row["country_code"], row["revenue_source_currency"]) == ("0000", "000000")
    assert (row["revenue_source_amount"], row["revenue_reporting_amount"]) == (None, None)
    assert (row["meta.key"], row["meta.value"]) == ([], [])
    assert (row["referrer"], row["browser"], row["city_geoname_id"]) == ("", "", 0)


async def test_full_session(store: MigratableStore) -> None:
    """Every column of a session state comes back as it was, with its sign."""
    await store.insert_block(make_block(sessions=((1, FULL_SESSION),)))

    assert await _read(store, SESSIONS_TABLE) == {
        "hostname": _hex("shop.example.com"),
        "site_id": 2**64 - 1,
        "user_id": 2**63,
        "session_id": 3,
        "start": 1_795_000_000,
        "duration": 60,
        "is_bounce": 0,
        "entry_page": _hex(b"/caf\xe9"),
        "exit_page": _hex("/danke schön"),
        "exit_page_hostname": _hex("pay.example.com"),
        "pageviews": 2,
        "events": 3,
        "sign": 1,
        "entry_meta.key": [_hex("plan")],
        "entry_meta.value": ["FF"],
        "timestamp": 1_795_000_060,
        "transferred_from": "",
        **_FULL_ATTRIBUTES,
    }


async def test_names_of_plausible(store: MigratableStore) -> None:
    """A dashboard reads the aliases; a place that nobody named has the empty name."""
    await store.insert_block(make_block(FULL_EVENT, sessions=((1, FULL_SESSION),)))

    for table in ("events_v2", "sessions_v2"):
        [row] = await store.query(
            "SELECT city, country, device, os, os_version, region, screen, source, "
            f"country_name, region_name, city_name FROM {table}"
        )
        assert row == {
            "city": 588_409,
            "country": "EE",
            "device": "Mobile",
            "os": "iOS",
            "os_version": "17.1",
            "region": "EE-37",
            "screen": "Mobile",
            "source": "Search",
            "country_name": "",
            "region_name": "",
            "city_name": "",
        }


async def test_place_names_come_from_location_data(store: MigratableStore) -> None:
    """A place that is in location_data has its name."""
    await store.execute(
        "INSERT INTO location_data VALUES ('country', 'EE', 'Estonia'), ('city', '588409', 'Tallinn')"
    )
    await store.insert_block(make_block(FULL_EVENT))

    assert await store.query("SELECT country_name, city_name FROM events_v2") == [
        {"country_name": "Estonia", "city_name": "Tallinn"}
    ]


async def test_counters_add_up(store: MigratableStore) -> None:
    """Counter rows of one minute, domain, metric and script version are summed by the table."""
    row = CounterRow(MINUTE, "example.com", 7, "buffered", 12, 3)
    unknown = CounterRow(MINUTE, "nobody.example", None, "dropped_not_found", 0, 1)

    await store.insert_counters([row, unknown], token="first")
    await store.insert_counters([row], token="second")
    await store.execute("OPTIMIZE TABLE ingest_counters FINAL")

    assert await store.query(
        "SELECT toUnixTimestamp(event_timebucket) AS minute, domain, site_id, metric, "
        "tracker_script_version, value FROM ingest_counters ORDER BY domain"
    ) == [
        {
            "minute": MINUTE,
            "domain": "example.com",
            "site_id": 7,
            "metric": "buffered",
            "tracker_script_version": 12,
            "value": 6,
        },
        {
            "minute": MINUTE,
            "domain": "nobody.example",
            "site_id": None,
            "metric": "dropped_not_found",
            "tracker_script_version": 0,
            "value": 1,
        },
    ]


@pytest.mark.parametrize("count", [499, 500, 501, 10_000])
async def test_more_rows_than_one_piece(store: MigratableStore, count: int) -> None:
    """However many pieces a block goes in, all its rows arrive, as one part of the table."""
    await store.insert_block(make_block(*[FULL_EVENT] * count))

    assert await store.query("SELECT count() AS rows, uniqExact(_part) AS parts FROM events_v2") == [
        {"rows": count, "parts": 1}
    ]


@pytest.mark.parametrize(
    "text",
    ["a\n\nb", "\n\n", "; SELECT 1;\n", "'\"`\\", "\r\n\r\n", "\0\0", "--", bytes(range(256)) * 2],
    ids=repr,
)
async def test_texts_that_mean_something_in_sql(store: MigratableStore, text: Text) -> None:
    """No text, and no number that looks like one in bytes, ends a block early or escapes from it."""
    number = int.from_bytes(b"\n\n;\n\n'\n\n")
    row = replace(EMPTY_EVENT, pathname=text, user_id=number, meta_keys=("k",), meta_values=(text,))

    await store.insert_block(make_block(*[row] * 3))

    read = await _read_all(store, EVENTS_TABLE)
    assert [(row["pathname"], row["user_id"], row["meta.value"]) for row in read] == [
        (_hex(text), number, [_hex(text)])
    ] * 3


_FULL_ATTRIBUTES = {
    "referrer": _hex("https://search.example/?q=ä"),
    "referrer_source": _hex("Search"),
    "click_id_param": _hex("gclid"),
    "utm_medium": _hex("medium"),
    "utm_source": _hex(b"sou\xffrce"),
    "utm_campaign": _hex("campaign"),
    "utm_content": _hex("content"),
    "utm_term": _hex("term"),
    "country_code": _hex("EE"),
    "subdivision1_code": _hex("EE-37"),
    "subdivision2_code": _hex("EE-784"),
    "city_geoname_id": 588_409,
    "screen_size": _hex("Mobile"),
    "operating_system": _hex("iOS"),
    "operating_system_version": _hex("17.1"),
    "browser": _hex("Safari"),
    "browser_version": _hex("17"),
    "acquisition_channel": _hex("Paid Search"),
}
