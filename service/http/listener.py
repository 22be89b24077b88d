"""A listener: one aiohttp application behind an address or a Unix socket, stopped in two steps.

First it takes no new connections (``refuse``), then, when the system has answered what was in flight, the
connections that are left are closed (``close``).
"""

import errno
import os
from pathlib import Path
from typing import Final

from aiohttp import web

from service.errors import GatehouseError

BACKLOG: Final = 1024
"""Connections that may wait to be accepted: a burst that the loop meets in the middle of its work."""

MAX_ADMIN_LINE_BYTES: Final = 8192
"""Security limit on the request line of an admin request, and on the value of one of its headers."""
ADMIN_LINGER_S: Final = 1.0
"""How long the rest of a refused body is read and thrown away, so that its sender sees the answer."""


class Listener:
    """Serves the application of a runner; prepared before the system starts, so that listening is quick."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner

    async def prepare(self) -> None:
        """Make ready what listening needs."""
        await self._runner.setup()

    async def listen(self, host: str, port: int) -> str:
        """Take connections at the address; gives its URL, with the port that a 0 stood for.

        Raises GatehouseError when the address cannot be had.
        """
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                sentence = f"{host}:{port} is taken by another program; `gatehouse check` says more."
                raise GatehouseError(sentence) from error
            raise GatehouseError(f"Nobody can listen at {host}:{port}: {error.strerror or error}.") from error
        bound: tuple[str, int] = self._runner.addresses[-1]
        return f"http://[{host}]:{bound[1]}" if ":" in host else f"http://{host}:{bound[1]}"

    async def listen_on_socket(self, path: Path) -> None:
        """Take connections of the file's owner on a Unix socket; one that was left there is replaced."""
        before = os.umask(0o177)  # never open to others, not even between its making and a chmod
        try:
            await web.UnixSite(self._runner, str(path)).start()
        except OSError as error:
            raise GatehouseError(
                f"The admin socket {path} cannot be made: {error.strerror or error}."
            ) from error
        finally:
            os.umask(before)

    async def refuse(self) -> None:
        """Take no new connections."""
        for site in list(self._runner.sites):
            await site.stop()

    async def close(self) -> None:
        """Close the connections that are left; safe to call twice."""
        await self._runner.cleanup()


def admin_runner(app: web.Application, *, shutdown_timeout_s: float) -> web.AppRunner:
    """Give a runner of the admin API; what still works after the time is cut off."""
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=shutdown_timeout_s,
        lingering_time=ADMIN_LINGER_S,
        max_line_size=MAX_ADMIN_LINE_BYTES,
        max_field_size=MAX_ADMIN_LINE_BYTES,
    )
