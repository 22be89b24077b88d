"""Kills, restarts and outages at random under load, and then a count: ``make soak SECONDS=600``.

A real ``gatehouse serve`` writes into a real ClickHouse over TCP while numbered events come in. The service
is killed and restarted, the database is killed, stopped and made to hang; at last all that waits is inserted
and every single event is looked up. The seed chooses faults, pauses and settings; when exactly each of them
happens to a process is up to the machine.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from service.quarantine import read_rows
from tests.faults.dying import STEPS
from tests.faults.forking import Forks
from tests.faults.ledger import SITES, Comparison, Fate, Ledger, domain_of
from tests.faults.load import Load
from tests.support.clickhouse import ClickhouseServer, ServerMissingError
from tests.support.server import POLL_S, GatehouseProcess, own_environment

REQUESTS_PER_S: Final = 60.0
DATABASE: Final = "gatehouse"
STALL_LIMIT_S: Final = 120.0
LONGEST_CALM_S: Final = 2.0
LONGEST_OUTAGE_S: Final = 6.0
LONGEST_START_S: Final = 1.0
MOST_KILLED_STARTS: Final = 3
MOST_VISITS: Final = 3
"""The step at which the service ends itself is passed so often before, at most."""
STEP_LIMIT_S: Final = 2.0
"""It may never come to its step: while the database is away, nothing is inserted."""
HANG_S: Final = 35.0
"""Longer than the service waits for an insert, which may succeed all the same."""
HANG_SHARE: Final = 0.05
FAULT_IN_OUTAGE_SHARE: Final = 0.5

Say = Callable[[str], None]


class Report(Struct, frozen=True):
    """What a soak found."""

    seed: int
    comparison: Comparison
    sent: int
    unanswered: int
    dropped: int
    refused: int
    kills: int
    """Of the service, with SIGKILL."""
    at_steps: int
    """Of the kills, those before or after a chosen step of a block's way."""
    restarts: int
    """Of the service, with SIGTERM."""
    outages: int
    """Of the database: killed, stopped, hanging, or dead of its client's death."""
    wrong_sites: int
    """Whose sums of session rows are not those of the stored events."""
    wrong_sessions: int
    """Of whose rows other than one is in force, or whose figures are not those of its events."""
    split_visits: int
    """Of visitors, who never pause for long and so have one visit each."""
    quarantined: int

    @property
    def is_exact(self) -> bool:
        """Whether every promise was kept."""
        found = self.comparison
        return not (
            found.lost
            or found.duplicated
            or found.unwanted
            or self.wrong_sites
            or self.wrong_sessions
            or self.split_visits
            or self.quarantined
        )

    def lines(self) -> list[str]:
        """Give it as text; the last line is what others read."""
        found = self.comparison
        return [
            f"seed={self.seed} kills_at_steps={self.at_steps} restarts={self.restarts} events={self.sent}",
            f"unanswered={self.unanswered} unanswered_stored={found.unanswered_stored} "
            f"dropped={self.dropped} refused={self.refused}",
            f"stored_though_refused={found.unwanted} sites_with_wrong_sums={self.wrong_sites} "
            f"wrong_sessions={self.wrong_sessions} split_visits={self.split_visits} "
            f"quarantined={self.quarantined}",
            f"acknowledged={found.acknowledged} stored={found.stored} lost={found.lost} "
            f"duplicated={found.duplicated} kills={self.kills} outages={self.outages}",
        ]


