"""Heads that were read lately: the same answers as if they were read, and forgotten in time."""

import pytest

from service.http.intake import EventIntake
from service.http.lean.heads import MAX_HEADS, MAX_MET, MAX_REMEMBERED_BYTES, Head, Heads
from service.http.lean.request import FOREIGN, INCOMPLETE, PlainReader
from tests.support.http_streams import post
from tests.support.public_server import EVENT, NOW, ScriptedSystem, public_settings
from tests.support.wire import wires

REQUEST = post()
HEAD_BYTES = len(REQUEST) - len(EVENT)


@pytest.mark.parametrize(
    ("rest", "read"),
    [
        (b"", len(REQUEST)),
        (REQUEST, len(REQUEST)),
        (b"nonsense", len(REQUEST)),
    ],
)
def test_a_known_head_is_read_as_a_new_one(rest: bytes, read: int) -> None:
    """Size, body and headers are those of the first times, whatever comes behind."""
    heads = Heads()
    first, second, third = PlainReader(heads), PlainReader(heads), PlainReader(heads)
    assert [reader.read(REQUEST + rest, 0) for reader in (first, second, third)] == [read] * 3
    assert first.body == second.body == third.body == EVENT
    assert third.head is second.head
    assert third.head.headers == first.head.headers


def test_a_head_is_remembered_when_it_comes_again() -> None:
    """Most come once, and it costs more to keep them than to read them."""
    heads = Heads()
    for remembered in (0, 1, 1):
        assert PlainReader(heads).read(REQUEST, 0) == len(REQUEST)
        assert len(heads) == remembered


def test_heads_that_came_once_are_forgotten() -> None:
    """At a turn, and when they are too many."""
    heads, head = Heads(), Head({}, 0)
    heads.remember(b"once", head)
    heads.turn()
    heads.remember(b"once", head)
    for number in range(MAX_MET):
        heads.remember(b"%d" % number, head)
    heads.remember(b"once", head)
    assert len(heads) == 0
    heads.remember(b"once", head)
    assert heads.get(b"once") is head


@pytest.mark.parametrize("cut", [10, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 1, len(REQUEST) - 1])
def test_a_known_head_may_come_in_pieces(cut: int) -> None:
    """What is not whole is waited for, and the request behind it is read as well."""
    heads = Heads()
    for _ in range(2):
        assert PlainReader(heads).read(REQUEST, 0) == len(REQUEST)
    reader = PlainReader(heads)
    assert reader.read(REQUEST[:cut], 0) == INCOMPLETE
    assert reader.read(REQUEST * 2, 0) == len(REQUEST)
    assert reader.read(REQUEST * 2, len(REQUEST)) == len(REQUEST)
    assert reader.read(b"GET / HTTP/1.1\r\n\r\n", 0) == FOREIGN


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (b"X-A: {", EVENT),
        (b"X-A: {}\r\nX-B: }{", EVENT),
        (b"X-A: b", b" " + EVENT),
        (b"X-A: b", b"n=pageview"),
        (b"X-A: b", b"[{}]"),
        (b"X-A: b", b"}{"),
        (b"X-A: {", b""),
        (b"X-A: b", b""),
    ],
)
def test_a_brace_may_be_anywhere(line: bytes, body: bytes) -> None:
    """A known head ends where it ends, whether or not it holds the character that events begin with."""
    heads = Heads()
    request = post(line, body=body)
    for rest in (b"", b"", request, b"P", b"{", b"\r\n\r\n{"):
        reader = PlainReader(heads)
        assert reader.read(request + rest, 0) == len(request)
        assert reader.body == body
    assert len(heads) == 1


@pytest.mark.parametrize(
    "line", [b"X-Request-Id: 1234", b"traceparent: 00-1-2-03", b"X-A: " + b"a" * MAX_REMEMBERED_BYTES]
)
def test_what_does_not_come_again_is_not_remembered(line: bytes) -> None:
    """Heads with the id of one request, and long ones."""
    heads = Heads()
    request = REQUEST.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n", 1)
    for _ in range(2):
        assert PlainReader(heads).read(request, 0) == len(request)
    assert len(heads) == 0


def test_a_head_that_is_not_plain_is_not_remembered() -> None:
    """It is aiohttp's each time."""
    heads = Heads()
    request = REQUEST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n", 1)
    assert [PlainReader(heads).read(request, 0) for _ in range(2)] == [FOREIGN, FOREIGN]
    assert len(heads) == 0


@pytest.mark.parametrize("digits", [6, 5000])
def test_a_length_of_many_digits_is_left_to_aiohttp(digits: int) -> None:
    """Leading zeros are allowed, in any number."""
    length = str(len(EVENT)).rjust(digits, "0")
    request = f"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode() + EVENT
    assert PlainReader(Heads()).read(request, 0) == FOREIGN


def test_two_turns_forget_what_does_not_come_again() -> None:
    """A head that comes in between stays."""
    heads, head = Heads(), Head({}, 0)
    for _ in range(2):
        heads.remember(b"once", head)
        heads.remember(b"again", head)
    heads.turn()
    assert heads.get(b"again") is head
    heads.turn()
    assert (heads.get(b"once"), heads.get(b"again")) == (None, head)
    assert len(heads) == 1


def test_a_flood_of_heads_is_bounded() -> None:
    """There are never more than two generations."""
    heads = Heads()
    for number in range(3 * MAX_HEADS):
        for _ in range(2):
            heads.remember(b"%d" % number, Head({}, 0))
        heads.get(b"%d" % (number // 2))
    assert len(heads) <= 2 * MAX_HEADS


async def test_the_same_head_from_another_peer_is_another_sender() -> None:
    """Whose address it is and whether its headers are believed is asked for each peer."""
    system = ScriptedSystem()
    request = REQUEST.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n", 1)
    async with wires(system, trusted=["192.0.2.1"]) as connect:
        addresses = []
        for peer in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            connect(peer).send(request)
            addresses.append(system.requests[-1].remote_ip)
    assert addresses == ["203.0.113.9", "192.0.2.2", "203.0.113.9"]


def test_a_sender_takes_json_or_not() -> None:
    """What the header says counts only when nothing else says what is wanted."""
    intake = EventIntake(public_settings(), lambda: NOW)
    for accept, takes in ((None, True), ("*/*", True), ("text/html", False), ("application/json", True)):
        headers = {} if accept is None else {"accept": accept}
        assert intake.meet(headers.get, "127.0.0.1").takes_json is takes
