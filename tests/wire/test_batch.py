"""A batch is read item by item, and answered item by item."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.request import FieldError, Request
from service.ingestion.verdict import BUFFERED, Dropped, DropReason, Retry, RetryReason, Verdict
from service.wire import batch
from service.wire.batch import (
    NOT_A_LIST,
    TOO_MANY,
    Invalid,
    Item,
    Outcome,
    batch_reply,
    decode_batch,
)
from service.wire.reply import Reply

NOW = 1_795_003_200.75
EVENT: dict[str, Any] = {"n": "pageview", "u": "https://e.com/", "d": "e.com"}
HOUR_S = 3600
BOT = Dropped(DropReason.BOT)
NOT_FOUND = Dropped(DropReason.NOT_FOUND)
OVERLOADED = Retry(RetryReason.OVERLOADED)


def decode(body: bytes, content_type: str | None = "application/json") -> list[Item] | Reply:
    """Decode a body sent at ``NOW`` from a known address."""
    return decode_batch(body, content_type=content_type, now=NOW, remote_ip="192.0.2.1", user_agent="Sender")


def items_of(body: bytes, content_type: str | None = "application/json") -> list[Item]:
    """Decode a body that can be read."""
    items = decode(body, content_type)
    assert isinstance(items, list), items
    return items


def item_of(**fields: Any) -> Item:
    """Decode one item with these fields added."""
    return items_of(json.dumps([{**EVENT, **fields}]).encode())[0]


def request_of(**fields: Any) -> Request:
    """Decode one item that is valid."""
    item = item_of(**fields)
    assert isinstance(item, Request), item
    return item


def errors_of(**fields: Any) -> list[str]:
    """Decode one item that is not, and name the fields that are wrong."""
    item = item_of(**fields)
    assert isinstance(item, Invalid), item
    return [error.field for error in item.errors]


LINES = b'{"n":"a","u":"/","d":"e.com"}\n\r\n{"n":"b","u":"/","d":"e.com"}\r\n'


@pytest.mark.parametrize(
    ("body", "content_type", "names"),
    [
        (b'[{"n":"a","u":"/","d":"e.com"},{"n":"b","u":"/","d":"e.com"}]', "application/json", ["a", "b"]),
        (b' [{"n":"a","u":"/","d":"e.com"}]', "text/plain", ["a"]),
        (b"[]", None, []),
        (LINES, "application/x-ndjson", ["a", "b"]),
        (LINES, "application/jsonl; charset=utf-8", ["a", "b"]),
        (LINES, "application/json", ["a", "b"]),
        (b'{"n":"a","u":"/","d":"e.com"}', None, ["a"]),
        (b"", "application/x-ndjson", []),
    ],
)
def test_a_list_or_lines_are_read(body: bytes, content_type: str | None, names: list[str]) -> None:
    """By content type, or by the first character."""
    items = items_of(body, content_type)

    assert [item.event_name for item in items if isinstance(item, Request)] == names
    assert len(items) == len(names)


@pytest.mark.parametrize(
    "body", [b"", b" ", b"3", b"null", b"[", b'[{"n":1}', b"[1,]", b"\xff", b"[\xff]", b"[" * 99999]
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    """As a whole, with 400."""
    assert decode(body) == NOT_A_LIST
    assert NOT_A_LIST.status == 400


@pytest.mark.parametrize(("count", "is_read"), [(1000, True), (1001, False)])
def test_a_thousand_items_are_read(count: int, is_read: bool) -> None:
    """One more is refused with 413."""
    assert isinstance(decode(b"[" + b",".join([b"{}"] * count) + b"]"), list) is is_read
    assert isinstance(decode(b"{}\n" * count, "application/jsonl"), list) is is_read
    assert TOO_MANY.status == 413


@pytest.mark.parametrize(
    "body", [b"[" + b"0," * 1_000_001 + b"0]", b"{" + b"\n" * 1_000_001], ids=["list", "lines"]
)
def test_millions_of_items_are_not_even_cut_apart(body: bytes) -> None:
    """They are refused by the number of what separates them."""
    assert decode(body) == TOO_MANY


@pytest.mark.parametrize("part", [b"1", b'"x"', b"[]", b"null", b'{"n":1e999}'])
def test_an_item_that_is_no_object_is_invalid_by_itself(part: bytes) -> None:
    """Its neighbours are read all the same."""
    good = json.dumps(EVENT).encode()

    items = items_of(b"[" + part + b"," + good + b"]")

    assert items[0] == Invalid([FieldError("request", "must be a JSON object")])
    assert isinstance(items[1], Request)


def test_a_broken_line_is_invalid_by_itself() -> None:
    """A line that is no JSON does not spoil the others."""
    items = items_of(b'{"n":\n' + json.dumps(EVENT).encode(), "application/jsonl")

    assert isinstance(items[0], Invalid)
    assert isinstance(items[1], Request)


def test_an_item_without_extras_is_the_senders_own_event() -> None:
    """Time, address and user agent are those of the request."""
    request = request_of()

    assert (request.timestamp, request.back_dated) == (1_795_003_200, False)
    assert (request.remote_ip, request.user_agent, request.ip_class) == ("192.0.2.1", "Sender", None)


@pytest.mark.parametrize(
    ("timestamp", "taken"),
    [
        (1_795_003_200, 1_795_003_200),
        (1_795_003_199.9, 1_795_003_199),
        (1_795_003_200 - 72 * HOUR_S + 1, 1_795_003_200 - 72 * HOUR_S + 1),
        (1_795_003_260, 1_795_003_200),
        (1_795_003_260.75, 1_795_003_200),
        ("2026-11-18T11:00:00Z", 1_795_003_200 - HOUR_S),
        ("2026-11-18T11:00:00", 1_795_003_200 - HOUR_S),
        ("2026-11-18 12:00:00+01:00", 1_795_003_200 - HOUR_S),
        ("2026-11-18T11:59:59.999Z", 1_795_003_199),
        ("2026-11-18", 1_795_003_200 - 12 * HOUR_S),
        (None, 1_795_003_200),
    ],
)
def test_a_timestamp_is_taken_as(timestamp: object, taken: int) -> None:
    """Seconds or ISO 8601; a clock that is a little fast shows now."""
    request = request_of(timestamp=timestamp)

    assert request.timestamp == taken
    assert request.back_dated is (taken < 1_795_003_200)


@pytest.mark.parametrize(
    "timestamp",
    [
        1_795_003_262,
        1_795_003_200_000,
        1_795_003_200 - 72 * HOUR_S - 1,
        0,
        -1,
        10**400,
        True,
        "",
        "now",
        "1795003200",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        [],
        {},
    ],
)
def test_other_timestamps_are_invalid(timestamp: object) -> None:
    """Too old, too far ahead, or no time at all."""
    assert errors_of(timestamp=timestamp) == ["timestamp"]


@pytest.mark.parametrize(("ip", "taken"), [("203.0.113.7", "203.0.113.7"), ("2001:DB8::1", "2001:db8::1")])
def test_an_address_is_taken_in_its_one_spelling(ip: str, taken: str) -> None:
    """The visitor's own, not the sender's."""
    assert request_of(ip=ip).remote_ip == taken


@pytest.mark.parametrize("ip", ["", "localhost", "1.2.3.4:80", 7, True, []])
def test_other_addresses_are_invalid(ip: object) -> None:
    """An address stands alone, without a port."""
    assert errors_of(ip=ip) == ["ip"]


def test_a_user_agent_is_taken_verbatim() -> None:
    """The visitor's own; it may be empty."""
    assert request_of(user_agent=" Firefox ").user_agent == " Firefox "
    assert request_of(user_agent="").user_agent == ""