class Soak:
    """One run on one folder; ``say`` is told of each fault.

    ``pace`` stretches pauses and outages: with 0.2 they take a fifth, which makes more faults a minute.
    """

    def __init__(self, folder: Path, *, seed: int, say: Say, pace: float = 1.0) -> None:
        self._seed = seed
        self._random = random.Random(seed)
        self._say = say
        self._pace = pace
        self._began = time.monotonic()
        self._clickhouse = ClickhouseServer(folder / "clickhouse")
        self._folder = folder
        self._ledger = Ledger()
        self._kills = self._at_steps = self._restarts = self._outages = 0

    def run(self, seconds: float) -> Report:
        """Send and break for so long, then drain and count. Raises AssertionError when it cannot be ended."""
        self._clickhouse.start()
        self._forks = Forks(environment=own_environment())
        try:
            self._clickhouse.query(f"CREATE DATABASE {DATABASE}")
            self._gatehouse = GatehouseProcess(
                self._folder,
                {"store": "native", "clickhouse_url": f"{self._clickhouse.url}/{DATABASE}"},
            )
            try:
                self._start_service()
                self._play(seconds)
                self._drain()
            finally:
                self._gatehouse.kill()
            return self._report()
        finally:
            self._forks.close()
            self._clickhouse.kill()

    def _play(self, seconds: float) -> None:
        for site in range(SITES):
            self._gatehouse.add_site(domain_of(site))
        load = Load(self._gatehouse, self._ledger, seed=self._seed, requests_per_s=REQUESTS_PER_S)
        load.start()
        faults: dict[Callable[[], None], int] = {
            self._kill_service: 6,
            self._kill_at_steps: 5,
            self._kill_starting_service: 3,
            self._restart_service: 1,
            self._take_database_away: 4,
            self._let_database_hang: 2,
            self._kill_both: 2,
        }
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline and not load.failed:
                time.sleep(self._up_to(LONGEST_CALM_S))
                self._one_of(faults)()
                self._revive_database()
        finally:
            load.stop()

    def _one_of(self, weights: dict[Callable[[], None], int]) -> Callable[[], None]:
        return self._random.choices(list(weights), list(weights.values()))[0]

    def _up_to(self, seconds: float) -> float:
        return self._pace * self._random.uniform(0, seconds)

    # What happens to the service

    def _start_service(self) -> None:
        self._launch_service()
        self._gatehouse.wait_until_ready()

    def _launch_service(self, *, step: str | None = None, visit: int = 0) -> None:
        self._choose_limits(block_rows=(1, 7, 100, 10_000) if step is None else (1, 7))
        gatehouse = self._gatehouse
        gatehouse.adopt(
            lambda arguments: self._forks.start(
                arguments, gatehouse.folder, gatehouse.log_file, step=step, visit=visit
            )
        )

    def _choose_limits(self, *, block_rows: Sequence[int]) -> None:
        """Choose other limits for each start: small and large blocks, a journal that is soon full."""
        self._gatehouse.configure(
            {
                "block_max_rows": str(self._random.choice(block_rows)),
                "block_max_age_s": str(self._random.choice((0.05, 0.3, 1.0))),
                "block_max_bytes": str(2**20),
                "journal_max_bytes": str(self._random.choice((2**20, 2**30))),
            }
        )

    def _kill_service(self) -> None:
        self._tell("the service is killed")
        self._gatehouse.kill()
        self._kills += 1
        self._start_service()

    def _kill_starting_service(self) -> None:
        times = self._random.randint(1, MOST_KILLED_STARTS)
        self._tell(f"the service is killed, and {times} times while it starts")
        self._gatehouse.kill()
        for _ in range(times):
            self._launch_service()
            time.sleep(self._random.uniform(0, LONGEST_START_S))
            self._gatehouse.kill()
        self._kills += 1 + times
        self._start_service()

    def _kill_at_steps(self) -> None:
        times = self._random.randint(1, MOST_KILLED_STARTS)
        self._gatehouse.kill()
        self._kills += 1 + times
        for _ in range(times):
            step, visit = self._random.choice(STEPS), self._random.randint(1, MOST_VISITS)
            self._launch_service(step=step, visit=visit)
            try:
                self._gatehouse.wait_for_death(STEP_LIMIT_S)
                self._at_steps += 1
                self._tell(f"the service kills itself {step}, the time number {visit}")
            except subprocess.TimeoutExpired:
                self._tell(f"the service is killed, it has not come to {step} {visit} times")
                self._gatehouse.kill()
            self._revive_database()
        self._start_service()

    def _restart_service(self) -> None:
        self._tell("the service is restarted")
        code = self._gatehouse.stop()
        assert code == 0, f"gatehouse serve ended with {code}:\n{self._gatehouse.log()[-3000:]}"
        self._restarts += 1
        self._start_service()

    def _kill_both(self) -> None:
        self._tell("the service and the database are killed")
        self._gatehouse.kill()
        self._clickhouse.kill()
        self._kills += 1
        self._outages += 1
        self._start_service()
        time.sleep(self._up_to(LONGEST_OUTAGE_S))
        self._clickhouse.restart()

    # What happens to the database

    def _take_database_away(self) -> None:
        how, what = self._random.choice(
            (("killed", self._clickhouse.kill), ("stopped", self._clickhouse.stop))
        )
        seconds = self._up_to(LONGEST_OUTAGE_S)
        self._tell(f"the database is {how} for {seconds:.1f} s")
        what()
        self._outages += 1
        self._spend_outage(seconds)
        self._clickhouse.restart()

    def _let_database_hang(self) -> None:
        is_long = self._random.random() < HANG_SHARE
        seconds = HANG_S if is_long else self._up_to(LONGEST_OUTAGE_S)
        self._tell(f"the database hangs for {seconds:.1f} s")
        self._clickhouse.pause()
        self._outages += 1
        try:
            self._spend_outage(seconds)
        finally:
            self._clickhouse.resume()

    def _spend_outage(self, seconds: float) -> None:
        """Wait, and perhaps kill or restart the service meanwhile."""
        before = self._random.uniform(0, seconds)
        time.sleep(before)
        if self._random.random() < FAULT_IN_OUTAGE_SHARE:
            self._one_of({self._kill_service: 4, self._restart_service: 1})()
        time.sleep(seconds - before)

    def _revive_database(self) -> None:
        """Start the database if it died by itself: the engine that stands in for a server may."""
        if self._clickhouse.revive():
            self._tell("the database died of its client's death")
            self._outages += 1

    def _tell(self, what: str) -> None:
        self._say(f"{time.monotonic() - self._began:8.1f} s  {what}")

    # The end

    def _drain(self) -> None:
        """Wait until all is inserted; a slow machine may take as long as it goes on."""
        self._tell("draining")
        least, deadline = None, 0.0
        while waiting := self._events_waiting():
            if least is None or waiting < least:
                least, deadline = waiting, time.monotonic() + STALL_LIMIT_S
            if time.monotonic() > deadline:
                logs = "\n".join(part.log()[-3000:] for part in (self._gatehouse, self._clickhouse))
                raise AssertionError(f"{waiting} events wait and nothing is inserted:\n{logs}")
            time.sleep(POLL_S)
        code = self._gatehouse.stop()
        assert code == 0, f"gatehouse serve ended with {code}:\n{self._gatehouse.log()[-3000:]}"
        self._revive_database()

    def _events_waiting(self) -> int:
        self._revive_database()
        waiting: int = self._gatehouse.admin("GET", "/api/v1/status")["statistics"]["events_waiting"]
        return waiting

    def _report(self) -> Report:
        ledger = self._ledger
        return Report(
            seed=self._seed,
            comparison=ledger.compare(stored_numbers(self._clickhouse, DATABASE)),
            sent=len(ledger),
            unanswered=ledger.count(Fate.UNANSWERED),
            dropped=ledger.count(Fate.DROPPED),
            refused=ledger.count(Fate.REFUSED),
            kills=self._kills,
            at_steps=self._at_steps,
            restarts=self._restarts,
            outages=self._outages,
            wrong_sites=wrong_sites(self._clickhouse, DATABASE),
            wrong_sessions=wrong_sessions(self._clickhouse, DATABASE),
            split_visits=split_visits(self._clickhouse, DATABASE),
            quarantined=sum(1 for _ in read_rows(self._gatehouse.data_dir / "quarantine")),
        )


