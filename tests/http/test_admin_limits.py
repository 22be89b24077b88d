"""Tries that fail are counted and slowed, and no flood of them keeps out who has a good token."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.admin_gate import FAILURES_AT_ONCE, REQUESTS_AT_ONCE
from service.http.admin_limits import MAX_KEPT, Allowances, peer_group
from service.http.admin_tokens import Scope, create_token, revoke_token
from service.telemetry import catalogue
from tests.support.admin_server import AdminServer, admin_server

NOW = 1_795_003_200.0
STATUS = "/api/v1/status"
WRONG = {"Authorization": "Bearer " + "x" * 43}
SHORT = {"Authorization": "Bearer guess"}


class Hand:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def counted(server: AdminServer) -> dict[str, float]:
    """Give what was turned away, by reason, but for what never was."""
    found: Counter[str] = Counter()
    for measured in server.running.telemetry.measure():
        if measured.metric is catalogue.ADMIN_REFUSALS and measured.value:
            assert isinstance(measured.value, int)
            found[str(measured.attributes["reason"])] = measured.value
    return dict(found)


async def fail(server: AdminServer, times: int, headers: dict[str, str]) -> list[int]:
    """Send requests that nobody may send; gives their statuses."""
    return [(await server.send("GET", STATUS, headers=headers)).status for _ in range(times)]


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (WRONG, "wrong_token"),
        (SHORT, "wrong_token"),
        ({}, "no_token"),
        ({"Authorization": "Basic x"}, "no_token"),
    ],
)
async def test_failed_tries_are_counted_and_slowed(
    tmp_path: Path, headers: dict[str, str], reason: str
) -> None:
    """After some at once there is one a second; the rest is told when to come again."""
    async with admin_server(tmp_path) as server:
        assert await fail(server, FAILURES_AT_ONCE + 3, headers) == [401] * FAILURES_AT_ONCE + [429] * 3
        assert counted(server) == {reason: FAILURES_AT_ONCE, "slowed": 3}
        refused = await server.send("GET", STATUS, headers=headers)
        assert refused.headers["Retry-After"] == "1"
        assert "try again in a second" in refused.error

        server.running.clock.now += 1.0
        assert await fail(server, 2, headers) == [401, 429]


async def test_no_flood_keeps_out_a_token_that_we_made(tmp_path: Path) -> None:
    """From the same address, and without a pause."""
    async with admin_server(tmp_path) as server:
        token = create_token(tmp_path, "dashboard", Scope.READ, now=NOW)
        await fail(server, FAILURES_AT_ONCE + 5, WRONG)
        answer = await server.send("GET", STATUS, headers={"Authorization": f"Bearer {token}"})
        assert answer.status == 200
        assert await fail(server, 1, WRONG) == [429], "a good token is no credit for wrong ones"


async def test_a_short_token_of_ones_own_waits_a_second(tmp_path: Path) -> None:
    """It can be guessed, so that a guess must not be answered; it is good again as soon as tries are."""
    async with admin_server(tmp_path) as server:
        await fail(server, FAILURES_AT_ONCE, WRONG)
        assert (await server.send("GET", STATUS)).status == 429
        server.running.clock.now += 1.0
        assert (await server.send("GET", STATUS)).status == 200
        assert (await server.send("GET", STATUS)).status == 200, "a good try takes none away"


async def test_one_token_may_not_ask_without_end(tmp_path: Path) -> None:
    """Another may meanwhile."""
    async with admin_server(tmp_path) as server:
        busy, other = (
            {"Authorization": f"Bearer {create_token(tmp_path, name, Scope.READ, now=NOW)}"} for name in "ab"
        )
        statuses = [
            (await server.send("GET", STATUS, headers=busy)).status for _ in range(REQUESTS_AT_ONCE + 1)
        ]
        assert statuses == [200] * REQUESTS_AT_ONCE + [429]
        assert (await server.send("GET", STATUS, headers=other)).status == 200
        assert counted(server) == {"too_fast": 1}
        server.running.clock.now += 1.0
        assert (await server.send("GET", STATUS, headers=busy)).status == 200


async def test_a_token_that_may_only_read_is_counted(tmp_path: Path) -> None:
    """It is no failed try: the token is good."""
    async with admin_server(tmp_path) as server:
        reader = {"Authorization": f"Bearer {create_token(tmp_path, 'r', Scope.READ, now=NOW)}"}
        statuses = [
            (await server.send("POST", "/api/v1/flush", headers=reader)).status
            for _ in range(FAILURES_AT_ONCE + 1)
        ]
        assert statuses == [403] * (FAILURES_AT_ONCE + 1)
        assert counted(server) == {"read_only": FAILURES_AT_ONCE + 1}
        revoke_token(tmp_path, "r")


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/api/v1/sites", {}, b"x" * (1024 * 1024 + 1), 413),
        (f"/api/v1/sites?x={'x' * 9000}", {}, b"", 400),
        ("/api/v1/sites", {"X-Long": "x" * 9000}, b"", 400),
    ],
    ids=["body", "line", "header"],
)
async def test_sizes_are_limited(
    tmp_path: Path, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    """Of the body, of the request line, of a header."""
    async with admin_server(tmp_path) as server:
        token = create_token(tmp_path, "w", Scope.WRITE, now=NOW)
        sent = {"Authorization": f"Bearer {token}", **headers}
        answer = await server.send("POST", path, headers=sent, body=body)
    assert answer.status == status


def test_allowance() -> None:
    """So many at once, then so many a second, never more than at first; each for itself."""
    clock = Hand()
    allowances = Allowances(clock, burst=2, per_s=0.5)
    assert [allowances.take("a") for _ in range(3)] == [True, True, False]
    assert allowances.take("b")
    clock.now += 2.0
    assert [allowances.has_some("a"), allowances.take("a"), allowances.take("a")] == [True, True, False]
    clock.now += 3600.0
    assert [allowances.take("a") for _ in range(3)] == [True, True, False]


def test_clock_that_is_set_back() -> None:
    """Nobody waits until it is as late again."""
    clock = Hand()
    allowances = Allowances(clock, burst=1, per_s=1.0)
    assert allowances.take("a")
    clock.now -= 3600.0
    assert not allowances.take("a")
    clock.now += 1.0
    assert allowances.take("a")


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5)), max_size=60))
def test_never_more_than_promised(steps: list[tuple[int, float]]) -> None:
    """Over any stretch of time: what was there at once, and what came back."""
    clock = Hand()
    allowances = Allowances(clock, burst=3, per_s=2.0)
    taken: Counter[int] = Counter()
    for who, pause in steps:
        clock.now += pause
        taken[who] += allowances.take(str(who))
        assert taken[who] <= 3 + 2.0 * (clock.now - NOW) + 1e-6


def test_memory_is_bounded() -> None:
    """Who was seen longest ago is forgotten first."""
    allowances = Allowances(Hand(), burst=1, per_s=1.0)
    for number in range(MAX_KEPT + 100):
        assert allowances.take(str(number))
        assert not allowances.take("0"), "who comes all the time is not forgotten"
    assert len(allowances) == MAX_KEPT
    assert allowances.take("1")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_peer_group(address: str, name: str) -> None:
    """Of IPv6 a network counts as one: a customer has more addresses than anybody can remember."""
    assert peer_group(address) == name
