"""Everything the tests need beside Python packages: a browser, the real trackers, a ClickHouse.

``python -m tests.support.prerequisites`` installs what is missing, is quick when nothing is, and says in a
sentence what cannot be had. It exits with 1 then, unless ``TESTS_ALLOW_SKIP=1`` lets the tests that
need it skip. Debian packages are installed by root only.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.clickhouse import ServerMissingError, engine_library

E2E: Final = Path(__file__).resolve().parents[1] / "e2e"
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
ALLOW_SKIP: Final = "TESTS_ALLOW_SKIP"
INSTALL_LIMIT_S: Final = 900


class MissingError(Exception):
    """Something cannot be had on this machine; the text says what, and what to do about it."""


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
    _run("Chromium", ["apt-get", "update", "--quiet", "--quiet"])
    _run(
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
            _run("Plausible's trackers", [npm, "ci", "--ignore-scripts", "--prefix", str(E2E)], folder=E2E)
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


STEPS: Final[tuple[tuple[str, Callable[[], str]], ...]] = (
    ("ClickHouse", install_clickhouse),
    ("trackers", install_trackers),
    ("browser", install_browser),
)


def main() -> int:
    """Install what is missing; gives the exit code."""
    missing = 0
    for name, install in STEPS:
        try:
            found = install()
        except MissingError as error:
            missing += 1
            sys.stderr.write(f"{name}: {error}\n")
        else:
            sys.stdout.write(f"{name}: {found}\n")
    return 1 if missing and os.environ.get(ALLOW_SKIP) != "1" else 0


def _trackers_stamp() -> Path:
    return trackers_folder() / ".gatehouse-installed"


def _lock_digest() -> str:
    return hashlib.sha256((E2E / "package-lock.json").read_bytes()).hexdigest()


def _run(what: str, command: list[str], *, folder: Path | None = None) -> None:
    sys.stdout.write(f"installing {what} ...\n")
    sys.stdout.flush()
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{what}: {command[0]} took longer than {INSTALL_LIMIT_S} s.") from error
    if done.returncode != 0:
        raise MissingError(f"{what}: {command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")


if __name__ == "__main__":
    sys.exit(main())
