"""``python -m service.user_agents.build FOLDER``: build the databases of Hyperscan into the folder.

It takes half a minute of one processor, so the service starts it as a process of its own, with low priority
and ``--supervised``: then it ends when its standard input does, because the service has ended.
"""

import os
import sys
import threading
from pathlib import Path
from typing import Final

from service.user_agents.detector import Plan
from service.user_agents.rules import Rules, load_rules
from service.user_agents.scanners import build_hyperscan, hyperscan_version
from service.user_agents.store import database_path, load_scanners, write_databases

NICENESS: Final = 10
SUPERVISED: Final = "--supervised"


def build(folder: Path, rules: Rules) -> Path:
    """Build and store what is not there yet, or cannot be used; gives the file.

    Raises HyperscanUnavailable or OSError.
    """
    plan = Plan(rules)
    path = database_path(folder, plan, hyperscan_version() or "")
    if load_scanners(path) is None:
        write_databases(path, build_hyperscan(plan.expressions), build_hyperscan(plan.models))
    return path


def main(arguments: list[str]) -> None:
    """Build into the folder that is the last argument."""
    os.nice(NICENESS)
    if SUPERVISED in arguments:
        threading.Thread(target=_end_with_input, daemon=True).start()
    build(Path(arguments[-1]), load_rules())


def _end_with_input() -> None:
    # Not by sys.stdin: a thread that waits in it would abort the interpreter's orderly end.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
