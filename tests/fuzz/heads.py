"""Heads of requests as aiohttp reads them, and the addresses that forwarding headers name."""

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Any, Final

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser

from service.http.app import MAX_LINE_BYTES
from service.http.lean.heads import Heads
from service.http.lean.request import PlainReader
from service.wire.forwarded import PEER, TrustedProxies, resolve_ip_class, resolve_remote_ip
from tests.support.http_streams import BROKEN, LAST_ONES, ODD, PLAIN

NEIGHBOUR: Final = "127.0.0.1"
STRANGER: Final = "198.51.100.77"
TRUSTED: Final = TrustedProxies(("127.0.0.0/8",))
HEAD_SEEDS: Final = [
    stream
    for stream in (*PLAIN.values(), *ODD.values(), *LAST_ONES.values(), *BROKEN.values())
    if len(stream) < 2048
]
FORWARDED_SEEDS: Final = [
    b"x-forwarded-for: 203.0.113.7, 10.0.0.1",
    b"x-plausible-ip: 2001:DB8::1\ncf-connecting-ip: 1.2.3.4\nx-plausible-ip-type: dc_ip",
    b'forwarded: for="[2001:db8::1]:4711";proto=http, For=192.0.2.43',
    b"b-forwarded-for: [::ffff:1.2.3.4]:80, unknown\nforwarded: for=_hidden",
]

_KNOWN: Final = Heads()  # shared by all inputs, as it is by all connections: what came before must not tell
_LOOP: Final = asyncio.new_event_loop()  # aiohttp's parser wants one; nothing ever runs on it


def fuzz_head(data: bytes) -> None:
    """Whatever the short way takes, aiohttp takes too, with the same end: nothing is smuggled in between."""
    for heads in (_KNOWN, Heads()):
        reader, position = PlainReader(heads), 0
        while (size := reader.read(data, position)) > 0:
            _compare(data[position : position + size], reader.head.headers, reader.body)
            position += size
            if reader.head.closes:
                break


def fuzz_forwarded(data: bytes) -> None:
    """An address in its one spelling; from a peer that is not trusted always the peer's own."""
    headers: dict[str, str] = {}
    for line in data.split(b"\n"):
        name, _, value = line.partition(b":")
        headers[name.decode("latin-1").lower()] = value.strip().decode("utf-8", "surrogateescape")
    address, source = resolve_remote_ip(headers.get, NEIGHBOUR, TRUSTED)
    assert str(ipaddress.ip_address(address)) == address, "an address in another spelling"
    assert source == PEER or source in headers
    assert resolve_ip_class(headers.get, NEIGHBOUR, TRUSTED) in (None, headers.get("x-plausible-ip-type"))

    assert resolve_remote_ip(headers.get, STRANGER, TRUSTED) == (STRANGER, PEER)
    assert resolve_ip_class(headers.get, STRANGER, TRUSTED) is None


def _compare(request: bytes, headers: Mapping[str, str], body: bytes) -> None:
    parser: Any = HttpRequestParser(
        BaseProtocol(_LOOP),
        _LOOP,
        2**16,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        auto_decompress=False,
    )
    messages, upgraded, tail = parser.feed_data(request)
    assert (len(messages), upgraded, tail) == (1, False, b""), "aiohttp sees another end"
    message, payload = messages[0]
    assert (message.method, message.path, message.version) == ("POST", "/api/event", (1, 1))
    assert message.should_close == (headers.get("connection", "").lower() == "close")
    assert not message.chunked
    for name, value in headers.items():
        assert message.headers.getall(name) == [value], f"aiohttp reads another {name}"
    assert payload.is_eof(), "to aiohttp the body goes on"
    assert payload.read_nowait() == body, "aiohttp reads another body"
