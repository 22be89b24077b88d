"""Room for connections among the open files of the process: its soft limit is raised as far as needed.

A connection is an open file to the system. When all are used up, nothing can be accepted, and the journal can
begin no segment: so some are kept back from connections.
"""

import logging
import resource
from typing import Final

RESERVED: Final = 1024
"""For the journal, the databases and the admin API; half of all where there are not so many."""

log = logging.getLogger(__name__)


def make_room(connections: int) -> int:
    """Raise the limit of open files for so many connections; gives how many there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = choose_limit(connections + RESERVED, soft=_number(soft), hard=_number(hard))
    if files is not None and files != _number(soft):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    room = connections if files is None else min(connections, room_within(files))
    if room < connections:
        log.warning(
            "Only %d connections can be open at once, not %d: the system allows %d open files (`ulimit -n`, "
            "`LimitNOFILE`)",
            room,
            connections,
            files,
        )
    return room


def choose_limit(wanted: int, *, soft: int | None, hard: int | None) -> int | None:
    """Give the limit of open files to work with: raised to what is wanted, never lowered; None is endless."""
    if soft is None or soft >= wanted:
        return soft
    return wanted if hard is None else max(soft, min(wanted, hard))


def room_within(files: int) -> int:
    """Give how many of so many open files may be connections."""
    return max(files - RESERVED, files // 2, 1)


def _number(limit: int) -> int | None:
    return None if limit == resource.RLIM_INFINITY else limit
