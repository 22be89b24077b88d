"""The public listener beside aiohttp's own server: the same bytes in, the same answers out."""

import asyncio
from collections.abc import Iterable, Sequence

import pytest
import uvloop
from msgspec.structs import replace

from service.ingestion.request import Request
from tests.support.http_streams import BROKEN, LAST_ONES, ODD, PLAIN, post
from tests.support.public_server import (
    PublicServer,
    RawResponse,
    ScriptedSystem,
    aiohttp_server,
    parse_responses,
    public_server,
)

CHANGING = ("date", "x-request-id")
LAST_ID = "the-last-request-of-all"
LAST = b"GET /api/system/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-Id: %b\r\n\r\n" % (
    LAST_ID.encode()
)
"""Is answered only on a connection that was kept."""

Seen = tuple[list[tuple[int, dict[str, str], bytes]], bool, list[Request]]
"""The answers, whether the connection was kept, and what the system was asked."""


def table(streams: dict[str, bytes]) -> Iterable[object]:
    """Make one case of each stream."""
    return [pytest.param(sent, id=name) for name, sent in streams.items()]


async def see(server: PublicServer, system: ScriptedSystem, sent: bytes) -> Seen:
    """Send bytes and give all that can be seen until the connection is closed."""
    system.requests.clear()
    responses = parse_responses(await server.exchange(sent, then_close=False))
    kept = bool(responses) and responses[-1].headers.get("x-request-id") == LAST_ID
    # Whether its head is remembered says nothing of a request.
    requests = [replace(request, memo=None) for request in system.requests]
    return [show(response) for response in responses], kept, requests


def show(response: RawResponse) -> tuple[int, dict[str, str], bytes]:
    """Leave out what differs from one answer to the next."""
    headers = {name: value for name, value in response.headers.items() if name not in CHANGING}
    return response.status, headers, response.body


async def see_both(sent: bytes) -> tuple[Seen, Seen]:
    """Send the same to our listener and to aiohttp alone."""
    ours, theirs = ScriptedSystem(), ScriptedSystem()
    async with public_server(ours) as our_server, aiohttp_server(theirs) as their_server:
        return await see(our_server, ours, sent), await see(their_server, theirs, sent)


@pytest.mark.parametrize("sent", table(PLAIN | ODD))
async def test_a_request_gets_aiohttps_answer_and_the_connection_is_kept(sent: bytes) -> None:
    """Status, headers and body alike, plain or not."""
    ours, theirs = await see_both(sent + LAST)

    assert ours == theirs
    assert ours[1]


@pytest.mark.parametrize("sent", table(BROKEN))
async def test_bad_framing_gets_aiohttps_answer_and_the_connection_is_closed(sent: bytes) -> None:
    """Nothing that comes after it is taken for a request."""
    ours, theirs = await see_both(sent + LAST)

    assert ours == theirs
    assert not ours[1]
    assert len(ours[0]) == 1
    assert ours[0][0][0] // 100 == 4


@pytest.mark.parametrize("sent", table(LAST_ONES))
async def test_a_last_request_is_answered_and_the_connection_is_closed(sent: bytes) -> None:
    """Without anybody having to end it."""
    ours, theirs = await see_both(sent)

    assert ours == theirs
    assert [status for status, _, _ in ours[0]] == [202]


async def test_what_comes_after_a_last_request_is_not_read() -> None:
    """However much it looks like a request."""
    ours, theirs = await see_both(post() + LAST_ONES["close"])
    more, _ = await see_both(post() + LAST_ONES["close"] + PLAIN["JSON"])

    assert more == ours == theirs


@pytest.mark.parametrize(
    "streams",
    [
        list(PLAIN.values()),
        [PLAIN["a tracker's"]] * 100,
        [PLAIN["a tracker's"], ODD["a GET"], PLAIN["JSON"], ODD["chunked"], PLAIN["a form"]],
    ],
    ids=["all plain ones", "a hundred", "mixed"],
)
async def test_pipelined_requests_are_answered_in_order(streams: Sequence[bytes]) -> None:
    """Also where aiohttp takes the connection over in the middle."""
    ours, theirs = await see_both(b"".join(streams) + LAST)

    assert ours == theirs


async def test_what_came_before_a_broken_request_is_answered() -> None:
    """Where aiohttp forgets it when both come in one piece."""
    ours, theirs = await see_both(post() + BROKEN["two lengths"] + LAST)

    assert [status for status, _, _ in ours[0]] == [202, 400]
    assert ours[0][-1] == theirs[0][-1]
    assert not ours[1]


@pytest.mark.parametrize("sent", table({"a head": post()[:40], "a length": post()[:-30], "nothing": b""}))
async def test_half_a_request_is_never_an_event(sent: bytes) -> None:
    """A sender that ends in its middle gets no answer, and the connection is closed."""
    system = ScriptedSystem()
    async with public_server(system) as server:
        received = await server.exchange(sent)

    assert received == b""
    assert not system.requests


async def test_a_sender_that_closed_its_half_gets_its_answers() -> None:
    """It may have nothing more to say, and still listen."""
    async with public_server(ScriptedSystem()) as server:
        received = await server.exchange(post() * 3)

    assert [response.status for response in parse_responses(received)] == [202] * 3


@pytest.mark.parametrize("name", ["expect", "chunked"])
async def test_a_connection_that_was_handed_over_goes_on(name: str) -> None:
    """One request at a time, plain ones too."""
    system = ScriptedSystem()
    async with public_server(system) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for sent in (post(), ODD[name], post(), ODD[name]):
            writer.write(sent)
            await reader.readuntil(b"\r\n\r\nok")
        writer.close()

    assert len(system.requests) == 4


async def test_a_body_in_drops_is_put_together() -> None:
    """Byte by byte over a real socket."""
    system = ScriptedSystem()
    async with public_server(system) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for byte in post(b"Connection: close"):
            writer.write(bytes([byte]))
            await writer.drain()
        received = await reader.read()
        writer.close()

    (response,) = parse_responses(received)
    assert (response.status, response.body) == (202, b"ok")
    assert len(system.requests) == 1


def test_the_loop_of_the_service_makes_no_difference() -> None:
    """On uvloop as on asyncio's own: in order, handed over in the middle, and for half a connection."""
    streams = [*PLAIN.values(), *ODD.values(), LAST]

    async def play() -> None:
        ours, theirs = await see_both(b"".join(streams))
        assert ours == theirs
        for sent in BROKEN.values():
            ours, theirs = await see_both(sent + LAST)
            assert ours == theirs
        await test_a_sender_that_closed_its_half_gets_its_answers()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())
