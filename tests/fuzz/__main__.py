"""``make fuzz INPUTS=1000000``: all that comes from outside or from a disk, with made-up bytes.

The inputs are shared out to the targets (``tests/fuzz/targets.py``). A line a target, and last a sum. One
that breaks a promise is kept in the folder that is named, and the exit code is 1. Atheris makes the inputs:
it follows which branches of our code they take.
"""

import argparse
import random
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.fuzz.targets import TARGETS, seeds

MAX_INPUT_BYTES: Final = 4096
SLOW_INPUT_S: Final = 10
"""An input that takes longer breaks a promise, too."""
_DONE: Final = re.compile(r"Done (\d+) runs in (\d+) second")
_EXECUTED: Final = re.compile(r"^#(\d+)", re.MULTILINE)


class Outcome(Struct, frozen=True):
    """What came of one target."""

    inputs: int
    seconds: int
    problem: str
    """The end of what was said about an input that broke a promise; empty when none did."""


def fuzz(name: str, *, inputs: int, seed: int, folder: Path) -> Outcome:
    """Fuzz one target; the input that breaks a promise is left in the folder."""
    corpus = folder / name
    corpus.mkdir(parents=True)
    for number, content in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(content)
    flags = (
        f"-runs={inputs}",
        f"-seed={seed}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-timeout={SLOW_INPUT_S}",
        f"-artifact_prefix={folder}/{name}-",
    )
    said = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.one", name, *flags, str(corpus)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    done = _DONE.search(said.stderr)
    if said.returncode == 0 and done is not None:
        return Outcome(int(done[1]), int(done[2]), "")
    executed = [int(number) for number in _EXECUTED.findall(said.stderr)]
    return Outcome(max(executed, default=0), 0, (said.stdout + said.stderr)[-3000:])


def main() -> int:
    """Fuzz as the command line says; gives the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="for all targets together")
    parser.add_argument("--seed", type=int, default=None, help="repeat the inputs of a run (default: fresh)")
    parser.add_argument("--target", choices=sorted(TARGETS), default=None, help="this one alone")
    given = parser.parse_args()
    if find_spec("atheris") is None:
        sys.stdout.write("Fuzzing needs atheris, which has no package for this machine or Python.\n")
        return 2
    seed = random.SystemRandom().randrange(1, 2**31) if given.seed is None else given.seed
    names = list(TARGETS) if given.target is None else [given.target]
    folder = Path(tempfile.mkdtemp(prefix="gatehouse-fuzz-"))
    outcomes = {}
    for name in names:
        found = fuzz(name, inputs=-(-given.inputs // len(names)), seed=seed, folder=folder)
        outcomes[name] = found
        sys.stdout.write(
            f"{name}: inputs={found.inputs} seconds={found.seconds} broken={int(bool(found.problem))}\n"
        )
        sys.stdout.write(found.problem and f"{found.problem}\nThe input is in {folder}.\n")
        sys.stdout.flush()
    broken = sum(bool(found.problem) for found in outcomes.values())
    total = sum(found.inputs for found in outcomes.values())
    sys.stdout.write(f"targets={len(names)} inputs={total} broken={broken} seed={seed}\n")
    if not broken:
        shutil.rmtree(folder)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
