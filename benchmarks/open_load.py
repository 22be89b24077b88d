"""The load that does not wait: so many events a second, whether or not the last ones were answered.

A process of its own, as ``benchmarks.load`` is. Real senders know nothing of each other: when the service is
slow they come all the same. It prints one JSON object.
"""

import argparse
import asyncio
import contextlib
import sys
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from time import perf_counter
from typing import cast

import msgspec
import uvloop

from benchmarks.traffic import make_requests

CONNECTIONS = 256
TICK_S = 0.002
SHARED_BY = 32
"""Connections that share what is due at one tick; the next tick takes the next ones."""
LAST_ANSWERS_S = 10.0
ACCEPTED, REFUSED = 202, 503
HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
RETRY_AFTER = b"\r\nretry-after:"
DROPPED = b"\r\nx-plausible-dropped:"


class Times(msgspec.Struct, frozen=True):
    """How long answers of one kind took, in milliseconds; 0 when there were none."""

    count: int
    p50_ms: float
    p99_ms: float


class OpenLoad(msgspec.Struct, frozen=True):
    """What one run of the load gives."""

    seconds: float
    sent: int
    accepted: Times
    """Answered 202, of all domains."""
    refused: Times
    """Answered 503."""
    dropped: int
    """Answered 202 and not taken."""
    without_retry_after: int
    """Answered 503 without saying when to try again."""
    statuses: dict[str, int]
    unanswered: int
    """Without an answer when the load gave up, or when their connection was closed."""
    late_ms: float
    """By how much the sender itself was behind its schedule at the 99th percentile of its ticks."""

    @property
    def acknowledged(self) -> int:
        """Events that must be stored."""
        return self.accepted.count - self.dropped


class Answers:
    """Counts answers and how long they took."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.latencies_s = {ACCEPTED: array("d"), REFUSED: array("d")}
        self.dropped = 0
        self.without_retry_after = 0
        self.missing = 0

    def count(self, head: bytes, latency_s: float) -> None:
        """Count one answer by its head, in lower case."""
        status = int(head[9:12])
        self.statuses[status] += 1
        if status in self.latencies_s:
            self.latencies_s[status].append(latency_s)
        self.dropped += DROPPED in head
        self.without_retry_after += status == REFUSED and RETRY_AFTER not in head

    def times(self, status: int) -> Times:
        """Give how long the answers of a status took."""
        ordered = sorted(self.latencies_s[status])
        return Times(len(ordered), percentile_ms(ordered, 0.5), percentile_ms(ordered, 0.99))


def percentile_ms(ordered: Sequence[float], share: float) -> float:
    """Give a percentile of ascending seconds, in milliseconds; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests go out as they are due, answers come in their order."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._sent_at: deque[float] = deque()
        self.answered = asyncio.Event()
        """Set while nothing is under way."""
        self.answered.set()

    @property
    def waits(self) -> int:
        """How many requests have no answer."""
        return len(self._sent_at)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def send(self, requests: Sequence[bytes], now: float) -> bool:
        """Send requests; False when the connection is closed."""
        if self._transport is None:
            return False
        self._sent_at.extend([now] * len(requests))
        self.answered.clear()
        self._transport.write(b"".join(requests))
        return True

    def data_received(self, data: bytes) -> None:
        """Count the answers that are whole."""
        received, start, now = self._received + data, 0, perf_counter()
        while (end := received.find(HEAD_END, start)) >= 0:
            head = received[start:end].lower()
            length_at = head.find(LENGTH)
            length = int(head[length_at + len(LENGTH) :].split(b"\r\n", 1)[0]) if length_at >= 0 else 0
            behind = end + len(HEAD_END) + length
            if behind > len(received):
                break
            self._answers.count(head, now - self._sent_at.popleft())
            start = behind
        self._received = received[start:]
        if not self._sent_at:
            self.answered.set()

    def connection_lost(self, error: Exception | None) -> None:
        """What was under way will have no answer."""
        self._transport = None
        self._answers.missing += len(self._sent_at)
        self._sent_at.clear()
        self.answered.set()

    def close(self) -> None:
        """Let go of it, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()


async def run_load(
    *, port: int, domain: str, seconds: float, rate: float, connections: int = CONNECTIONS
) -> OpenLoad:
    """Send ``rate`` events a second for ``seconds``, and wait for the last answers."""
    loop, answers = asyncio.get_running_loop(), Answers()
    requests: Iterator[bytes] = cycle(make_requests(host=f"127.0.0.1:{port}", domain=domain))
    opened = [
        (await loop.create_connection(lambda: Connection(answers), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    turns = cycle(opened)
    began, sent, late = perf_counter(), 0, array("d")
    due_at = began
    while (now := perf_counter()) - began < seconds:
        late.append(now - due_at)
        due = int((now - began) * rate) - sent
        each = -(-due // SHARED_BY)
        while due > 0:
            part = list(islice(requests, min(each, due)))
            due -= len(part)
            sent += len(part)
            if not next(turns).send(part, now):
                answers.missing += len(part)
        due_at = perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
    lasted = perf_counter() - began
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_ANSWERS_S):
            for connection in opened:
                await connection.answered.wait()
    unanswered = answers.missing + sum(connection.waits for connection in opened)
    for connection in opened:
        connection.close()
    return OpenLoad(
        seconds=lasted,
        sent=sent,
        accepted=answers.times(ACCEPTED),
        refused=answers.times(REFUSED),
        dropped=answers.dropped,
        without_retry_after=answers.without_retry_after,
        statuses={str(status): count for status, count in sorted(answers.statuses.items())},
        unanswered=unanswered,
        late_ms=percentile_ms(sorted(late), 0.99),
    )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Send so many events a second, answered or not.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True, help="events a second")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    options = parser.parse_args()
    load = uvloop.run(
        run_load(
            port=options.port,
            domain=options.domain,
            seconds=options.seconds,
            rate=options.rate,
            connections=options.connections,
        )
    )
    sys.stdout.write(msgspec.json.encode(load).decode() + "\n")


if __name__ == "__main__":
    main()
