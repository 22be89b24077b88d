"""The detector with its scanners: at once with RE2, and with Hyperscan as soon as its databases are there.

Both give the same verdicts. When the folder holds no databases for these rules and this machine, a process of
its own builds them, which takes half a minute, and a thread waits for it; nobody else does. Another thread
compiles the rules' expressions ahead of need and leaves most of the time to others; one that is asked for
earlier is compiled then.
"""

import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import service
from service.ingestion.user_agent import Detection, MatchedRule
from service.user_agents.detector import Detector, Plan, TooSlow
from service.user_agents.rules import load_rules
from service.user_agents.scanners import HyperscanScanner, Re2Scanner, hyperscan_version
from service.user_agents.store import database_path, load_scanners

log = logging.getLogger(__name__)

RE2: Final = "RE2"
HYPERSCAN: Final = "Hyperscan"

LIMIT_S: Final = 0.2
"""CPU time that one user agent may take (reference 15.1); a machine that pauses is not its fault."""
BUILD_DELAY_S: Final = 5.0
"""The first seconds of a processor belong to the start; and who ends at once needs no databases."""
BUILD_LIMIT_S: Final = 900.0
CLOSE_LIMIT_S: Final = 5.0
COMPILE_SLICE_S: Final = 0.001
COMPILE_PAUSE_S: Final = 0.01
"""After each slice: all of it takes two seconds of CPU time, and is done within half a minute."""


COMPILED: Final = "The rules for user agents are compiled"
"""Logged when the service has nothing to do any more but for its senders."""


class UserAgentEngine:
    """Takes user agents apart."""

    def __init__(self, folder: Path | None, *, timer: Callable[[], float] = time.thread_time) -> None:
        """Load the rules, and the databases out of the folder. Raises RulesMissing.

        Without a folder, or without Hyperscan, RE2 is used for good.
        """
        plan = Plan(load_rules())
        version = hyperscan_version()
        self._path = None if folder is None or version is None else database_path(folder, plan, version)
        scanners = self._load()
        self.scans_with = RE2 if scanners is None else HYPERSCAN
        self._plan = plan
        self._detector = Detector(
            plan,
            *(scanners or (Re2Scanner(plan.expressions), Re2Scanner(plan.models))),
            timer=timer,
            limit_s=LIMIT_S,
        )
        self._stopping = threading.Event()
        self._compiler: threading.Thread | None = None
        self._waiter: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def take_apart(self, user_agent: str) -> Detection | None:
        """Give what it says; None when it takes too long."""
        try:
            return self._detector.detect(user_agent)
        except TooSlow:
            return None

    def explain(self, user_agent: str) -> tuple[MatchedRule, ...]:
        """Give the rules that matched, in the order they were asked; none when it takes too long."""
        try:
            return self._detector.explain(user_agent)
        except TooSlow:
            return ()

    def compile(self, *, pause_s: float = COMPILE_PAUSE_S) -> bool:
        """Compile every expression, in slices with a pause after each; False when it was closed meanwhile."""
        began = time.thread_time()
        for section in self._plan.sections():
            for place in range(len(section)):
                section.pattern(place)
                if time.thread_time() - began > COMPILE_SLICE_S:
                    # What compiling leaves are circles. Left alone they are found all at once, in one look at
                    # everything, which holds the loop for tens of milliseconds.
                    gc.collect(0)
                    if self._stopping.wait(pause_s):
                        return False
                    began = time.thread_time()
        gc.collect(0)
        gc.freeze()  # they are for as long as the service lives
        return True

    def start(self, *, delay_s: float = BUILD_DELAY_S) -> None:
        """Have everything compiled, and the databases built when there are none; returns at once."""
        self._compiler = threading.Thread(target=self._compile, args=(delay_s,), daemon=True)
        self._compiler.start()
        if self._path is None or self.scans_with == HYPERSCAN:
            return
        self._waiter = threading.Thread(target=self._build, args=(self._path.parent, delay_s), daemon=True)
        self._waiter.start()

    def wait(self, limit_s: float) -> None:
        """Wait until the building is over, if there is any, or the limit has passed."""
        if self._waiter is not None:
            self._waiter.join(limit_s)

    def close(self) -> None:
        """End the compiling and the building, if they still go on; the next start begins them again."""
        self._stopping.set()
        if self._child is not None:
            self._child.kill()
        self.wait(CLOSE_LIMIT_S)
        if self._compiler is not None:
            self._compiler.join(CLOSE_LIMIT_S)

    def _compile(self, delay_s: float) -> None:
        if not self._stopping.wait(delay_s) and self.compile():
            log.info(COMPILED)

    def _build(self, folder: Path, delay_s: float) -> None:
        if self._stopping.wait(delay_s):
            return
        code, errors = self._run_child(folder)
        if self._stopping.is_set():
            return
        scanners = self._load() if code == 0 else None
        if scanners is None:
            reason = errors.decode("utf-8", "replace").strip().rpartition("\n")[2] or f"exit code {code}"
            log.warning(
                "The fast tables for user agents cannot be built; the slower ones stay",
                extra={"reason": reason},
            )
            return
        self._detector.use(*scanners)
        self.scans_with = HYPERSCAN
        log.info("The fast tables for user agents are built")

    def _run_child(self, folder: Path) -> tuple[int, bytes]:
        """Run the building process; gives its exit code and what it said."""
        # The child must find this very package, wherever this process has it from.
        search = [str(Path(service.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        # It ends when nobody holds the other end any more: it must not outlive a kill of this process.
        reading, held = os.pipe()
        try:
            self._child = child = subprocess.Popen(  # noqa: S603 - our own module, and a folder of ours
                [sys.executable, "-m", "service.user_agents.build", "--supervised", str(folder)],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(part for part in search if part)},
                start_new_session=True,
            )
            if self._stopping.is_set():
                child.kill()
            try:
                errors = child.communicate(timeout=BUILD_LIMIT_S)[1]
            except subprocess.TimeoutExpired:
                child.kill()
                errors = b"it took too long"
                child.wait()
            return child.returncode, errors
        except OSError as error:
            return -1, str(error).encode()
        finally:
            os.close(reading)
            os.close(held)

    def _load(self) -> tuple[HyperscanScanner, HyperscanScanner] | None:
        return None if self._path is None else load_scanners(self._path)
