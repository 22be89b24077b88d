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

from benchmarks.load import Lane, Load, Plan, Taker, Traffic
from benchmarks.open_load import OpenLoad
from service.user_agents.engine import COMPILED
from tests.support.clickhouse import ClickhouseServer

DOMAIN = "bench.example"
START_LIMIT_S = 60.0
SETTLE_LIMIT_S = 300.0
"""For many at once, that share a core."""
STOP_LIMIT_S = 60.0
FLUSH_LIMIT_S = 600.0
POLL_S = 0.01
MEMORY_LIMIT_S = 5.0
MEMORY_EVERY_S = 0.5
STEADY_BYTES = 100_000

USER_AGENT_TABLES = Path(".cache/user-agents")
GATEHOUSE = (sys.executable, "-c", "from service.cli import main; main()")


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

    def find_token(self) -> str:
        """Give the token of senders of batches; empty where there is none."""
        return ""


def plan_lane(
    targets: Sequence[Target], traffic: Traffic = "known", *, sites: int = 1, visitors: int = 1
) -> Lane:
    """Give the load of this kind on targets that are alike."""
    takers = [Taker(port=target.port, pid=target.pid, token=target.find_token()) for target in targets]
    return Lane(takers=takers, domain=DOMAIN, traffic=traffic, sites=sites, visitors=visitors)


def take_loads(plan: Plan) -> list[Load]:
    """Run the loads of a plan, in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.load"]
    result = subprocess.run(command, input=msgspec.json.encode(plan), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(result.stdout, type=list[Load])


class Service(Target):
    """A running ``gatehouse serve``."""

    def __init__(
        self, installation: "Installation", process: "subprocess.Popen[bytes]", ready_s: float
    ) -> None:
        super().__init__(installation.port, process.pid)
        self._installation = installation
        self._process = process
        self.ready_s = ready_s
        """How long it took from the start of the process until it said that it is ready."""

    @property
    def database(self) -> ClickhouseServer | None:
        """None with the embedded store."""
        return self._installation.database

    def add_site(self, domain: str) -> None:
        """Make one more site known."""
        self._installation.run("sites", "add", domain)

    def find_token(self) -> str:
        """Give the token of senders of batches."""
        return (self._installation.data_dir / "sender-token").read_text().strip()

    def flush(self) -> None:
        """Return when all that was acknowledged is in ClickHouse."""
        self._ask("POST", "flush")

    def statistics(self) -> dict[str, int]:
        """Give the figures of the admin API's status."""
        answer: dict[str, dict[str, int]] = msgspec.json.decode(self._ask("GET", "status"))
        return answer["statistics"]

    def memory_bytes(self) -> int:
        """Give the memory that is the process's own and in use, once it does not grow any more."""
        deadline, before = time.monotonic() + MEMORY_LIMIT_S, -STEADY_BYTES
        while (now := _anonymous_bytes(self.pid)) - before >= STEADY_BYTES and time.monotonic() < deadline:
            before = now
            time.sleep(MEMORY_EVERY_S)
        return now

    def settle(self) -> None:
        """Return when it has nothing to do any more that a start brings with it: half a minute after one."""
        _wait_for(
            lambda: COMPILED in self._installation.log.read_text(),
            self._process,
            self._installation.log,
            limit_s=SETTLE_LIMIT_S,
        )

    def kill(self) -> None:
        """End it as a fault would: SIGKILL, nothing written and nothing said."""
        self._process.kill()
        self._process.wait()

    def _ask(self, method: str, what: str) -> bytes:
        installation = self._installation
        token = (installation.data_dir / "admin-token").read_text().strip()
        request = urllib.request.Request(
            f"http://127.0.0.1:{installation.admin_port}/api/v1/{what}",
            method=method,
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=FLUSH_LIMIT_S) as answer:
            return bytes(answer.read())

    def stored_events(self) -> int:
        """Count the events in ClickHouse."""
        return self._installation.count_rows("events_v2")


