"""The load: connections, each of which sends its next event when the last one is answered.

A process of its own, so that it can be pinned to another core than what it measures. It reads a ``Plan`` and
gives a list of ``Load``, both as JSON. Several loads take short turns, in an order that is turned round each
time: a machine that others use too is now fast and now slow, and this way it is so for all of them. A load
can have several processes of the same kind, which take its turns in turn: of two that were started alike one
can be faster for all its life.
"""

import asyncio
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, cycle
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Final, Literal, Self, cast

import msgspec
import uvloop

from benchmarks.traffic import make_batches, make_new_visitors, make_requests, make_spread

Traffic = Literal["known", "new", "batches", "spread"]
"""500 visitors that come again, visitors that are all new, the events of the 500 in batches of 500, or
visitors of many sites.
"""

HOST: Final = "127.0.0.1"
CONNECTIONS = 64
BATCH_CONNECTIONS: Final = 2
"""As many as fill the mailbox of one site: the load is of one."""
LAST_ANSWERS_S = 5.0
"""How long the load waits for answers after its last request."""
ACCEPTED = 202
HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
DROPPED = b"\r\nx-plausible-dropped:"
JSON: Final = b"\r\ncontent-type: application/json"


class Taker(msgspec.Struct, frozen=True, kw_only=True):
    """A process that takes a load, and no other lane's."""

    port: int
    pid: int
    token: str = ""
    """Of the senders of batches."""


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One load: who takes it, and what it is made of."""

    takers: Sequence[Taker]
    """One at a time; the first one takes the first turn."""
    domain: str
    traffic: Traffic = "known"
    sites: int = 1
    """For ``spread``: how many."""
    visitors: int = 1
    """For ``spread``: of each site."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the load process is to do."""

    lanes: Sequence[Lane]
    rounds: int
    turn_s: float
    """Of each lane in each round."""
    warm_up_s: float
    """Of each taker before the rounds; not measured."""
    idle_s: float = 0.0
    """How long it is measured beforehand what the processes need when nothing comes in."""


class Window(msgspec.Struct, frozen=True):
    """What was measured: all turns but the warm-up."""

    seconds: float
    answered: int
    """Events that were answered."""
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """User and system time of the measured processes, all their threads, until the end of the last round.

    Less what they need anyway while others have their turns.
    """


class Load(msgspec.Struct, frozen=True):
    """What one load gives; counts are of the warm-up too, because all of it ends up in the database."""

    window: Window
    acknowledged: int
    """Events answered with 202 and not dropped."""
    dropped: int
    """Events answered with 202 and dropped."""
    statuses: dict[str, int]
    """Answers by status."""
    unanswered: int
    """Requests without an answer when the load gave up."""


class Totals(msgspec.Struct):
    """What the answer to a batch says of its events, as far as it is looked at."""

    buffered: int
    dropped: int
    retry: int = 0


class Tally:
    """Counts answers; latencies only while it is measured."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.acknowledged = 0
        self.dropped = 0
        self.answered = 0
        """Events that were answered while it was measured."""
        self.latencies_s = array("d")
        self.measuring = False
        self.sending = False
        self.under_way = 0
        """Requests that wait for their answers."""
        self.unanswered = 0
        """Requests whose connections were lost."""
        self.quiet = asyncio.Event()
        """Set when the last answer of a turn is there."""

    def count(self, status: int, latency_s: float, totals: Totals) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        if status == ACCEPTED:
            self.acknowledged += totals.buffered
            self.dropped += totals.dropped
        if self.measuring:
            self.answered += totals.buffered + totals.dropped
            self.latencies_s.append(latency_s)

    def note_end(self) -> None:
        """Note that one request less is under way."""
        self.under_way -= 1
        if not self.under_way and not self.sending:
            self.quiet.set()


BUFFERED_ONE: Final = Totals(1, 0)
DROPPED_ONE: Final = Totals(0, 1)


class Connection(asyncio.Protocol):
    """One keep-alive connection, with one request under way while it is the lane's turn."""

    def __init__(self, requests: Iterator[bytes], tally: Tally) -> None:
        self._requests = requests
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._sent_at = 0.0
        self._under_way = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first turn."""
        # uvloop's transports are no subclass, but they are what the annotation says.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Count the answer when all of it is here, and send the next request."""
        self._received += data
        end = self._received.find(HEAD_END)
        if end < 0:
            return
        head = self._received[:end].lower()
        length_at = head.find(LENGTH)
        length = int(head[length_at + len(LENGTH) :].split(b"\r\n", 1)[0]) if length_at >= 0 else 0
        body = self._received[end + len(HEAD_END) :]
        if len(body) < length:
            return
        self._received = b""
        self._under_way = False
        if JSON in head:
            totals = msgspec.json.decode(body, type=Totals)
        else:
            totals = DROPPED_ONE if DROPPED in head else BUFFERED_ONE
        tally = self._tally
        tally.count(int(head[9:12]), perf_counter() - self._sent_at, totals)
        tally.note_end()
        if tally.sending:
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        """A request under way will have no answer, and nothing more is sent."""
        self._transport = None
        if self._under_way:
            self._under_way = False
            self._tally.unanswered += 1
            self._tally.note_end()

    def send(self) -> None:
        """Send the next request, unless the connection is lost or waits for an answer."""
        if self._transport is not None and not self._under_way:
            self._under_way = True
            self._tally.under_way += 1
            self._sent_at = perf_counter()
            self._transport.write(next(self._requests))

    def close(self) -> None:
        """Give up on an answer under way."""
        if self._transport is not None:
            self._transport.close()


