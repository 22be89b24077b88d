"""Starts the service as forks of one process that has loaded its code: a start takes a fraction of a second.

What is forked is a process of its own from then on: it opens its folder, its listeners and its connections
itself and is killed like any other. Only what never changes is there already, and is most of a start: the
modules, the rules for user agents, and the lists of sources and public suffixes. Each order is a line of JSON
on standard input, each answer one on standard output; at its end the forks are killed.
"""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from publicsuffixlist import PublicSuffixList

from service.tables.sources import load_sources
from service.user_agents.engine import UserAgentEngine

POLL_S: Final = 0.005
_SERVER: Final = (sys.executable, "-m", "tests.faults.forking")


class Start(msgspec.Struct, frozen=True, tag=True):
    """Fork, and run ``gatehouse`` in ``folder``; the answer is the number of the process."""

    arguments: list[str]
    folder: str
    log: str
    step: str | None
    """At which step of a block's way it ends itself (``tests.faults.dying``)."""
    visit: int


class Look(msgspec.Struct, frozen=True, tag=True):
    """Say how the process ended: its exit code, negative for a signal, or null while it lives."""

    pid: int


class Fork:
    """A process that ``Forks`` has started; as much of ``subprocess.Popen`` as is needed."""

    def __init__(self, forks: "Forks", pid: int) -> None:
        self._forks = forks
        self._pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Give its exit code, None while it lives."""
        if self._code is None:
            self._code = self._forks.look(self._pid)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Return when it has ended; gives its exit code. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("gatehouse serve", timeout or 0)
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self.poll() is None:
            os.kill(self._pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Forks:
    """The process that forks; close it in the end."""

    def __init__(self, *, environment: dict[str, str]) -> None:
        self._server = subprocess.Popen(
            _SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )

    def start(
        self, arguments: Sequence[str], folder: Path, log: Path, *, step: str | None = None, visit: int = 0
    ) -> Fork:
        """Start ``gatehouse`` with these arguments."""
        return Fork(self, self._ask(Start(list(arguments), str(folder), str(log), step, visit)) or 0)

    def look(self, pid: int) -> int | None:
        """Give the exit code of a process, None while it lives."""
        return self._ask(Look(pid))

    def close(self) -> None:
        """Kill what is left, and end."""
        self._server.communicate()

    def _ask(self, order: Start | Look) -> int | None:
        assert self._server.stdin is not None, "it is a pipe"
        assert self._server.stdout is not None, "it is a pipe"
        self._server.stdin.write(msgspec.json.encode(order) + b"\n")
        self._server.stdin.flush()
        return msgspec.json.decode(self._server.stdout.readline(), type=int | None)


def main() -> None:
    """Fork as told, until standard input ends."""
    _prepare()
    children: set[int] = set()
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Start | Look)
        answer: int | None
        match order:
            case Start():
                answer = os.fork()
                if not answer:
                    _serve(order)
                children.add(answer)
            case Look(pid=pid):
                found, status = os.waitpid(pid, os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if found else None
                children.discard(found)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _prepare() -> None:
    """Load what all starts have in common."""
    for name in ("service.logs", "tests.faults.dying", "uvloop"):
        importlib.import_module(name)
    from service import tables
    from service.cli import assembly

    # Set from outside: the service itself is started once, and has no use for it.
    engine, suffixes, sources = UserAgentEngine(None), PublicSuffixList(), load_sources(None)
    vars(assembly)["UserAgentEngine"] = lambda folder: engine
    vars(tables)["PublicSuffixList"] = lambda: suffixes
    vars(tables)["load_sources"] = lambda path: sources if path is None else load_sources(path)


def _serve(order: Start) -> None:
    """Be ``gatehouse`` from now on; never returns."""
    from service.cli.main import main as run_gatehouse
    from tests.faults.dying import arm

    os.chdir(order.folder)
    log = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, place)
    sys.argv = ["gatehouse", *order.arguments]
    if order.step is not None:
        arm(order.step, order.visit)
    code = 1
    try:
        run_gatehouse()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - what a process does in the end with whatever nobody caught
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