@pytest.mark.parametrize("user_agent", [7, [], "x" * 8193])
def test_other_user_agents_are_invalid(user_agent: object) -> None:
    """A text as long as a header may be."""
    assert errors_of(user_agent=user_agent) == ["user_agent"]


def test_all_errors_of_an_item_are_told() -> None:
    """Those of the batch's own fields and those of the event's."""
    assert errors_of(n="", timestamp="x", ip="x", user_agent=1) == [
        "timestamp",
        "ip",
        "user_agent",
        "event_name",
    ]


@given(st.binary(max_size=300), st.sampled_from([None, "application/json", "application/jsonl"]))
def test_no_bytes_raise(body: bytes, content_type: str | None) -> None:
    """A list of items, or a 4xx."""
    decoded = decode(body, content_type)

    assert isinstance(decoded, list) or 400 <= decoded.status < 500


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_extras_of_any_type_give_an_item(timestamp: object, ip: object, user_agent: object) -> None:
    """Valid items lie within the window of time and have an address."""
    item = item_of(timestamp=timestamp, ip=ip, user_agent=user_agent)

    if isinstance(item, Request):
        assert NOW - 72 * HOUR_S - 1 <= item.timestamp <= NOW
        assert item.remote_ip
    else:
        assert item.errors


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        ([("a.com", BUFFERED)], {"verdict": "buffered"}),
        ([("a.com", BOT)], {"verdict": "dropped", "reason": "bot"}),
        ([("a.com", OVERLOADED)], {"verdict": "retry", "reason": "overloaded"}),
        (
            Invalid([FieldError("url", "is required"), FieldError("url", "again")]),
            {"verdict": "invalid", "errors": {"url": ["is required", "again"]}},
        ),
        (
            [("a.com", BUFFERED), ("b.com", NOT_FOUND)],
            {
                "verdict": "dropped",
                "reason": "not_found",
                "domains": {
                    "a.com": {"verdict": "buffered"},
                    "b.com": {"verdict": "dropped", "reason": "not_found"},
                },
            },
        ),
        (
            [("a.com", BOT), ("b.com", OVERLOADED)],
            {
                "verdict": "retry",
                "reason": "overloaded",
                "domains": {
                    "a.com": {"verdict": "dropped", "reason": "bot"},
                    "b.com": {"verdict": "retry", "reason": "overloaded"},
                },
            },
        ),
        ([("a.com", BUFFERED), ("a.com", BOT)], {"verdict": "dropped", "reason": "bot"}),
    ],
)
def test_an_item_is_answered_with(outcome: Outcome, result: object) -> None:
    """Its verdict and reason; with several domains the worst, and each by name."""
    assert json.loads(batch_reply([outcome, [("c.com", BUFFERED)]]).body)["results"][0] == result


