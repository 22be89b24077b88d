"""The short way alone: CPU microseconds of each of its steps for one plain event, without a network.

``python -m benchmarks.http``. The requests are those of the load; a system that says yes judges them.
"""

import asyncio
import gc
from collections.abc import Callable, Iterable
from statistics import median
from time import thread_time_ns

from actors.messages import BuildResult
from actors.runtime import Envelope
from benchmarks.traffic import make_requests
from service.http.answers import Answers
from service.http.intake import EventIntake
from service.http.lean.heads import Heads
from service.http.lean.replies import ReplyBytes
from service.http.lean.request import PlainReader
from service.ingestion.verdict import BUFFERED
from service.wire.event_api import BodyKind, decode_event
from tests.support.public_server import NOW, ScriptedSystem, public_settings
from tests.support.wire import Wire, wires

ROUNDS = 15
PEER = "127.0.0.1"


class YesSystem(ScriptedSystem):
    """Buffers everything, and remembers nothing."""

    def offer(self, envelope: Envelope) -> None:
        """Say yes."""
        envelope.reply(BuildResult(tuple((domain, BUFFERED) for domain in envelope.message.request.domains)))


def measure(call: Callable[[bytes], object], items: Iterable[bytes]) -> float:
    """Give the median CPU microseconds of a call over all items."""
    items, figures = list(items), []
    for _ in range(ROUNDS):
        began = thread_time_ns()
        for item in items:
            call(item)
        figures.append((thread_time_ns() - began) / 1000 / len(items))
    return median(figures)


def measure_steps(requests: list[bytes]) -> dict[str, float]:
    """Give the microseconds of the parts."""
    reader, settings = PlainReader(Heads()), public_settings()
    intake = EventIntake(settings, lambda: NOW)
    replies = ReplyBytes(Answers(), lambda: NOW)
    headers = {
        "content-type": "text/plain",
        "accept": "*/*",
        "x-forwarded-for": "203.0.113.7",
        "user-agent": "x",
    }
    sender = intake.meet(headers.get, PEER)
    bodies = [request.partition(b"\r\n\r\n")[2] for request in requests]
    return {
        "read the request": measure(lambda request: reader.read(request, 0), requests),
        "  with a head never seen": measure(lambda request: PlainReader(Heads()).read(request, 0), requests),
        "  and its headers": measure(lambda _: intake.meet(headers.get, PEER), requests),
        "understand it": measure(lambda body: intake.understand(sender, body), bodies),
        "  of which decode": measure(
            lambda body: decode_event(body, BodyKind.RAW, content_type="text/plain"), bodies
        ),
        "write the answer": measure(lambda _: replies.encode_ok(), requests),
    }


async def measure_whole(requests: list[bytes]) -> float:
    """Give the microseconds from the bytes that came to the bytes that go."""
    async with wires(YesSystem()) as connect:
        wire: Wire = connect()
        figure = measure(wire.send, requests)
        assert len(wire.writes) == ROUNDS * len(requests), "every request has its answer"
    return figure


def main() -> None:
    """Measure, print."""
    requests = make_requests(host="127.0.0.1:8000", domain="bench.example")
    gc.collect()
    gc.disable()
    for name, figure in measure_steps(requests).items():
        print(f"{name:32}{figure:>8.2f} µs")
    print(f"{'all, with the connection around':32}{asyncio.run(measure_whole(requests)):>8.2f} µs")


if __name__ == "__main__":
    main()