def endless(lane: Lane, taker: Taker) -> Iterator[bytes]:
    """Give the requests, over and over."""
    host, domain = f"{HOST}:{taker.port}", lane.domain
    match lane.traffic:
        case "spread":
            return make_spread(host=host, sites=lane.sites, visitors=lane.visitors)
        case "new":
            return make_new_visitors(host=host, domain=domain)
        case "batches":
            return cycle(make_batches(host=host, domain=domain, token=taker.token))
        case "known":
            return cycle(make_requests(host=host, domain=domain))


class Driver:
    """Drives one lane; made by ``Driver.open``."""

    def __init__(self, lane: Lane, connections: Sequence[Sequence[Connection]], tally: Tally) -> None:
        self._lane = lane
        self._connections = connections
        """Of each taker."""
        self._order = cycle(connections)
        self._tally = tally
        self._active_s = 0.0
        self._cpu_before = 0.0

    @classmethod
    async def open(cls, lane: Lane) -> Self:
        """Open the connections."""
        loop, tally = asyncio.get_running_loop(), Tally()
        count = BATCH_CONNECTIONS if lane.traffic == "batches" else CONNECTIONS

        async def connect(taker: Taker) -> list[Connection]:
            requests = endless(lane, taker)
            return [
                (await loop.create_connection(lambda: Connection(requests, tally), HOST, taker.port))[1]
                for _ in range(count)
            ]

        return cls(lane, [await connect(taker) for taker in lane.takers], tally)

    async def warm_up(self, seconds: float) -> None:
        """Send to each taker for so long."""
        for _ in self._connections:
            await self.take_turn(seconds)

    async def take_turn(self, seconds: float) -> None:
        """Send to the next taker for so long, and wait for the last answers."""
        began, tally = perf_counter(), self._tally
        tally.quiet.clear()
        tally.sending = True
        for connection in next(self._order):
            connection.send()
        await asyncio.sleep(seconds)
        tally.sending = False
        if tally.under_way:
            with suppress(TimeoutError):
                await asyncio.wait_for(tally.quiet.wait(), LAST_ANSWERS_S)
        self._active_s += perf_counter() - began

    def measure(self) -> None:
        """Forget the time until now."""
        self._tally.measuring = True
        self._active_s = 0.0
        self._cpu_before = self._cpu_seconds()

    def finish(self, lasted_s: float, idle_share: float) -> Load:
        """Close the connections and give what was measured in all this time, the others' turns included.

        ``idle_share`` is the CPU time that one taker needs in a second in which nothing comes in.
        """
        tally = self._tally
        used_s = self._cpu_seconds() - self._cpu_before
        idle_s = len(self._connections) * lasted_s - self._active_s
        unanswered = tally.unanswered + tally.under_way
        for connection in chain.from_iterable(self._connections):
            connection.close()
        return Load(
            window=_window(tally, self._active_s, used_s - idle_share * idle_s),
            acknowledged=tally.acknowledged,
            dropped=tally.dropped,
            statuses={str(status): count for status, count in sorted(tally.statuses.items())},
            unanswered=unanswered,
        )

    def _cpu_seconds(self) -> float:
        return sum(cpu_seconds(taker.pid) for taker in self._lane.takers)


async def run_plan(plan: Plan) -> list[Load]:
    """Give the load of each lane."""
    drivers = [await Driver.open(lane) for lane in plan.lanes]
    idle_shares = await _measure_idle(plan.lanes, plan.idle_s)
    for driver in drivers:
        await driver.warm_up(plan.warm_up_s)
    began = perf_counter()
    for driver in drivers:
        driver.measure()
    order = list(drivers)
    for _ in range(plan.rounds):
        for driver in order:
            await driver.take_turn(plan.turn_s)
        order.reverse()
    lasted_s = perf_counter() - began
    return [driver.finish(lasted_s, share) for driver, share in zip(drivers, idle_shares, strict=True)]


async def _measure_idle(lanes: Sequence[Lane], seconds: float) -> list[float]:
    """Give the CPU time that a taker of each lane needs in a second in which nothing comes in."""
    if not seconds:
        return [0.0] * len(lanes)

    def means() -> list[float]:
        return [mean(cpu_seconds(taker.pid) for taker in lane.takers) for lane in lanes]

    before = means()
    await asyncio.sleep(seconds)
    return [(now - was) / seconds for now, was in zip(means(), before, strict=True)]


def cpu_seconds(pid: int) -> float:
    """Give the user and system time that a process has used, with all its threads."""
    # The name in the second field may hold anything, blanks included; what follows its bracket is numbers.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _window(tally: Tally, seconds: float, cpu_s: float) -> Window:
    latencies = sorted(tally.latencies_s)
    answers = len(latencies)

    def percentile_ms(share: float) -> float:
        return latencies[min(answers - 1, int(answers * share))] * 1000 if answers else 0.0

    return Window(
        seconds=seconds,
        answered=tally.answered,
        p50_ms=percentile_ms(0.50),
        p99_ms=percentile_ms(0.99),
        cpu_s=cpu_s,
    )


def main() -> None:
    """Read the plan, follow it, write the loads."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run_plan(plan))))


if __name__ == "__main__":
    main()
