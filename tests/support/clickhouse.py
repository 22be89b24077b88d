"""A real ClickHouse server for tests: found, started, killed and restarted.

Where it comes from, first match wins: ``CLICKHOUSE_TEST_URL`` (a server that runs already); a ``clickhouse``
binary on PATH; the npm package below, whose ``libchdb.so`` is the whole engine. If none can be had the tests
fail with a sentence; ``TESTS_ALLOW_SKIP=1`` makes them skip instead.
"""

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asynch.errors import ClickHouseException, ServerException
from asynch.proto.connection import Connection

from service.clickhouse.address import parse_address
from tests.support.installing import CACHE, give_up

NPM_PACKAGE = "@chdb/lib-linux-x64-gnu@26.7.3-stable.1"
_CACHE = CACHE / "clickhouse"
_CHILD = Path(__file__).with_name("clickhouse_child.py")
_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 20.0
_FETCH_LIMIT_S = 900.0
_POLL_S = 0.05
_ATTEMPTS = 3
_TRIES = 5
DYING_S = 0.5
"""For about so long a server that has begun to die still counts as running."""


class ServerMissingError(Exception):
    """No ClickHouse can be had on this machine; the text says what was tried."""


class ClickhouseServer:
    """A server that this run started: its ports stay the same from kill to restart, as does its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tcp_port = 0
        self.http_port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address that the service's configuration takes, without a database."""
        return f"clickhouse://127.0.0.1:{self.tcp_port}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start on free ports (the first time) or on the same ones, and return when it answers queries."""
        for attempt in range(_ATTEMPTS):
            if self.tcp_port == 0:
                self.tcp_port, self.http_port = _free_ports()
            try:
                self._launch()
            except ServerMissingError:
                if attempt == _ATTEMPTS - 1:
                    raise
                self.tcp_port = 0  # another process took a port between the choice and the bind
            else:
                return

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing flushed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and end it when it does not."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang: its connections stay open and nothing is answered until ``resume``."""
        assert self._process is not None, "it must run before it can be paused"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``pause``."""
        assert self._process is not None, "it must run before it can go on"
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start it again on the folder and the ports that it had."""
        assert self.tcp_port, "a server must have been started once before it is restarted"
        self._launch()

    def log(self) -> str:
        """All that it has written, over all its starts."""
        return (self.folder / "server.log").read_text(errors="replace")

    def revive(self) -> bool:
        """Start it again if it has died, and tell whether it had.

        The engine that stands in for a server dies of what a real one survives: of a client that goes away
        in the middle of an insert, a moment later. So ask again after what failed, too.
        """
        if self.running:
            return False
        self.restart()
        return True

    def query(self, sql: str, *, database: str = "default") -> str:
        """Run one statement over HTTP and give the answer as tab-separated text."""
        address = f"http://127.0.0.1:{self.http_port}/?" + urllib.parse.urlencode({"database": database})
        try:
            with urllib.request.urlopen(address, data=sql.encode(), timeout=_START_LIMIT_S) as answer:
                text: str = answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{sql}: {error.read().decode(errors='replace')}") from error
        return text.rstrip("\n")

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                _server_command(self.folder, self.tcp_port, self.http_port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_LIMIT_S
        while not (_answers(self.http_port) and _accepts(self.tcp_port)):
            if not self.running or time.monotonic() > deadline:
                self.kill()
                raise ServerMissingError(f"ClickHouse did not start: {self.log()[-2000:]}")
            time.sleep(_POLL_S)


@contextmanager
def running_server(folder: Path) -> Iterator[ClickhouseServer]:
    """Start a server on ``folder`` and kill it in the end; fail (or skip) when none can be had."""
    server = ClickhouseServer(folder)
    try:
        server.start()
    except ServerMissingError as error:
        give_up(
            f"These tests need a real ClickHouse and none can be had: {error} Set CLICKHOUSE_TEST_URL to a "
            "server that may be filled with test databases, or put the clickhouse binary on PATH."
        )
    try:
        yield server
    finally:
        server.kill()


async def execute(address: str, statement: str, revive: Callable[[], object]) -> None:
    """Run a statement that may be repeated, if need be after ``revive`` of a server that was just dying."""
    for tries_left in reversed(range(_TRIES)):
        try:
            await _execute(address, statement)
        except ServerException:
            raise
        except (ClickHouseException, OSError, EOFError):
            if not tries_left:
                raise
            await asyncio.sleep(DYING_S)
            revive()
        else:
            return


async def _execute(address: str, statement: str) -> None:
    where = parse_address(address)
    host, port = where.hosts[0]
    connection = Connection(
        host=host, port=port, user=where.user, password=where.password, secure=where.secure
    )
    await connection.execute(statement)
    await connection.disconnect()


def _server_command(folder: Path, tcp_port: int, http_port: int) -> list[str]:
    """Give the command line that serves both ports from ``folder``."""
    binary = shutil.which("clickhouse")
    if binary is None:
        library = engine_library()
        return [
            sys.executable,
            str(_CHILD),
            str(library),
            str(folder / "data"),
            str(tcp_port),
            str(http_port),
        ]
    return [
        binary,
        "server",
        "--",
        f"--path={folder / 'data'}",
        "--listen_host=127.0.0.1",
        f"--tcp_port={tcp_port}",
        f"--http_port={http_port}",
        "--mysql_port=0",
        "--postgresql_port=0",
    ]


def engine_library() -> Path:
    """Give the path of ``libchdb.so``, fetched once for all workers. Raises ServerMissingError."""
    library = _CACHE / NPM_PACKAGE.rpartition("@")[2] / "libchdb.so"
    if library.exists():
        return library
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise ServerMissingError(f"the npm package {NPM_PACKAGE} runs on Linux x86-64 only.")
    library.parent.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when closed; another worker may have fetched it meanwhile
        if not library.exists():
            _fetch(library)
    return library


def _fetch(library: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ServerMissingError("there is no clickhouse binary and no npm on PATH.")
    command = [npm, "pack", "--silent", "--pack-destination", str(library.parent), NPM_PACKAGE]
    result = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_LIMIT_S, check=False)
    if result.returncode != 0:
        raise ServerMissingError(f"npm could not fetch {NPM_PACKAGE}: {result.stderr.strip()[-500:]}")
    tarball = library.parent / result.stdout.strip().splitlines()[-1]
    unpacked = library.with_suffix(".part")
    with tarfile.open(tarball) as archive:
        source = archive.extractfile("package/libchdb.so")
        assert source is not None, "the npm package holds package/libchdb.so"
        with unpacked.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    unpacked.rename(library)  # appears whole or not at all
    tarball.unlink()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
