"""The load: 64 connections, each of which sends its next event when the last one is answered.

A process of its own, so that it can be pinned to another core than what it measures. It prints one JSON
object. ``window`` is what happened between warm-up and end; ``acknowledged`` and ``dropped`` are counted over
the whole run, because all of it ends up in the database.
"""

import argparse
import asyncio
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Final, Literal, cast, get_args

import msgspec
import uvloop

from benchmarks.traffic import make_batches, make_new_visitors, make_requests, make_spread

Traffic = Literal["known", "new", "batches", "spread"]
"""500 visitors that come again, visitors that are all new, the events of the 500 in batches of 500, or
visitors of many sites.
"""

CONNECTIONS = 64
BATCH_CONNECTIONS: Final = 2
"""As many as fill the mailbox of one site: the load is of one."""
WARM_UP_S = 2.0
LAST_ANSWERS_S = 5.0
"""How long the load waits for answers after its last request."""
ACCEPTED = 202
HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
DROPPED = b"\r\nx-plausible-dropped:"
JSON: Final = b"\r\ncontent-type: application/json"


class Window(msgspec.Struct, frozen=True):
    """What was measured between warm-up and end."""

    seconds: float
    answered: int
    """Events that were answered."""
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """User and system time of the measured process, all its threads; 0 when none was named."""


class Load(msgspec.Struct, frozen=True):
    """What one run of the load gives."""

    window: Window
    acknowledged: int
    """Events answered with 202 and not dropped, warm-up included."""
    dropped: int
    """Events answered with 202 and dropped."""
    statuses: dict[str, int]
    """Answers by status, warm-up included."""
    unanswered: int
    """Requests without an answer when the load gave up."""


class Totals(msgspec.Struct):
    """What the answer to a batch says of its events, as far as it is looked at."""

    buffered: int
    dropped: int
    retry: int = 0


class Tally:
    """Counts answers; latencies only while the window is open."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.acknowledged = 0
        self.dropped = 0
        self.answered = 0
        """Events that were answered while the window was open."""
        self.unanswered = 0
        self.latencies_s = array("d")
        self.measuring = False
        self.sending = True

    def count(self, status: int, latency_s: float, totals: Totals) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        if status == ACCEPTED:
            self.acknowledged += totals.buffered
            self.dropped += totals.dropped
        if self.measuring:
            self.answered += totals.buffered + totals.dropped
            self.latencies_s.append(latency_s)


BUFFERED_ONE: Final = Totals(1, 0)
DROPPED_ONE: Final = Totals(0, 1)


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self, requests: Iterator[bytes], tally: Tally) -> None:
        self._requests = requests
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._sent_at = 0.0
        self._under_way = False
        # Done when the connection has no more to do, or broke.
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        # uvloop's transports are no subclass, but they are what the annotation says.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

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
        self._tally.count(int(head[9:12]), perf_counter() - self._sent_at, totals)
        if self._tally.sending:
            self._send()
        else:
            self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        """A request under way will have no answer."""
        self._finish()

    def stop_waiting(self) -> None:
        """Give up on the answer under way."""
        self._finish()

    def _send(self) -> None:
        assert self._transport is not None, "a connection sends once it is made"
        self._under_way = True
        self._sent_at = perf_counter()
        self._transport.write(next(self._requests))

    def _finish(self) -> None:
        if not self.finished.done():
            self._tally.unanswered += self._under_way
            self.finished.set_result(None)
            if self._transport is not None:
                self._transport.close()


def endless(
    traffic: Traffic, *, host: str, domain: str, token: str, sites: int, visitors: int
) -> Iterator[bytes]:
    """Give the requests, over and over.

    ``token`` is that of senders of batches; of ``sites`` there are many in ``spread``, with so many
    ``visitors`` each.
    """
    if traffic == "spread":
        return make_spread(host=host, sites=sites, visitors=visitors)
    if traffic == "new":
        return make_new_visitors(host=host, domain=domain)
    if traffic == "batches":
        return cycle(make_batches(host=host, domain=domain, token=token))
    return cycle(make_requests(host=host, domain=domain))


async def run_load(
    requests: Iterator[bytes],
    *,
    host: str,
    port: int,
    connections_number: int,
    warm_up_s: float,
    seconds: float,
    watch_pid: int | None,
) -> Load:
    """Send events for ``seconds`` after the warm-up, and wait for the last answers."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    connections = [
        (await loop.create_connection(lambda: Connection(requests, tally), host, port))[1]
        for _ in range(connections_number)
    ]
    await asyncio.sleep(warm_up_s)
    cpu_before, began = cpu_seconds(watch_pid), perf_counter()
    tally.measuring = True
    await asyncio.sleep(seconds)
    tally.measuring = tally.sending = False
    lasted, cpu_s = perf_counter() - began, cpu_seconds(watch_pid) - cpu_before
    await asyncio.wait([connection.finished for connection in connections], timeout=LAST_ANSWERS_S)
    for connection in connections:
        connection.stop_waiting()
    return Load(
        window=_window(tally, lasted, cpu_s),
        acknowledged=tally.acknowledged,
        dropped=tally.dropped,
        statuses={str(status): count for status, count in sorted(tally.statuses.items())},
        unanswered=tally.unanswered,
    )


def cpu_seconds(pid: int | None) -> float:
    """Give the user and system time that a process has used, with all its threads."""
    if pid is None:
        return 0.0
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
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Send events over 64 connections and count the answers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--domain", default="bench.example")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S)
    parser.add_argument("--sites", type=int, default=1, help="for spread: how many")
    parser.add_argument("--visitors", type=int, default=1, help="for spread: of each site")
    parser.add_argument("--watch-pid", type=int, help="measure the CPU time of this process")
    parser.add_argument("--traffic", choices=get_args(Traffic), default="known")
    parser.add_argument("--token", default="", help="the sender token, for batches")
    options = parser.parse_args()
    requests = endless(
        options.traffic,
        host=f"{options.host}:{options.port}",
        domain=options.domain,
        token=options.token,
        sites=options.sites,
        visitors=options.visitors,
    )
    load = uvloop.run(
        run_load(
            requests,
            host=options.host,
            port=options.port,
            connections_number=BATCH_CONNECTIONS if options.traffic == "batches" else CONNECTIONS,
            warm_up_s=options.warm_up,
            seconds=options.seconds,
            watch_pid=options.watch_pid,
        )
    )
    sys.stdout.write(msgspec.json.encode(load).decode() + "\n")


if __name__ == "__main__":
    main()
