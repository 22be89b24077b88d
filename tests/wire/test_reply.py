"""Verdicts and errors become an answer."""

import json
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.request import FieldError
from service.ingestion.verdict import BUFFERED, Dropped, DropReason, Retry, RetryReason, Verdict
from service.wire.reply import (
    MAX_REASONS_BYTES,
    Reply,
    error_view,
    errors_reply,
    event_reply,
)

BOT = Dropped(DropReason.BOT)
NOT_FOUND = Dropped(DropReason.NOT_FOUND)
OVERLOADED = Retry(RetryReason.OVERLOADED)
VERDICTS: st.SearchStrategy[Verdict] = st.sampled_from([BUFFERED, BOT, NOT_FOUND, OVERLOADED])


def reply_to(*outcomes: tuple[str, Verdict], with_reasons: bool = True) -> Reply:
    """Answer an event with these outcomes."""
    return event_reply(outcomes, with_reasons=with_reasons)


@pytest.mark.parametrize("domains", [["a.com"], ["a.com", "b.com"]])
def test_all_buffered_is_ok(domains: list[str]) -> None:
    """202, two letters, no further header."""
    reply = reply_to(*((domain, BUFFERED) for domain in domains))

    assert reply == Reply(202, "text/plain; charset=utf-8", b"ok")


@pytest.mark.parametrize(
    ("outcomes", "count", "reasons"),
    [
        ([("a.com", BOT)], "1", "a.com=bot"),
        ([("a.com", BUFFERED), ("b.com", NOT_FOUND)], "1", "b.com=not_found"),
        ([("a.com", BOT), ("b.com", NOT_FOUND)], "2", "a.com=bot, b.com=not_found"),
        ([("a.com", BUFFERED), ("b.com", OVERLOADED)], "1", "b.com=overloaded"),
        ([("a.com", BOT), ("b.com", OVERLOADED)], "2", "a.com=bot, b.com=overloaded"),
        ([("a.com", BOT), ("a.com", BOT)], "2", "a.com=bot, a.com=bot"),
        ([("", NOT_FOUND)], "1", "=not_found"),
        ([("a.com/blog", BOT)], "1", "a.com/blog=bot"),
        ([("a=b, c\r\nx: y\x00é", BOT)], "1", "a%3Db%2C%20c%0D%0Ax:%20y%00%C3%A9=bot"),
    ],
)
def test_drops_are_counted_and_named(outcomes: list[tuple[str, Verdict]], count: str, reasons: str) -> None:
    """Still 202; one header counts the domains, the other names them with the reason."""
    reply = reply_to(*outcomes)

    assert (reply.status, reply.body) == (202, b"ok")
    assert dict(reply.headers) == {"x-plausible-dropped": count, "x-gatehouse-dropped": reasons}


def test_reasons_can_be_turned_off() -> None:
    """Then only the reference's own header is left."""
    reply = reply_to(("a.com", BOT), with_reasons=False)

    assert reply.headers == (("x-plausible-dropped", "1"),)


@pytest.mark.parametrize("reason", list(RetryReason))
def test_nothing_judged_is_try_again(reason: RetryReason) -> None:
    """503 with the seconds to wait; nothing counts as dropped."""
    reply = reply_to(("a.com", Retry(reason)), ("b.com", Retry(reason)))

    assert (reply.status, reply.headers) == (503, (("retry-after", "1"),))


@given(st.lists(st.tuples(st.text(max_size=400), VERDICTS), min_size=1, max_size=60))
def test_headers_are_short_and_safe(outcomes: list[tuple[str, Verdict]]) -> None:
    """Whatever domains are called, a header is printable ASCII of bounded length."""
    for _, value in reply_to(*outcomes).headers:
        assert len(value) <= MAX_REASONS_BYTES
        assert value.isascii()
        assert value.isprintable()


def test_domains_without_room_are_left_out() -> None:
    """Three dots say so; those named are complete."""
    reply = reply_to(*((f"{number}.example.com", BOT) for number in range(1000)))

    *named, last = dict(reply.headers)["x-gatehouse-dropped"].split(", ")
    assert last == "..."
    assert [unquote(item) for item in named] == [f"{number}.example.com=bot" for number in range(len(named))]
    assert dict(reply.headers)["x-plausible-dropped"] == "1000"


def test_errors_are_grouped_by_field() -> None:
    """All messages of one field stand together."""
    errors = [FieldError("url", "is required"), FieldError("event_name", "a"), FieldError("event_name", "b")]

    reply = errors_reply(errors)

    assert (reply.status, reply.content_type) == (400, "application/json; charset=utf-8")
    assert json.loads(reply.body) == {"errors": {"url": ["is required"], "event_name": ["a", "b"]}}


@pytest.mark.parametrize(
    ("status", "message"),
    [(400, "Bad Request"), (404, "Not Found"), (406, "Not Acceptable"), (500, "Server error")],
)
def test_the_error_view_in_json(status: int, message: str) -> None:
    """Status and reason phrase."""
    reply = error_view(status, accept="application/json")

    assert (reply.status, reply.content_type) == (status, "application/json; charset=utf-8")
    assert json.loads(reply.body) == {"status": status, "message": message}


@pytest.mark.parametrize(
    ("accept", "wanted", "content_type"),
    [
        (None, None, "text/html; charset=utf-8"),
        ("*/*", None, "text/html; charset=utf-8"),
        ("image/png", None, "text/html; charset=utf-8"),
        ("text/html", "json", "application/json; charset=utf-8"),
        ("application/json", "html", "text/html; charset=utf-8"),
    ],
)
def test_the_error_view_is_a_page_otherwise(
    accept: str | None, wanted: str | None, content_type: str
) -> None:
    """HTML unless JSON is preferred or asked for by parameter."""
    reply = error_view(404, accept=accept, wanted=wanted)

    assert reply.content_type == content_type
    assert b"Not Found" in reply.body
