"""A connection on the short way: order, bounds, times, ends."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.runtime import ActorStopped
from service.http.app import KEEP_ALIVE_S, LINGER_S
from service.http.body import READ_TIMEOUT_S
from service.http.lean.connection import MAX_WAITING
from service.ingestion.verdict import Dropped, DropReason
from tests.support.http_streams import BROKEN, LAST_ONES, ODD, PLAIN, post
from tests.support.public_server import EVENT, ScriptedSystem, parse_responses
from tests.support.wire import PatientSystem, Wire, wires

STREAMS = PLAIN | ODD | LAST_ONES | BROKEN
SHORT_WAY = [*PLAIN, "close", "close in capitals"]
LONG_WAY = [name for name in STREAMS if name not in SHORT_WAY]
HEAD_ONLY = post()[: -len(EVENT)]
JSON_HEAD = PLAIN["JSON"][: -len(EVENT)]


def statuses(wire: Wire) -> list[int]:
    """Give the statuses of all that came back."""
    return [response.status for response in parse_responses(wire.received)]


def later(seconds: float) -> float:
    """Give a time on the loop's clock."""
    return asyncio.get_running_loop().time() + seconds


@pytest.mark.parametrize("sent", [pytest.param(STREAMS[name], id=name) for name in SHORT_WAY])
async def test_plain_requests_take_the_short_way(sent: bytes) -> None:
    """All of them, one after the other."""
    async with wires(ScriptedSystem()) as connect:
        wire = connect()
        wire.send(sent)
        assert (len(wire.writes), wire.is_handed_over) == (1, False)


@pytest.mark.parametrize("sent", [pytest.param(STREAMS[name], id=name) for name in LONG_WAY])
async def test_everything_else_is_handed_over(sent: bytes) -> None:
    """At once, so that what is broken is refused as early as aiohttp refuses it."""
    async with wires(ScriptedSystem()) as connect:
        wire = connect()
        wire.send(sent)
        assert wire.is_handed_over
        await wire.settle()
        assert wire.writes


async def test_a_sender_is_remembered_with_its_head() -> None:
    """From the second time on that the head comes: one that came once leaves nothing."""
    system = ScriptedSystem()
    async with wires(system) as connect:
        wire = connect()
        for _ in range(4):
            wire.send(PLAIN["a tracker's"])
        first, second, third, fourth = (request.memo for request in system.requests)
        assert first is None
        assert second is not None
        assert second is third is fourth


async def test_answers_keep_the_order_of_their_requests() -> None:
    """However late the first one is; those that wait for it are written with it, at once."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post() * 3)
        system.answer(2, Dropped(DropReason.BOT))
        system.answer(1)
        await wire.settle()
        assert not wire.writes
        system.answer(0)
        await wire.settle()

    assert len(wire.writes) == 1
    responses = parse_responses(wire.received)
    assert ["x-plausible-dropped" in response.headers for response in responses] == [False, False, True]


async def test_only_the_first_answer_counts() -> None:
    """A crash after it changes nothing."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post())
        system.answer(0)
        system.envelopes[0].fail(ActorStopped("late"))

    assert statuses(wire) == [202]


async def test_an_error_of_the_actors_is_503() -> None:
    """With the time to wait."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post())
        system.envelopes[0].fail(ActorStopped("gone"))

    (response,) = parse_responses(wire.received)
    assert (response.status, response.headers["retry-after"]) == (503, "1")


async def test_a_sender_may_have_so_many_requests_waiting() -> None:
    """Beyond that nothing is read, until answers are written."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post() * (MAX_WAITING + 5))
        assert (len(system.envelopes), wire.reads) == (MAX_WAITING, False)
        for index in range(MAX_WAITING):
            system.answer(index)
        await wire.settle()
        assert (len(system.envelopes), wire.reads) == (MAX_WAITING + 5, True)


async def test_a_sender_that_does_not_read_is_not_read() -> None:
    """And its connection is ended after a while, whatever is left to be written."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post())
        wire.connection.pause_writing()
        system.answer(0)
        wire.send(post())
        assert (len(system.envelopes), wire.reads) == (1, False)
        wire.connection.resume_writing()
        assert (len(system.envelopes), wire.reads) == (2, True)
        wire.connection.pause_writing()
        wire.connection.look_at(later(KEEP_ALIVE_S + 1))
        assert wire.is_closing()


@pytest.mark.parametrize("name", ["chunked", "a GET", "expect"])
async def test_a_hand_over_waits_for_the_answers_before_it(name: str) -> None:
    """And for the sender to read them."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post() + ODD[name])
        assert (wire.is_handed_over, wire.reads) == (False, False)
        wire.connection.pause_writing()
        system.answer(0)
        assert not wire.is_handed_over
        wire.connection.resume_writing()
        assert (wire.is_handed_over, wire.reads) == (True, True)
        await wire.settle()

    assert [status for status in statuses(wire) if status != 100] in ([202, 202], [202, 200])


async def test_a_hand_over_of_a_sender_that_ended_is_its_last() -> None:
    """It is closed after aiohttp got to see what there was."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post() + ODD["a GET"])
        wire.end()
        system.answer(0)
        await wire.settle()
        assert (wire.is_handed_over, wire.is_lost) == (True, True)


async def test_half_a_connection_stays_until_the_answer() -> None:
    """The sender that closed its half gets it."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post())
        wire.end()
        assert not wire.is_closing()
        system.answer(0)
        assert (statuses(wire), wire.is_closing()) == ([202], True)


