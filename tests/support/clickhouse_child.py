"""Serves ClickHouse's TCP and HTTP ports out of ``libchdb.so``; ``tests.support.clickhouse`` runs it.

Arguments: library, data folder, TCP port, HTTP port. The library is the whole engine, but has no server
command, so one query starts both listeners and a second one sleeps for as long as the process lives.
"""

import ctypes
import signal
import sys
from pathlib import Path

_CONFIG = Path(__file__).with_name("clickhouse_config.xml")
_PR_SET_PDEATHSIG = 1
_SLEEPS = 1_000_000
_SCRIPT = (
    "SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; "
    f"SELECT sleepEachRow(3) FROM numbers({_SLEEPS}) FORMAT Null "
    "SETTINGS function_sleep_max_microseconds_per_block = 100000000000, max_block_size = 1"
)


def main(library: str, folder: str, tcp_port: str, http_port: str) -> int:
    """Serve until killed; a test run that dies takes this process with it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    arguments = [
        "clickhouse",
        *("--config-file", str(_CONFIG)),
        "--multiquery",
        *("--path", folder),
        *("--listen_host", "127.0.0.1"),
        *("--tcp_port", tcp_port),
        *("--http_port", http_port),
        *("--query", _SCRIPT),
    ]
    argv = (ctypes.c_char_p * len(arguments))(*[argument.encode() for argument in arguments])
    run = ctypes.CDLL(library).chdb_query_cmdline
    run.restype = ctypes.c_int
    return int(run(len(arguments), argv))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
