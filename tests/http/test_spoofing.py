"""Nobody but a trusted proxy chooses a visitor's address, its class or a trace, on either way in."""

import asyncio
import json

import pytest

from tests.support.public_server import EVENT, TOKEN, ScriptedSystem, public_server
from tests.support.spans import Spans

PEER = "127.0.0.1"
PROXY = "127.0.0.2"
"""Another address of this machine."""
OTHERS = ("10.0.0.0/8",)
NEIGHBOURS = ("127.0.0.0/8",)
PLANTED = "203.0.113.77"
PLANTED_6 = "2001:db8::77"

BELIEVED = [
    ("X-Plausible-IP", PLANTED, PLANTED),
    ("X-Plausible-IP", "2001:DB8:0::77", PLANTED_6),
    ("CF-Connecting-IP", PLANTED, PLANTED),
    ("B-Forwarded-For", f"{PLANTED}, 10.0.0.1", PLANTED),
    ("X-Forwarded-For", f"{PLANTED}, 10.0.0.1", PLANTED),
    ("X-Forwarded-For", f"[{PLANTED_6}]:4711", PLANTED_6),
    ("Forwarded", f'for="[{PLANTED_6}]:80";proto=https', PLANTED_6),
    ("Forwarded", f"by=10.0.0.1;for={PLANTED}", PLANTED),
]
"""Header, value, and the address that it names when a trusted proxy sends it."""

UNKNOWN = [
    "True-Client-IP",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "X-Original-Forwarded-For",
    "X-Forwarded",
    "Forwarded-For",
    "Fastly-Client-IP",
    "Client-IP",
    "X_Forwarded_For",
    "X-Forwarded-For-Original",
    "X-ProxyUser-IP",
    "Via",
    "From",
    "Remote-Addr",
]
"""What other servers believe; here it means nothing."""

WAYS = {"short": "/api/event", "aiohttp": "/api/event?long=1"}
"""A plain event is read by ourselves, one with a query by aiohttp."""


async def seen(path: str, trusted: tuple[str, ...], headers: dict[str, str]) -> tuple[str, str | None]:
    """Send an event; gives the address and its class as the system is asked about them."""
    system = ScriptedSystem()
    async with public_server(system, trusted=trusted) as server:
        answer = await server.send("POST", path, EVENT, {"Content-Type": "text/plain", **headers})
    assert answer.status == 202
    (request,) = system.requests
    return request.remote_ip, request.ip_class


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("name", "value", "address"), BELIEVED)
async def test_forwarding_headers(path: str, name: str, value: str, address: str) -> None:
    """A trusted proxy is believed; anybody else is the visitor himself, whatever he says."""
    for spelling in (name, name.lower(), name.upper()):
        assert (await seen(path, NEIGHBOURS, {spelling: value}))[0] == address
        assert (await seen(path, OTHERS, {spelling: value}))[0] == PEER


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("trusted", [NEIGHBOURS, OTHERS], ids=["trusted", "untrusted"])
@pytest.mark.parametrize("name", UNKNOWN)
async def test_headers_that_mean_nothing(path: str, trusted: tuple[str, ...], name: str) -> None:
    """They are nobody's word, not even a trusted proxy's."""
    assert (await seen(path, trusted, {name: PLANTED}))[0] == PEER


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS.keys())
async def test_all_at_once(path: str) -> None:
    """However many headers a stranger sends."""
    headers = {name: value for name, value, _ in BELIEVED} | dict.fromkeys(UNKNOWN, PLANTED)
    assert await seen(path, OTHERS, headers | {"X-Plausible-IP-Type": "dc_ip"}) == (PEER, None)


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(
    "value",
    [
        "not an address",
        "203.0.113.77.evil.example",
        "203.0.113.077",
        "0xcb00714d",
        "3405803853",
        "203.0.113.77\tx",
        "fe80::1%eth0",
        "::ffff:203.0.113.300",
        "",
        "٢٠٣.0.113.77",
        "203.0.113.77/8",
    ],
)
async def test_what_is_no_address(path: str, value: str) -> None:
    """Even a trusted proxy names an address or nothing: the next one that is known counts."""
    for name in ("X-Plausible-IP", "CF-Connecting-IP", "X-Forwarded-For"):
        assert (await seen(path, NEIGHBOURS, {name: value}))[0] == PEER


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("kind", ["dc_ip", "threat_ip", "anonymous_vpn_ip"])
async def test_class_of_an_address(path: str, kind: str) -> None:
    """A stranger can neither have himself dropped as a machine nor hide his country."""
    assert (await seen(path, NEIGHBOURS, {"X-Plausible-IP-Type": kind}))[1] == kind
    assert (await seen(path, OTHERS, {"X-Plausible-IP-Type": kind}))[1] is None


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("trusted", "kept"), [(NEIGHBOURS, 1), (OTHERS, 0)], ids=["trusted", "untrusted"])
async def test_traces(path: str, trusted: tuple[str, ...], kept: int) -> None:
    """A stranger has none of his requests kept by saying that they are sampled."""
    spans = Spans(ratio=0.0)
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    async with public_server(ScriptedSystem(), trusted=trusted, tracing=spans.tracing) as server:
        await server.send("POST", path, EVENT, {"Content-Type": "text/plain", "traceparent": parent})
    assert len(spans.all()) == kept


