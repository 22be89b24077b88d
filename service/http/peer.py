"""Who is at the other end of a connection."""

import socket
from typing import Final

from aiohttp import web

UNKNOWN_PEER: Final = "unknown"


def find_peer(request: web.Request) -> str:
    """Give the address of the other end, empty for a Unix socket."""
    return name_peer(request.remote, request.get_extra_info("socket"))


def name_peer(address: str | None, connection: socket.socket | None) -> str:
    """Give the address of a connection's other end, empty for a Unix socket.

    A TCP connection that is gone already may have none either; it must not pass for a Unix socket, which is
    trusted.
    """
    if address:
        return address
    return "" if connection is not None and connection.family == socket.AF_UNIX else UNKNOWN_PEER
