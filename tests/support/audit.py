"""``make audit``: asks pip-audit which known holes the pinned dependencies have; ends with 1 when any has.

Where its list of holes cannot be reached nothing is audited, and it says so. What protects then is that
``requirements/`` pins every file by its hash, so that nobody can put another in its place.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

ROOT: Final = Path(__file__).parents[2]
LOCKS: Final = ("run", "embedded", "build")
_COMMAND: Final = (
    *(sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"),
    *("--format", "json", "--requirement"),
)


def main() -> int:
    """Audit every lock file; gives the exit code."""
    code = 0
    for lock in LOCKS:
        done = subprocess.run(
            [*_COMMAND, str(ROOT / "requirements" / f"{lock}.lock")],
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            found = msgspec.json.decode(done.stdout)["dependencies"]
        except (msgspec.DecodeError, KeyError, TypeError):
            sys.stdout.write(f"{lock}.lock was not audited: {_last_line(done.stderr)}\n")
            continue
        sentence, is_bad = judge(found)
        sys.stdout.write(f"{lock}.lock: {sentence}\n")
        code |= is_bad
    return code


def judge(dependencies: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """Say what was found of the packages, and whether it is bad."""
    holes = [
        f"{package['name']} {package['version']} ({hole['id']}; repaired in {hole['fix_versions'] or 'none'})"
        for package in dependencies
        for hole in package.get("vulns", ())
    ]
    if holes:
        return "known holes: " + "; ".join(holes), True
    skipped = sum("skip_reason" in package for package in dependencies)
    if skipped:
        return f"{skipped} of {len(dependencies)} packages were not audited: the list is out of reach", False
    return f"{len(dependencies)} packages, no known hole", False


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["pip-audit said nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
