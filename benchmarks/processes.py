"""The processes of a benchmark: service, bare handler, database and load, each on its core."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from benchmarks.load import Load, Traffic
from tests.support.clickhouse import ClickhouseServer

DOMAIN = "bench.example"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 60.0
FLUSH_LIMIT_S = 600.0
POLL_S = 0.05

USER_AGENT_TABLES = Path(".cache/user-agents")
_GATEHOUSE = (sys.executable, "-c", "from service.cli import main; main()")


class Cores:
    """Which core is measured, and which one takes everything else; the same one when there is only one."""

    def __init__(self) -> None:
        available = sorted(os.sched_getaffinity(0))
        self.measured = available[0]
        self.others = available[-1]

    def pin_measured(self) -> None:
        """Pin the calling process; runs in a child before its program."""
        os.sched_setaffinity(0, {self.measured})

    def pin_others(self) -> None:
        """Pin the calling process, and with it all that it starts without a pin of its own."""
        os.sched_setaffinity(0, {self.others})


class Target:
    """Something that takes events: where it listens, and the process whose time is measured."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.pid = pid

    def take_load(self, seconds: float, traffic: Traffic = "known") -> Load:
        """Run the load against it, in a process of its own."""
        command = [sys.executable, "-m", "benchmarks.load", "--port", str(self.port), "--domain", DOMAIN]
        command += ["--seconds", str(seconds), "--watch-pid", str(self.pid)]
        command += ["--traffic", traffic, "--token", self.find_token()]
        result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return msgspec.json.decode(result.stdout, type=Load)

    def find_token(self) -> str:
        """Give the token of senders of batches; empty where there is none."""
        return ""


class Service(Target):
    """A running ``gatehouse serve`` that knows one site."""

    def __init__(
        self,
        port: int,
        pid: int,
        *,
        admin_port: int,
        data_dir: Path,
        command: Sequence[str],
        database: ClickhouseServer | None,
    ) -> None:
        super().__init__(port, pid)
        self._admin_port = admin_port
        self._data_dir = data_dir
        self._command = command
        self.database = database
        """None with the embedded store."""

    def add_site(self, domain: str) -> None:
        """Make one more site known."""
        subprocess.run([*self._command, "sites", "add", domain], check=True, stdout=subprocess.DEVNULL)

    def find_token(self) -> str:
        """Give the token of senders of batches."""
        return (self._data_dir / "sender-token").read_text().strip()

    def flush(self) -> None:
        """Return when all that was acknowledged is in ClickHouse."""
        self._ask("POST", "flush")

    def statistics(self) -> dict[str, int]:
        """Give the figures of the admin API's status."""
        answer: dict[str, dict[str, int]] = msgspec.json.decode(self._ask("GET", "status"))
        return answer["statistics"]

    def _ask(self, method: str, what: str) -> bytes:
        token = (self._data_dir / "admin-token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._admin_port}/api/v1/{what}",
            method=method,
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=FLUSH_LIMIT_S) as answer:
            return bytes(answer.read())

    def stored_events(self) -> int:
        """Count the events in ClickHouse."""
        question = [*self._command, "sql", "--format", "TSV", "SELECT count() FROM events_v2"]
        return int(subprocess.run(question, stdout=subprocess.PIPE, check=True).stdout)


@contextmanager
def running_bare(cores: Cores, folder: Path) -> Iterator[Target]:
    """Run the bare handler on the measured core."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.bare", "--port", str(port)]
    with _running(command, cores.pin_measured, folder / "bare.log") as process:
        _wait_for(lambda: _accepts(port), process, folder / "bare.log")
        yield Target(port, process.pid)


@contextmanager
def running_sink(cores: Cores, folder: Path) -> Iterator[str]:
    """Run a collector that takes everything, on the other core; gives its URL."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.sink", "--port", str(port)]
    with _running(command, cores.pin_others, folder / "sink.log") as process:
        _wait_for(lambda: _accepts(port), process, folder / "sink.log")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running_service(cores: Cores, folder: Path, *, store: str, settings: Sequence[str]) -> Iterator[Service]:
    """Run the service on the measured core, with a database for the native store on the other one."""
    port, admin_port = free_ports(2)
    folder.mkdir(exist_ok=True)
    database: ClickhouseServer | None = None
    data_dir, log = folder / "data", folder / "service.log"
    chosen = [f"listen=127.0.0.1:{port}", f"admin_listen=127.0.0.1:{admin_port}", f"store={store}", *settings]
    with ExitStack() as stack:
        if store == "native":
            database = ClickhouseServer(folder / "clickhouse")
            database.start()
            stack.callback(database.kill)
            database.query("CREATE DATABASE IF NOT EXISTS gatehouse_bench")
            chosen.append(f"clickhouse_url={database.url}/gatehouse_bench")
        command = [*_GATEHOUSE, "--data-dir", str(data_dir)]
        for setting in chosen:
            command += ["--set", setting]
        subprocess.run([*command, "migrate"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*command, "sites", "add", DOMAIN], check=True, stdout=subprocess.DEVNULL)
        _lay_user_agents(data_dir)
        process = stack.enter_context(_running([*command, "serve"], cores.pin_measured, log))
        _wait_for(lambda: _is_ready(port), process, log)
        yield Service(
            port, process.pid, admin_port=admin_port, data_dir=data_dir, command=command, database=database
        )


def _lay_user_agents(data_dir: Path) -> None:
    """Lay the service's fast tables in, which it would otherwise build while it is measured."""
    built = USER_AGENT_TABLES.absolute()
    subprocess.run([sys.executable, "-m", "service.user_agents.build", str(built)], check=True)
    shutil.copytree(built, data_dir / "cache")


def free_ports(count: int) -> list[int]:
    """Give free ports of the loopback interface."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in sockets]


@contextmanager
def _running(
    command: Sequence[str], pin: Callable[[], None], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the block ends, then ask it to stop; its output goes to ``log``."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=pin)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"It did not start; its last words:\n{log.read_text()[-2000:]}")
        time.sleep(POLL_S)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/system/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
