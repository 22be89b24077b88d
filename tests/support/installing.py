"""What the tests need and may not find: how it is installed, and what happens where it cannot be had.

``TESTS_ALLOW_SKIP=1`` lets tests skip that lack something, ``0`` lets none (that is what CI sets). Without it
the OpenTelemetry Collector and promtool may be missing, which only tests of telemetry need; nothing else.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / ".cache"
ALLOW_SKIP: Final = "TESTS_ALLOW_SKIP"
INSTALL_LIMIT_S: Final = 900


class MissingError(Exception):
    """Something cannot be had on this machine; the text says what, and what to do about it."""


def may_miss(*, optional: bool) -> bool:
    """Whether the tests may go on without it."""
    allowed = os.environ.get(ALLOW_SKIP)
    return allowed == "1" or (optional and allowed != "0")


def give_up(sentence: str, *, optional: bool = False) -> NoReturn:
    """Skip the test that lacks something, or fail it where it must run."""
    if may_miss(optional=optional):
        pytest.skip(sentence)
    pytest.fail(sentence, pytrace=False)


def run_installer(
    what: str,
    command: list[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    limit_s: float = INSTALL_LIMIT_S,
) -> str:
    """Run a command that installs something; gives what it printed. Raises MissingError."""
    sys.stdout.write(f"installing {what} ...\n")
    sys.stdout.flush()
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", **(environment or {})},
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{what}: {command[0]} took longer than {limit_s} s.") from error
    except OSError as error:
        raise MissingError(f"{what}: {command[0]} cannot be run: {error.strerror}.") from error
    if done.returncode != 0:
        raise MissingError(f"{what}: {command[0]} failed: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
