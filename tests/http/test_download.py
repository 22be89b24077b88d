"""Fetching a file from a real server, within its bounds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.errors import DownloadFailed
from service.http.download import MAX_LIST_BYTES, download_file, download_list


async def _serve(request: web.Request) -> web.Response:
    match request.path:
        case "/list":
            return web.Response(body=b"spam.example\n")
        case "/long":
            return web.Response(body=b"a" * (MAX_LIST_BYTES + 1))
        case _:
            return web.Response(status=403, text="a secret")


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Where the server answers."""
    app = web.Application()
    app.router.add_get("/{path:.*}", _serve)
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


async def test_a_list(url: str, tmp_path: Path) -> None:
    """What stands at the URL comes as it is, in memory or into a file."""
    assert await download_list(f"{url}/list") == b"spam.example\n"
    await download_file(f"{url}/list", tmp_path / "file", max_bytes=100, timeout_s=10)
    assert (tmp_path / "file").read_bytes() == b"spam.example\n"


@pytest.mark.parametrize(("path", "reason"), [("/long", "longer than"), ("/none?key=abc", "answered 403")])
async def test_refused(url: str, path: str, reason: str) -> None:
    """Too much, or another status than 200, is an error that names the server and no more of the URL."""
    with pytest.raises(DownloadFailed, match=f"127.0.0.1.*{reason}") as caught:
        await download_list(url + path)
    assert "key" not in str(caught.value)


async def test_nobody_there(url: str) -> None:
    """A server that does not answer is an error with a sentence."""
    with pytest.raises(DownloadFailed, match="cannot be fetched"):
        await download_list("http://127.0.0.1:9/list")
