"""Questions: what comes back, in which form, and that nothing can be changed by one."""

import json
from pathlib import Path

import pytest

from service.clickhouse.migrations import MigratableStore
from service.errors import QueryFailed
from tests.support.rows import FULL_EVENT, make_block

_QUESTION = (
    "SELECT number AS n, if(n = 1, NULL, concat('a\\t\"', toString(n))) AS text, [1, n] AS list "
    "FROM numbers(2) ORDER BY n"
)


async def _ask(store: MigratableStore, sql: str, output_format: str = "TSV") -> str:
    return b"".join([part async for part in store.query_text(sql, output_format=output_format)]).decode()


@pytest.mark.parametrize(
    ("output_format", "answer"),
    [
        ("CSV", '0,"a\t""0","[1,0]"\n1,\\N,"[1,1]"\n'),
        ("CSVWithNames", '"n","text","list"\n0,"a\t""0","[1,0]"\n1,\\N,"[1,1]"\n'),
        ("TSV", '0\ta\\t"0\t[1,0]\n1\t\\N\t[1,1]\n'),
        ("TabSeparated", '0\ta\\t"0\t[1,0]\n1\t\\N\t[1,1]\n'),
        ("TSVWithNames", 'n\ttext\tlist\n0\ta\\t"0\t[1,0]\n1\t\\N\t[1,1]\n'),
        ("JSONEachRow", '{"n":0,"text":"a\\t\\"0","list":[1,0]}\n{"n":1,"text":null,"list":[1,1]}\n'),
    ],
)
async def test_formats(empty_store: MigratableStore, output_format: str, answer: str) -> None:
    """The formats that scripts read are the same from both stores."""
    assert await _ask(empty_store, _QUESTION, output_format) == answer


@pytest.mark.parametrize("output_format", ["Pretty", "PrettyCompact", "Vertical", "JSON"])
async def test_formats_for_eyes(empty_store: MigratableStore, output_format: str) -> None:
    """The formats that people read show every column and value."""
    answer = await _ask(empty_store, "SELECT 'hello' AS greeting, 42 AS number", output_format)

    assert all(word in answer for word in ("greeting", "hello", "number", "42"))


async def test_json_over_tcp(native_store: MigratableStore) -> None:
    """The JSON format holds names, types, rows and their number, also over several blocks."""
    answer = await _ask(native_store, "SELECT number FROM numbers(3) SETTINGS max_block_size = 1", "JSON")

    assert answer == (
        '{"meta":[{"name":"number","type":"UInt64"}],"data":[\n'
        '{"number":0},\n{"number":1},\n{"number":2}\n],"rows":3}\n'
    )


async def test_table_over_tcp(native_store: MigratableStore) -> None:
    """The Pretty format draws a table, numbers to the right."""
    answer = await _ask(native_store, "SELECT 7 AS number, NULL AS nothing, 'x' AS text", "Pretty")

    assert answer.splitlines() == [
        "┌────────┬─────────┬──────┐",
        "│ number │ nothing │ text │",
        "├────────┼─────────┼──────┤",
        "│      7 │ NULL    │ x    │",
        "└────────┴─────────┴──────┘",
    ]


async def test_unknown_format_over_tcp(native_store: MigratableStore) -> None:
    """A format that is not to be had over TCP is refused with those that are."""
    with pytest.raises(QueryFailed, match=r"can be had as Pretty, .*, but not as Parquet"):
        await _ask(native_store, "SELECT 1", "Parquet")


@pytest.mark.parametrize("output_format", ["TSV", "TSVWithNames", "CSVWithNames", "JSONEachRow"])
async def test_long_answer_is_one_document(empty_store: MigratableStore, output_format: str) -> None:
    """An answer of several blocks has its head once, and all its rows."""
    answer = await _ask(empty_store, "SELECT number FROM numbers(200000)", output_format)
    lines = answer.splitlines()

    assert len(lines) == 200_000 + output_format.endswith("WithNames")
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize(
    "sql", ["SELECT number FROM numbers(200000)", "SELECT number FROM numbers(200000) FORMAT JSON"]
)
async def test_long_answer_is_one_json_document(empty_store: MigratableStore, sql: str) -> None:
    """An answer of several blocks in JSON can be read as JSON."""
    answer = json.loads(await _ask(empty_store, sql, "JSON"))

    assert len(answer["data"]) == 200_000


