"""All that tests need beside Python packages: ClickHouse, trackers, a browser, a collector, promtool.

``python -m tests.support.prerequisites`` installs what is missing, is quick when nothing is, and says in a
sentence what cannot be had. It exits with 1 then, unless the tests that need it may skip: see
``tests/support/installing.py``. Debian packages are installed by root only.
"""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.support.clickhouse import ServerMissingError, engine_library
from tests.support.collector_build import install_collector
from tests.support.installing import MissingError, may_miss, run_installer
from tests.support.promtool import install_promtool

E2E: Final = Path(__file__).resolve().parents[1] / "e2e"
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")


def find_browser() -> str | None:
    """Give the path of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def trackers_folder() -> Path:
    """Where the trackers' npm packages are unpacked."""
    return E2E / "node_modules"


def trackers_installed() -> bool:
    """Whether the trackers of the lock file, and no others, are installed."""
    stamp = _trackers_stamp()
    return stamp.exists() and stamp.read_text() == _lock_digest()


def install_browser() -> str:
    """Install Debian's Chromium if there is none; gives its path. Raises MissingError."""
    found = find_browser()
    if found:
        return found
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingError(
            "There is no Chromium on PATH, and only root can install Debian's: apt-get install chromium."
        )
    run_installer("Chromium", ["apt-get", "update", "--quiet", "--quiet"])
    run_installer(
        "Chromium",
        ["apt-get", "install", "--yes", "--quiet", "--quiet", "--no-install-recommends", "chromium"],
    )
    found = find_browser()
    if found is None:
        raise MissingError("Debian's package chromium was installed but brought no browser.")
    return found


def install_trackers() -> str:
    """Install the trackers' npm packages unless they are there; gives their folder. Raises MissingError."""
    with (E2E / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when closed; another worker may be installing them
        if not trackers_installed():
            npm = shutil.which("npm")
            if npm is None:
                raise MissingError("There is no npm on PATH for Plausible's trackers: install Node.js.")
            command = [npm, "ci", "--ignore-scripts", "--prefix", str(E2E)]
            run_installer("Plausible's trackers", command, folder=E2E)
            _trackers_stamp().write_text(_lock_digest())
    return str(trackers_folder())


def install_clickhouse() -> str:
    """Find a ClickHouse for tests or fetch its engine; gives where it is. Raises MissingError."""
    found = os.environ.get("CLICKHOUSE_TEST_URL") or shutil.which("clickhouse")
    if found:
        return found
    try:
        return str(engine_library())
    except ServerMissingError as error:
        raise MissingError(f"There is no ClickHouse for the tests: {error}") from error


class Step(Struct, frozen=True):
    """One thing to install; without an optional one the tests that need it skip, unless none may."""

    name: str
    install: Callable[[], str]
    optional: bool = False


STEPS: Final = (
    Step("ClickHouse", install_clickhouse),
    Step("trackers", install_trackers),
    Step("browser", install_browser),
    Step("collector", install_collector, optional=True),
    Step("promtool", install_promtool, optional=True),
)


def main() -> int:
    """Install what is missing; gives the exit code."""
    failed = False
    for step in STEPS:
        try:
            found = step.install()
        except MissingError as error:
            failed = failed or not may_miss(optional=step.optional)
            sys.stderr.write(f"{step.name}: {error}\n")
        else:
            sys.stdout.write(f"{step.name}: {found}\n")
    return 1 if failed else 0


def _trackers_stamp() -> Path:
    return trackers_folder() / ".gatehouse-installed"


def _lock_digest() -> str:
    return hashlib.sha256((E2E / "package-lock.json").read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