def test_the_answer_counts_its_verdicts() -> None:
    """One number for each kind, items in their order."""
    outcomes: list[Outcome] = [
        [("a.com", BUFFERED)],
        [("a.com", BOT)],
        Invalid([FieldError("url", "is required")]),
        [("a.com", OVERLOADED)],
        [("a.com", BUFFERED)],
    ]

    reply = batch_reply(outcomes)

    answer = json.loads(reply.body)
    assert (reply.status, reply.headers) == (202, ())
    assert [result["verdict"] for result in answer["results"]] == [
        "buffered",
        "dropped",
        "invalid",
        "retry",
        "buffered",
    ]
    assert {key: answer[key] for key in ("buffered", "dropped", "invalid", "retry")} == {
        "buffered": 2,
        "dropped": 1,
        "invalid": 1,
        "retry": 1,
    }


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ([], 202),
        ([OVERLOADED], 503),
        ([OVERLOADED, OVERLOADED], 503),
        ([OVERLOADED, BUFFERED], 202),
        ([BOT], 202),
    ],
)
def test_only_a_batch_of_which_nothing_was_judged_is_503(verdicts: list[Verdict], status: int) -> None:
    """Then the whole of it may be sent again, a second later."""
    reply = batch_reply([[("a.com", verdict)] for verdict in verdicts])

    assert reply.status == status
    assert reply.headers == ((("retry-after", "1"),) if status == 503 else ())


ITEMS = st.one_of(
    st.builds(
        lambda fields: {**EVENT, **fields},
        st.dictionaries(
            st.sampled_from(["n", "p", "ip", "id", "x"]),
            st.one_of(
                st.none(),
                st.integers(),
                st.text(max_size=5),
                st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
            ),
            max_size=3,
        ),
    ),
    st.sampled_from([None, 3, "text", [], [EVENT], {}]),
)


@given(items=st.lists(ITEMS, max_size=5))
def test_a_list_says_what_its_items_say_as_lines(items: list[Any]) -> None:
    """Whether all of it is read in one go, or one of its items makes that impossible."""
    parts = [json.dumps(item).encode() for item in items]

    assert decode(b"[" + b",".join(parts) + b"]") == decode(b"\n".join(parts), "application/x-ndjson")


USUAL_ITEMS = st.fixed_dictionaries(
    {
        "n": st.sampled_from(["pageview", "engagement", "404", "Signup", " "]),
        "u": st.sampled_from(["https://e.com/a?b=c#d", "", "data:x", "http://"]),
        "d": st.sampled_from(["e.com", "a.de,b.de", " "]),
        "ip": st.sampled_from(["203.0.113.7", "2001:DB8::1", "::ffff:203.0.113.7", "nowhere", ""]),
        "user_agent": st.sampled_from(["Test", "", "x" * 2049]),
    },
    optional={
        "v": st.integers(),
        "p": st.none() | st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=2),
        "h": st.integers(0, 2),
        "i": st.booleans(),
        "sd": st.none() | st.integers(-2, 300),
        "e": st.none() | st.integers(-2, 10**12),
        "id": st.none() | st.integers() | st.text(max_size=3),
        "timestamp": st.none() | st.floats(NOW - 80 * HOUR_S, NOW + 100) | st.text(max_size=3),
    },
)


@given(items=st.lists(USUAL_ITEMS, min_size=1, max_size=5))
def test_a_list_of_usual_items_says_what_they_say_as_lines(items: list[Any]) -> None:
    """As lines they are read field by field, in a list into the types of their fields."""
    parts = [json.dumps(item).encode() for item in items]

    assert decode(b"[" + b",".join(parts) + b"]") == decode(b"\n".join(parts), "application/x-ndjson")


@pytest.mark.parametrize(
    "changes", [{}, {"id": "a", "timestamp": NOW - 7}, {"p": {"a": 1}, "i": False, "v": 3}]
)
def test_what_most_senders_send_is_usual(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read once: nothing falls back to the long way that need not."""
    monkeypatch.setattr(batch, "build_request", None)
    assert request_of(ip="203.0.113.7", user_agent="Test", **changes).remote_ip == "203.0.113.7"


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/jsonl"])
def test_a_list_among_lines_is_no_event(content_type: str) -> None:
    """Where the content type says lines, a line that holds a list is wrong."""
    (item,) = items_of(b"[" + json.dumps(EVENT).encode() + b"]", content_type)

    assert isinstance(item, Invalid)
