"""A real ``gatehouse serve`` in a process of its own: started, asked, stopped, killed, started again."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from tests.support.ports import free_ports

ROOT: Final = Path(__file__).resolve().parents[2]
COMMAND: Final = (sys.executable, "-c", "from service.cli import main; main()")
SITE: Final = "example.com"
FIREFOX: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 40.0
ANSWER_LIMIT_S: Final = 60.0
ARRIVAL_LIMIT_S: Final = 20.0
POLL_S: Final = 0.05


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Give the body's JSON."""
        return msgspec.json.decode(self.body)


class Process(Protocol):
    """As much of ``subprocess.Popen`` as is needed here."""

    def poll(self) -> int | None:
        """Give the exit code, None while it lives."""

    def wait(self, timeout: float | None = None) -> int:
        """Return when it has ended. Raises subprocess.TimeoutExpired."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """Send SIGKILL."""


class GatehouseProcess:
    """The service on a folder and on free ports, which both stay the same from one start to the next.

    ``settings`` are any settings of the configuration, as texts. ``umask`` is what the process begins with.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str], *, umask: int = -1) -> None:
        port, admin_port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self.data_dir = folder / "data"
        self._public = f"127.0.0.1:{port}"
        self._admin = f"127.0.0.1:{admin_port}"
        self.folder = folder
        self.log_file = folder / "gatehouse.log"
        self._umask = umask
        self._settings = {"listen": self._public, "admin_listen": self._admin, **settings}
        self._process: Process | None = None

    # Its life

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and return when it says that it is ready."""
        self.launch()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when it says that it is ready; it must have been launched."""
        assert self._process is not None, "it must be launched first"
        deadline = time.monotonic() + START_LIMIT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"gatehouse serve did not become ready:\n{self.log()[-3000:]}")
            time.sleep(POLL_S)

    def launch(self, command: Sequence[str] = COMMAND) -> None:
        """Start it, or what ``command`` makes of it, and return at once."""
        with self.log_file.open("ab") as log:
            self.adopt(
                lambda arguments: subprocess.Popen(
                    [*command, *arguments],
                    cwd=self.folder,
                    env=own_environment(),
                    stdout=log,
                    stderr=log,
                    umask=self._umask,
                )
            )

    def adopt(self, start: Callable[[Sequence[str]], Process]) -> None:
        """Let ``start`` begin the process, which is given the arguments of ``gatehouse``."""
        assert self._process is None, "it is running already"
        self._process = start(self._arguments("serve"))

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change some settings; they are in force from the next start on."""
        self._settings |= settings

    def wait_for_death(self, within_s: float = STOP_LIMIT_S) -> int:
        """Return when it has ended by itself; gives its exit code, which is negative for a signal.

        Raises subprocess.TimeoutExpired when it lives on.
        """
        assert self._process is not None, "it is not running"
        code = self._process.wait(within_s)
        self._process = None
        return code

    def stop(self) -> int:
        """Ask it to stop (SIGTERM) and wait until it has; gives its exit code."""
        assert self._process is not None, "it is not running"
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"gatehouse serve did not stop:\n{self.log()[-3000:]}") from None

    def kill(self) -> None:
        """End it with SIGKILL, whatever it is doing; no error when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """All that it has written, over all its starts."""
        return self.log_file.read_text(errors="replace")

    # What one can ask of it

    @property
    def sender_token(self) -> str:
        """What a trusted sender of batches shows."""
        return self._token("sender-token")

    def post_event(self, event: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Reply:
        """Send an event as a tracker in Firefox does."""
        all_headers = {"content-type": "text/plain", "user-agent": FIREFOX, **(headers or {})}
        return _ask(self._public, "POST", "/api/event", msgspec.json.encode(event), all_headers)

    def post_batch(self, events: Sequence[Mapping[str, object]]) -> Reply:
        """Send a batch as a trusted sender does."""
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {self.sender_token}",
        }
        return _ask(self._public, "POST", "/api/events", msgspec.json.encode(events), headers)

    def get(self, path: str) -> Reply:
        """Get something of the public listener."""
        return _ask(self._public, "GET", path, b"", {})

    def admin(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Ask the admin API; gives the JSON of a success and fails on anything else."""
        reply = self.ask_admin(method, path, msgspec.json.encode(body or {}))
        assert reply.status == http.HTTPStatus.OK, f"{method} {path}: {reply.status} {reply.body!r}"
        return reply.json()

    def ask_admin(self, method: str, path: str, body: bytes) -> Reply:
        """Ask the admin API with a body of any bytes; gives whatever it answers."""
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {self._token('admin-token')}",
        }
        return _ask(self._admin, method, path, body, headers)

    def admin_status(self, token: str) -> int:
        """Ask the admin API how the service is, with a token of one's own; gives the answer's status."""
        return _ask(self._admin, "GET", "/api/v1/status", b"", {"authorization": f"Bearer {token}"}).status

    def add_site(self, domain: str) -> None:
        """Take events for this domain from now on."""
        self.admin("POST", "/api/v1/sites", {"domain": domain})

    def flush(self) -> int:
        """Insert what is buffered; gives how many events that were."""
        flushed: int = self.admin("POST", "/api/v1/flush")["flushed"]
        return flushed

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Ask its ClickHouse, through the service."""
        rows: list[dict[str, Any]] = self.admin("POST", "/api/v1/sql", {"query": sql, "format": "JSON"})[
            "data"
        ]
        return rows

    def run(self, *arguments: str) -> str:
        """Run another ``gatehouse`` command on the same folder and settings; gives what it prints."""
        done = subprocess.run(
            [*COMMAND, *self._arguments(*arguments)],
            cwd=self.folder,
            env=own_environment(),
            capture_output=True,
            text=True,
            timeout=ANSWER_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"gatehouse {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def _arguments(self, *arguments: str) -> list[str]:
        # The folder's name is relative, because the name of a Unix socket in it may have 107 bytes only.
        settings = [f"--set={name}={value}" for name, value in self._settings.items()]
        return ["--data-dir", self.data_dir.name, *settings, *arguments]

    def _is_ready(self) -> bool:
        try:
            return self.get("/api/system/health/ready").status == http.HTTPStatus.OK
        except OSError:
            return False

    def _token(self, name: str) -> str:
        return (self.data_dir / name).read_text().strip()


@contextmanager
def running_gatehouse(
    folder: Path, settings: Mapping[str, str], *, umask: int = -1
) -> Iterator[GatehouseProcess]:
    """Start the service on a new folder; when the tests are done with it, it must still stop as it should."""
    folder.mkdir(parents=True, exist_ok=True)
    gatehouse = GatehouseProcess(folder, settings, umask=umask)
    try:
        gatehouse.start()
        yield gatehouse
        if gatehouse.is_running:
            assert gatehouse.stop() == 0, (
                f"gatehouse serve failed while it stopped:\n{gatehouse.log()[-3000:]}"
            )
    finally:
        gatehouse.kill()


def eventually(condition: Callable[[], object], *, within_s: float = ARRIVAL_LIMIT_S) -> None:
    """Return once the condition holds, or fail in the end; for what nobody tells of."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {within_s} s"
        time.sleep(POLL_S)


def _ask(address: str, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    connection = http.client.HTTPConnection(address, timeout=ANSWER_LIMIT_S)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, response.read())
    finally:
        connection.close()


def own_environment() -> dict[str, str]:
    """Give the environment of a service that is set by its arguments alone."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GATEHOUSE_")}
    return inherited | {"PYTHONPATH": str(ROOT)}