async def test_an_answer_for_nobody_is_thrown_away() -> None:
    """The event takes its course."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post())
        wire.abort()
        await wire.settle()
        system.answer(0)

    assert not wire.writes


@pytest.mark.parametrize("sent", [b"", post()[:10], post(), post() + post()[:60]])
async def test_an_idle_connection_is_closed(sent: bytes) -> None:
    """Counted from its last answer; the beginning of a head is no reason to wait longer."""
    async with wires(ScriptedSystem()) as connect:
        wire = connect()
        if sent:
            wire.send(sent)
        wire.connection.look_at(later(KEEP_ALIVE_S - 1))
        assert not wire.is_closing()
        wire.connection.look_at(later(KEEP_ALIVE_S))
        assert wire.is_closing()


async def test_a_connection_that_waits_for_its_answer_is_not_idle() -> None:
    """However long that takes."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post())
        wire.connection.look_at(later(KEEP_ALIVE_S * 10))
        assert not wire.is_closing()
        system.answer(0)


@pytest.mark.parametrize(("head", "status"), [(HEAD_ONLY, 400), (JSON_HEAD, 408)])
async def test_a_body_that_does_not_come_is_given_up(head: bytes, status: int) -> None:
    """Drops of it are no reason to wait longer; what still comes is thrown away, for a while."""
    system = ScriptedSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(head)
        wire.connection.look_at(later(READ_TIMEOUT_S - 1))
        wire.send(EVENT[:3])
        assert not wire.writes
        wire.connection.look_at(later(READ_TIMEOUT_S))
        assert (statuses(wire), wire.is_closing()) == ([status], False)
        assert parse_responses(wire.received)[0].headers["connection"] == "close"
        wire.send(EVENT[3:] + post())
        wire.connection.look_at(later(LINGER_S))
        assert wire.is_closing()

    assert not system.requests
    assert len(wire.writes) == 1


async def test_a_body_given_up_waits_for_the_answers_before_it() -> None:
    """In their order."""
    system = PatientSystem()
    async with wires(system) as connect:
        wire = connect()
        wire.send(post() + HEAD_ONLY)
        wire.connection.look_at(later(READ_TIMEOUT_S))
        assert not wire.writes
        system.answer(0)
        await wire.settle()

    assert statuses(wire) == [202, 400]


async def test_a_stop_answers_what_was_taken_and_takes_no_more() -> None:
    """Idle connections are closed at once."""
    system = PatientSystem()
    async with wires(system) as connect:
        idle, busy = connect(), connect()
        busy.send(post())
        idle.connection.finish()
        busy.connection.finish()
        assert (idle.is_closing(), busy.is_closing()) == (True, False)
        busy.send(post())
        system.answer(0)
        await busy.settle()

    assert (statuses(busy), busy.is_lost, len(system.envelopes)) == ([202], True, 1)


async def test_a_stop_cuts_off_what_is_never_answered() -> None:
    """When its time is over."""
    async with wires(PatientSystem()) as connect:
        wire = connect()
        wire.send(post())

    assert wire.is_closing()


ANY_STREAM = st.lists(st.sampled_from(sorted(STREAMS)), min_size=1, max_size=6)
CUTS = st.lists(st.integers(1, 400), max_size=40)
NOISE = st.binary(max_size=40)


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """Cut a stream into pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(stream[:size])
        stream = stream[size:]
    return [piece for piece in (*pieces, stream) if piece]


async def play(connect: Callable[[], Wire], pieces: list[bytes]) -> Wire:
    """Send pieces, each after all that the one before brought about, and end."""
    wire = connect()
    for piece in pieces:
        wire.send(piece)
        await wire.settle()
    wire.end()
    await wire.settle()
    return wire


def shown(wire: Wire) -> list[tuple[int, bytes]]:
    """Give what tells one answer from another."""
    return [(response.status, response.body) for response in parse_responses(wire.received)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(SHORT_WAY), min_size=1, max_size=6), CUTS)
async def test_where_a_stream_is_cut_changes_nothing(names: list[str], sizes: list[int]) -> None:
    """The same answers, the same requests."""
    stream = b"".join(STREAMS[name] for name in names)
    whole, pieces = ScriptedSystem(), ScriptedSystem()
    async with wires(whole) as connect:
        at_once = await play(connect, [stream])
    async with wires(pieces) as connect:
        in_pieces = await play(connect, cut(stream, sizes))

    assert shown(in_pieces) == shown(at_once)
    assert pieces.requests == whole.requests
    assert at_once.is_lost
    assert in_pieces.is_lost


async def check_any_bytes(names: list[str], noise: list[tuple[int, bytes]], sizes: list[int]) -> None:
    """Play requests with noise in them: nothing raises, and the connection is closed in the end.

    ``noise`` is where bytes are put, and which; in place of as many that were there.
    """
    stream = bytearray().join(STREAMS[name] for name in names)
    for place, piece in noise:
        at = place % (len(stream) + 1)
        stream[at : at + len(piece) // 2] = piece
    failures: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with wires(ScriptedSystem()) as connect:
        wire = await play(connect, cut(bytes(stream), sizes))

    assert wire.is_lost
    assert not failures
    assert all(response.status < 500 for response in parse_responses(wire.received))


@settings(max_examples=150, deadline=None)
@given(ANY_STREAM, st.lists(st.tuples(st.integers(0, 5000), NOISE), max_size=5), CUTS)
async def test_no_bytes_are_an_error_of_ours(
    names: list[str], noise: list[tuple[int, bytes]], sizes: list[int]
) -> None:
    """Requests of all sorts with noise in them, cut anywhere."""
    await check_any_bytes(names, noise, sizes)