async def test_answer_too_large_for_memory_is_refused(embedded_store: MigratableStore) -> None:
    """An answer that cannot come in chunks has a bound, and passing it is a sentence."""
    with pytest.raises(QueryFailed, match="memory limit"):
        await _ask(embedded_store, "SELECT repeat('x', 1000) FROM numbers(700000)", "TSVWithNames")


async def test_values_as_json(empty_store: MigratableStore) -> None:
    """Rows come as the same JSON values from both stores: decimals and times as text, big numbers whole."""
    rows = await empty_store.query(
        "SELECT 18446744073709551615 AS big, toDecimal64('12.500', 3) AS amount, "
        "toDecimal64(-3, 0) AS whole, toDateTime('2026-01-02 03:04:05') AS time, "
        "toDate('2026-01-02') AS day, 0.5 AS half, nan AS nothing, true AS yes, map('a', [1]) AS pairs, "
        "CAST('\\xFF' AS String) AS bytes, CAST(1 AS Enum8('one' = 1)) AS word, "
        "toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0') AS id"
    )

    assert rows == [
        {
            "big": 2**64 - 1,
            "amount": "12.5",
            "whole": "-3",
            "time": "2026-01-02 03:04:05",
            "day": "2026-01-02",
            "half": 0.5,
            "nothing": None,
            "yes": True,
            "pairs": {"a": [1]},
            "bytes": "\ufffd",
            "word": "one",
            "id": "61f0c404-5cb3-11e7-907b-a6006ad3dba0",
        }
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SHOW TABLES",
        "DESCRIBE events_v2",
        "EXPLAIN SELECT 1",
        "EXISTS events_v2",
        "WITH 1 AS x SELECT x",
        "(SELECT 1)",
        "-- why\n/* and */ select 1",
        "SELECT 1;",
    ],
)
async def test_questions_that_are_not_select(store: MigratableStore, sql: str) -> None:
    """Everything that only asks is answered."""
    assert await _ask(store, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE events_v2",
        "INSERT INTO location_data VALUES ('a', 'b', 'c')",
        "TRUNCATE TABLE events_v2",
        "ALTER TABLE events_v2 DELETE WHERE 1",
        "CREATE TABLE other (a Int8) ENGINE = Memory",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1; DROP TABLE events_v2",
        "SYSTEM STOP MERGES",
        "KILL QUERY WHERE 1",
        "USE system",
        "/* SELECT */ DROP TABLE events_v2",
        "-- SELECT\nDROP TABLE events_v2",
        "/* a */ SYSTEM STOP MERGES -- */ SELECT 1",
        "/* a */ KILL QUERY WHERE 0 -- */ SELECT 1",
        "",
    ],
)
async def test_nothing_can_be_changed(store: MigratableStore, sql: str) -> None:
    """A statement that would change anything is refused, and nothing has changed."""
    await store.insert_block(make_block(FULL_EVENT))

    with pytest.raises(QueryFailed):
        await _ask(store, sql)

    assert await store.query("SELECT count() AS rows FROM events_v2") == [{"rows": 1}]


async def test_no_file_is_written(empty_store: MigratableStore, tmp_path: Path) -> None:
    """No file is written for a question."""
    with pytest.raises(QueryFailed, match="writes a file"):
        await _ask(empty_store, f"SELECT 1 INTO OUTFILE '{tmp_path}/x.csv'")

    assert not (tmp_path / "x.csv").exists()


async def test_error_in_the_middle(empty_store: MigratableStore) -> None:
    """An error after the first rows ends the answer with ClickHouse's words."""
    with pytest.raises(QueryFailed, match="non-zero"):
        await _ask(
            empty_store, "SELECT throwIf(number = 90000) FROM numbers(100000) SETTINGS max_block_size = 1000"
        )


async def test_answer_that_nobody_reads_on(empty_store: MigratableStore) -> None:
    """A reader who stops after the first rows leaves the store usable."""
    answer = empty_store.query_text("SELECT number FROM numbers(50000000)", output_format="TSV")
    first = await anext(aiter(answer))
    await answer.aclose()  # type: ignore[attr-defined]  # both stores give async generators

    assert first.startswith(b"0\n1\n")
    assert await empty_store.query("SELECT 1 AS one") == [{"one": 1}]