def stored_numbers(clickhouse: ClickhouseServer, database: str) -> Iterator[tuple[int, int]]:
    """Give each stored number and how often it is stored."""
    answer = clickhouse.query(
        "SELECT toUInt32(substring(pathname, 2)) AS number, count() FROM events_v2 GROUP BY number",
        database=database,
    )
    for line in answer.splitlines():
        number, _, copies = line.partition("\t")
        yield int(number), int(copies)


def wrong_sites(clickhouse: ClickhouseServer, database: str) -> int:
    """Count the differences between the sums of the session rows and the stored events, site by site."""
    of_events, of_sessions = (
        set(clickhouse.query(f"SELECT site_id, {sums} GROUP BY site_id", database=database).splitlines())
        for sums in (
            "countIf(name = 'pageview'), countIf(name != 'engagement') FROM events_v2",
            "sum(sign * pageviews), sum(sign * events) FROM sessions_v2",
        )
    )
    return len(of_events.symmetric_difference(of_sessions))


def wrong_sessions(clickhouse: ClickhouseServer, database: str) -> int:
    """Count the sessions that do not go on from the state that is stored: sums that no visit can have."""
    sessions = (
        "SELECT session_id, sum(sign) AS states, sum(sign * pageviews) AS pageviews, "
        "sum(sign * events) AS events, sum(sign * toInt64(duration)) AS duration, "
        "sum(sign * is_bounce) AS bounces FROM sessions_v2 GROUP BY session_id"
    )
    events = (
        "SELECT session_id, countIf(name = 'pageview') AS pageviews, count() AS events, "
        "max(timestamp) - min(timestamp) AS longest FROM events_v2 WHERE name != 'engagement' "
        "GROUP BY session_id"
    )
    sql = (
        f"SELECT count() FROM ({sessions}) AS s FULL JOIN ({events}) AS e USING (session_id) "
        "WHERE s.states != 1 OR s.pageviews != e.pageviews OR s.events != e.events "
        "OR s.duration < 0 OR s.duration > e.longest OR s.bounces NOT IN (0, 1)"
    )
    return int(clickhouse.query(sql, database=database))


def split_visits(clickhouse: ClickhouseServer, database: str) -> int:
    """Count the visits beyond the first of each visitor."""
    sql = "SELECT uniqExact(session_id) - uniqExact(site_id, user_id) FROM sessions_v2"
    return int(clickhouse.query(sql, database=database))


def fresh_seed() -> int:
    """Give a seed that nobody has chosen."""
    return random.SystemRandom().randrange(10**9)


def main() -> int:
    """Run a soak as the command line says; gives the exit code."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults go on (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the faults of a run (default: fresh)")
    parser.add_argument(
        "--pace", type=float, default=1.0, help="0.2: pauses of a fifth, more faults a minute"
    )
    parser.add_argument("--folder", type=Path, default=None, help="keep journal, tables and logs here")
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    _print(f"seed={seed}")
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            report = Soak(folder, seed=seed, say=_print, pace=given.pace).run(given.seconds)
        except ServerMissingError as error:
            _print(f"A soak needs a real ClickHouse and none can be had: {error}")
            return 1
    for line in report.lines():
        _print(line)
    return 0 if report.is_exact else 1


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
