"""More connections than there may be, idle, slow or half-open: others are served all the same."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.support.server import SITE, GatehouseProcess, eventually, running_gatehouse

MAX_CONNECTIONS = 40
OPENED = 100
HEAD = b"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n"
BEGINNINGS = (b"", HEAD[:20], HEAD, HEAD + b"{", b"GET /api/system/health/live HTTP/1.1\r\nHos")
EVENTS = 30


def test_others_are_served_and_stored(tmp_path: Path, database_url: str) -> None:
    """Each event is answered 202, or 503 while a connection cannot go yet; what was taken is stored, once."""
    settings = {
        "store": "native",
        "clickhouse_url": database_url,
        "max_connections": str(MAX_CONNECTIONS),
    }
    with running_gatehouse(tmp_path, settings) as gatehouse:
        gatehouse.add_site(SITE)
        with crowd(gatehouse):
            for number in range(EVENTS):
                eventually(partial(is_taken, gatehouse, number))
        gatehouse.flush()
        stored = gatehouse.query("SELECT uniqExact(pathname) AS pages, count() AS events FROM events_v2")
        assert stored == [{"pages": EVENTS, "events": EVENTS}]


def is_taken(gatehouse: GatehouseProcess, number: int) -> bool:
    """Send an event over a new connection; tell whether it was taken, else the answer is "later"."""
    reply = gatehouse.post_event({"n": "pageview", "u": f"https://{SITE}/{number}", "d": SITE})
    assert reply.status in (202, 503)
    assert reply.status == 202 or reply.headers["retry-after"] == "1"
    return reply.status == 202


@contextmanager
def crowd(gatehouse: GatehouseProcess) -> Iterator[None]:
    """Open connections that send a beginning, or nothing, and stay; some close their half."""
    host, _, port = gatehouse.url.removeprefix("http://").rpartition(":")
    with ExitStack() as stack:
        for number in range(OPENED):
            connection = stack.enter_context(socket.create_connection((host, int(port))))
            try:
                connection.sendall(BEGINNINGS[number % len(BEGINNINGS)])
                if number % 3 == 0:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                continue  # there was no room for it
        yield
