"""``gatehouse`` with a watcher on its event loop: ``python -m benchmarks.watched FILE ARGUMENTS``.

The watcher is a timer that is due every millisecond. When it comes late the loop was held: by a callback
that took so long, by a thread that did not give Python's lock away, or because the process did not have its
core. At the end the holds are written to FILE.
"""

import sys
import time
from asyncio import AbstractEventLoop
from pathlib import Path
from typing import Final

import msgspec
import uvloop

EVERY_S: Final = 0.001
NOTED_S: Final = 0.003


class Hold(msgspec.Struct, frozen=True):
    """The loop did not turn for a while."""

    until: float
    """When it turned again, on the clock of ``time.monotonic``, which all processes share."""
    seconds: float
    """At the most: from one look to the next, the wait between them included."""
    cpu_s: float
    """How much of that time the process had a core."""


class Watcher:
    """Looks at a loop from within, as long as it runs."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.holds: list[Hold] = []
        self._loop = loop
        self._looked_at = 0.0
        self._cpu_s = 0.0
        loop.call_soon(self._arm)

    def _arm(self) -> None:
        self._looked_at = time.monotonic()
        self._cpu_s = time.process_time()
        self._loop.call_later(EVERY_S, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        passed_s = now - self._looked_at
        if passed_s > NOTED_S:
            self.holds.append(Hold(now, passed_s, time.process_time() - self._cpu_s))
        self._arm()


def read_holds(path: Path, *, since: float, until: float) -> list[Hold]:
    """Give the holds that a watched program noted within a time, once it has ended."""
    holds = msgspec.json.decode(path.read_bytes(), type=list[Hold])
    return [hold for hold in holds if since <= hold.until and hold.until - hold.seconds <= until]


def main() -> None:
    """Run the command line with every loop watched."""
    path = Path(sys.argv.pop(1))
    watchers: list[Watcher] = []
    new_event_loop = uvloop.new_event_loop

    def watched_loop() -> uvloop.Loop:
        loop = new_event_loop()
        watchers.append(Watcher(loop))
        return loop

    uvloop.new_event_loop = watched_loop
    from service.cli import main as gatehouse

    try:
        gatehouse()
    finally:
        path.write_bytes(msgspec.json.encode([hold for watcher in watchers for hold in watcher.holds]))


if __name__ == "__main__":
    main()