@pytest.mark.parametrize(("trusted", "address"), [(NEIGHBOURS, PLANTED), (OTHERS, PEER)])
async def test_batch_without_an_address(trusted: tuple[str, ...], address: str) -> None:
    """The sender's own address takes its place, found by the same rule."""
    system = ScriptedSystem()
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {TOKEN}",
        "X-Forwarded-For": PLANTED,
    }
    async with public_server(system, trusted=trusted) as server:
        await server.send("POST", "/api/events", b"[" + EVENT + b"]", headers)
    assert [request.remote_ip for request in system.requests] == [address]


@pytest.mark.parametrize("path", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("order", [(PEER, PROXY, PEER), (PROXY, PEER, PROXY)], ids=["stranger", "proxy"])
@pytest.mark.parametrize(("name", "value", "address"), BELIEVED)
async def test_the_same_bytes_from_another(
    path: str, order: tuple[str, ...], name: str, value: str, address: str
) -> None:
    """What was understood of a head when it came from a proxy is not true when a stranger sends it."""
    system = ScriptedSystem()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{name}: {value}\r\n"
    more = f"X-Plausible-IP-Type: dc_ip\r\nContent-Type: text/plain\r\nContent-Length: {len(EVENT)}\r\n\r\n"
    sent = (head + more).encode() + EVENT
    async with public_server(system, trusted=(f"{PROXY}/32",)) as server:
        for source in order:
            reader, writer = await asyncio.open_connection(PEER, server.port, local_addr=(source, 0))
            writer.write(sent)
            assert b" 202 " in await reader.read()
            writer.close()
    seen_by_source = {PEER: (PEER, None), PROXY: (address, "dc_ip")}
    assert [(request.remote_ip, request.ip_class) for request in system.requests] == [
        seen_by_source[source] for source in order
    ]


async def test_batch_without_the_token() -> None:
    """Only who knows it may say which address an event has; nobody may without."""
    system = ScriptedSystem()
    item = json.loads(EVENT) | {"ip": PLANTED}
    async with public_server(system) as server:
        for token in ("", "wrong", TOKEN + "x", TOKEN[:-1]):
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
            answer = await server.send("POST", "/api/events", json.dumps([item]).encode(), headers)
            assert answer.status == 401
        bare = await server.send(
            "POST", "/api/event", json.dumps(item).encode(), {"Content-Type": "text/plain"}
        )
    assert bare.status == 202
    assert [request.remote_ip for request in system.requests] == [PEER]
