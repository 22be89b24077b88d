"""Reading the body of a request: never more of it than may be, never longer than a while."""

import asyncio
import enum
from typing import Final

from aiohttp import web

READ_TIMEOUT_S: Final = 15.0
"""How long a body may take once its headers are there, as in the reference's web server."""


class BodyTrouble(enum.Enum):
    """Why there is no body; the value is the status that tells it."""

    TOO_LARGE = 413
    TOO_SLOW = 408
    BROKEN = 400


async def read_body(
    request: web.Request, *, limit_bytes: int, timeout_s: float = READ_TIMEOUT_S
) -> bytes | BodyTrouble:
    """Read a body of at most ``limit_bytes``. Stops at the limit: the rest is never held in memory."""
    if (request.content_length or 0) > limit_bytes:
        return BodyTrouble.TOO_LARGE
    content = request.content
    try:
        if content.is_eof():  # a small body comes with its headers: no timer for it
            body = content.read_nowait()
        else:
            async with asyncio.timeout(timeout_s):
                body = await _read_to_limit(request, limit_bytes)
    except TimeoutError:
        return BodyTrouble.TOO_SLOW
    except (web.RequestPayloadError, ConnectionError):
        return BodyTrouble.BROKEN
    return body if len(body) <= limit_bytes else BodyTrouble.TOO_LARGE


async def _read_to_limit(request: web.Request, limit_bytes: int) -> bytes:
    """Read to the end, or to the first piece beyond the limit."""
    pieces: list[bytes] = []
    size = 0
    while size <= limit_bytes and (piece := await request.content.readany()):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