class Installation:
    """A data folder that knows one site, and a database with the tables; what runs there comes and goes."""

    def __init__(
        self, cores: Cores, folder: Path, *, database: ClickhouseServer | None, settings: Sequence[str]
    ) -> None:
        self.port, self.admin_port = free_ports(2)
        self.data_dir = folder / "data"
        self.database = database
        self._cores = cores
        self.log = folder / "service.log"
        self._arguments = ["--data-dir", str(self.data_dir)]
        addresses = (f"listen=127.0.0.1:{self.port}", f"admin_listen=127.0.0.1:{self.admin_port}")
        for setting in (*addresses, *settings):
            self._arguments += ["--set", setting]

    @contextmanager
    def serving(self, program: Sequence[str] = GATEHOUSE) -> Iterator[Service]:
        """Run the service on the measured core; ``program`` takes the arguments of ``gatehouse``."""
        began = time.monotonic()
        command = [*program, *self._arguments, "serve"]
        with _running(command, self._cores.pin_measured, self.log) as process:
            _wait_for(lambda: _is_ready(self.port), process, self.log)
            yield Service(self, process, time.monotonic() - began)

    def run(self, *words: str, measured: bool = False) -> str:
        """Run one command of ``gatehouse`` and give what it prints; ``measured``: on the measured core."""
        pin = self._cores.pin_measured if measured else self._cores.pin_others
        command = [*GATEHOUSE, *self._arguments, *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=pin).stdout

    def count_rows(self, table: str) -> int:
        """Count the rows of a table in ClickHouse."""
        return int(self.run("sql", "--format", "TSV", f"SELECT count() FROM {table}"))


@contextmanager
def running_bare(cores: Cores, log: Path) -> Iterator[Target]:
    """Run a bare handler on the measured core; its output goes to ``log``."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.bare", "--port", str(port)]
    with _running(command, cores.pin_measured, log) as process:
        _wait_for(lambda: _accepts(port), process, log)
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
def running_database(folder: Path) -> Iterator[ClickhouseServer]:
    """Run a ClickHouse on the other core."""
    database = ClickhouseServer(folder)
    database.start()
    try:
        yield database
    finally:
        database.kill()


@contextmanager
def installed(
    cores: Cores,
    folder: Path,
    *,
    store: str,
    settings: Sequence[str],
    database: ClickhouseServer | None = None,
) -> Iterator[Installation]:
    """Prepare all that a service needs; for the native store in ``database``, or in one of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [f"store={store}", *settings]
    with ExitStack() as stack:
        if store == "native":
            if database is None:
                database = stack.enter_context(running_database(folder / "clickhouse"))
            name = f"gatehouse_{folder.name}"
            database.query(f"CREATE DATABASE IF NOT EXISTS {name}")
            chosen.append(f"clickhouse_url={database.url}/{name}")
        installation = Installation(cores, folder, database=database, settings=chosen)
        installation.run("migrate")
        installation.run("sites", "add", DOMAIN)
        _lay_user_agents(installation.data_dir)
        yield installation


@contextmanager
def running_service(
    cores: Cores,
    folder: Path,
    *,
    store: str,
    settings: Sequence[str],
    database: ClickhouseServer | None = None,
) -> Iterator[Service]:
    """Run a service that knows one site."""
    with (
        installed(cores, folder, store=store, settings=settings, database=database) as installation,
        installation.serving() as service,
    ):
        yield service


@contextmanager
def open_load(
    service: Service, *, domain: str, rate: float, connections: int, seconds: float
) -> Iterator[Callable[[], OpenLoad]]:
    """Send so many events a second while the block lasts; gives what waits for the end of the load."""
    command = [sys.executable, "-m", "benchmarks.open_load", "--port", str(service.port)]
    command += ["--domain", domain, "--rate", str(rate), "--connections", str(connections)]
    command += ["--seconds", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def wait() -> OpenLoad:
        output, _ = process.communicate()
        return msgspec.json.decode(output, type=OpenLoad)

    try:
        yield wait
    finally:
        process.kill()
        process.wait()


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


def _wait_for(
    condition: Callable[[], bool],
    process: "subprocess.Popen[bytes]",
    log: Path,
    *,
    limit_s: float = START_LIMIT_S,
) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"It did not start; its last words:\n{log.read_text()[-2000:]}")
        time.sleep(POLL_S)


def _anonymous_bytes(pid: int) -> int:
    """Give the memory of a process that is no file's."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux says it of every process")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/system/health/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
