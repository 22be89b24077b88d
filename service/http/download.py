"""Fetches a file from a URL that the operator configured, within bounds of size and time."""

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from service.errors import DownloadFailed

PIECE_BYTES: Final = 256 * 1024
CONNECT_TIMEOUT_S: Final = 20.0
MAX_LIST_BYTES: Final = 16 * 1024 * 1024
"""Security limit: of a list that is held in memory."""
LIST_TIMEOUT_S: Final = 60.0


async def download_list(url: str) -> bytes:
    """Give the bytes of a short file. Raises DownloadFailed."""
    parts = bytearray()
    await _download(url, parts.extend, max_bytes=MAX_LIST_BYTES, timeout_s=LIST_TIMEOUT_S)
    return bytes(parts)


async def download_file(url: str, path: Path, *, max_bytes: int, timeout_s: float) -> None:
    """Write what stands at a URL to a file. Raises DownloadFailed, and OSError when it cannot be written."""
    with path.open("wb") as file:
        await _download(url, file.write, max_bytes=max_bytes, timeout_s=timeout_s)


async def _download(url: str, take: Callable[[bytes], object], *, max_bytes: int, timeout_s: float) -> None:
    timeout = aiohttp.ClientTimeout(total=timeout_s, connect=CONNECT_TIMEOUT_S)
    # What is compressed for the way counts with its true size, and is cut off there too.
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
            session.get(url) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise DownloadFailed(f"{_place(url)} answered {response.status}")
            size = 0
            async for piece in response.content.iter_chunked(PIECE_BYTES):
                size += len(piece)
                if size > max_bytes:
                    raise DownloadFailed(f"what {_place(url)} sends is longer than {max_bytes:,} bytes")
                take(piece)
    except TimeoutError:
        raise DownloadFailed(f"{_place(url)} took longer than {timeout_s:.0f} s") from None
    except (aiohttp.ClientError, ValueError) as error:  # the latter for a URL that cannot be used
        raise DownloadFailed(f"{_place(url)} cannot be fetched: {_reason(error)}") from None


def _place(url: str) -> str:
    """Name the server alone: path, query and user may hold a licence key."""
    return URL(url).host or "the configured URL"


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or type(error).__name__
    return type(error).__name__
