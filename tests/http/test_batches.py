"""``POST /api/events`` over real sockets."""

import json
from pathlib import Path
from typing import Any

import pytest

from actors.runtime import ActorStopped
from service.ingestion.verdict import REPEATED, Dropped, DropReason, Retry, RetryReason
from service.wire.batch import MAX_BODY_BYTES
from tests.support.public_server import (
    NOW,
    TOKEN,
    PublicServer,
    RawResponse,
    ScriptedSystem,
    public_server,
)
from tests.support.running_system import FIREFOX, SetClock, running_system

EVENT: dict[str, Any] = {"n": "pageview", "u": "https://e.com/", "d": "e.com"}


async def send(
    server: PublicServer,
    body: bytes | list[Any],
    authorization: str | None = f"Bearer {TOKEN}",
    **headers: str,
) -> RawResponse:
    """Send a batch; a list is sent as JSON."""
    named = {"Content-Type": "application/json", **headers}
    if authorization is not None:
        named["Authorization"] = authorization
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await server.send("POST", "/api/events", encoded, named)


async def test_each_item_gets_its_verdict() -> None:
    """In the order sent, with totals."""
    system = ScriptedSystem({"bot.com": Dropped(DropReason.BOT), "busy.com": Retry(RetryReason.OVERLOADED)})
    items = [EVENT, {**EVENT, "d": "bot.com"}, {}, {**EVENT, "d": "busy.com"}]
    async with public_server(system) as server:
        response = await send(server, items)

    assert response.status == 202
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.json() == {
        "results": [
            {"verdict": "buffered"},
            {"verdict": "dropped", "reason": "bot"},
            {
                "verdict": "invalid",
                "errors": {
                    "url": ["is required"],
                    "domain": ["can't be blank"],
                    "event_name": ["can't be blank"],
                },
            },
            {"verdict": "retry", "reason": "overloaded"},
        ],
        "buffered": 1,
        "dropped": 1,
        "invalid": 1,
        "retry": 1,
    }


async def test_items_with_an_id() -> None:
    """An id is text or a number; one that was stored before is buffered, and said to be repeated."""
    system = ScriptedSystem({"old.com": REPEATED})
    wrong: list[Any] = ["", "a b", True, 1.5, [], {}]
    items = [
        {**EVENT, "id": "a"},
        {**EVENT, "id": 7},
        {**EVENT, "id": "a", "d": "old.com"},
        *({**EVENT, "id": value} for value in wrong),
    ]
    async with public_server(system) as server:
        response = await send(server, items)

    results = response.json()["results"]
    assert [request.key for request in system.requests] == ["a", "7", "a"]
    assert results[:3] == [*[{"verdict": "buffered"}] * 2, {"verdict": "buffered", "repeated": True}]
    assert response.json()["buffered"] == 3
    assert [list(result["errors"]) for result in results[3:]] == [["id"]] * len(wrong)


async def test_lines_are_a_batch_too() -> None:
    """One JSON object a line."""
    lines = b"\n".join(json.dumps(EVENT).encode() for _ in range(3))
    async with public_server(ScriptedSystem()) as server:
        response = await send(server, lines, **{"Content-Type": "application/x-ndjson"})

    assert response.json()["buffered"] == 3


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer \udcff"]
)
async def test_without_the_token_nothing_is_read(authorization: str | None) -> None:
    """401 with a sentence."""
    system = ScriptedSystem()
    async with public_server(system) as server:
        response = await send(server, [EVENT], authorization)

    assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")
    assert "sender token" in response.json()["errors"]["authorization"][0]
    assert not system.requests


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer "])
async def test_without_a_token_in_the_settings_nobody_may_send(authorization: str | None) -> None:
    """An empty token fits nobody."""
    async with public_server(ScriptedSystem(), sender_token="") as server:
        assert (await send(server, [EVENT], authorization)).status == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"7", 400),
        (b"[", 400),
        (b"[" + b",".join([b"{}"] * 1001) + b"]", 413),
        (b" " * (MAX_BODY_BYTES + 1), 413),
    ],
)
async def test_what_is_no_batch_is_refused_as_a_whole(body: bytes, status: int) -> None:
    """As JSON, with a sentence."""
    async with public_server(ScriptedSystem()) as server:
        response = await send(server, body)

    assert response.status == status
    assert response.json()["errors"]["request"]


async def test_a_batch_of_which_nothing_was_judged_is_503() -> None:
    """To be sent again as it is."""
    system = ScriptedSystem({"e.com": Retry(RetryReason.NOT_READY)})
    async with public_server(system) as server:
        response = await send(server, [EVENT, EVENT])

    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert response.json()["retry"] == 2


async def test_a_system_that_stopped_is_503() -> None:
    """An error of the actors is no 500."""
    system = ScriptedSystem()
    system.error = ActorStopped("gone")
    async with public_server(system) as server:
        assert (await send(server, [EVENT])).status == 503


async def test_items_speak_for_their_visitors() -> None:
    """Time, address and user agent of an item go before the request's own."""
    system = ScriptedSystem()
    item = {**EVENT, "timestamp": int(NOW) - 3600, "ip": "203.0.113.7", "user_agent": "Firefox"}
    async with public_server(system) as server:
        await send(server, [EVENT, item], **{"User-Agent": "Relay", "X-Forwarded-For": "192.0.2.1"})

    plain, full = system.requests
    assert (plain.timestamp, plain.remote_ip, plain.user_agent) == (int(NOW), "192.0.2.1", "Relay")
    assert (full.timestamp, full.remote_ip, full.user_agent) == (int(NOW) - 3600, "203.0.113.7", "Firefox")
    assert (plain.back_dated, full.back_dated) == (False, True)


async def test_the_real_system_stores_a_batch(tmp_path: Path) -> None:
    """Its rows are there after a flush, at their own times."""
    items = [{**EVENT, "timestamp": int(NOW) - age, "user_agent": FIREFOX} for age in (0, 7200, 60)]
    async with (
        running_system(tmp_path, domains=("e.com",), clock=SetClock(NOW)) as running,
        public_server(running.system) as server,
    ):
        response = await send(server, items)
        flushed = await running.system.flush()

    assert (response.json()["buffered"], flushed) == (3, 3)
