"""The way of spans to the collector: a bounded queue, a thread that makes and sends them, what was lost.

The loop never waits for it. A trace for which there is no room is left out as a whole, never torn apart. The
SDK's processor is left out, because it takes spans that are made already.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from service.telemetry import Measured, catalogue
from service.telemetry.origin import SERVICE, describe_origin
from service.tracing.making import make_spans
from service.tracing.records import Ended
from service.tracing.senders import OtlpProtocol, SpanSender, open_sender
from service.tracing.spans import Sampling, Tracing

log: Final = logging.getLogger(__name__)

MAX_QUEUED_SPANS: Final = 4096
BATCH_SPANS: Final = 512
EXPORT_INTERVAL_S: Final = 5.0
"""As the SDK's processor has it."""


class SpanQueue:
    """What is kept and waits for its spans to be made and sent; ``start`` it, and ``stop`` it once."""

    def __init__(self, sender: SpanSender) -> None:
        self._sender = sender
        self._waiting: deque[tuple[Ended, int]] = deque()
        self._awake = threading.Event()
        self._is_stopping = False
        # A daemon: a collector that takes a connection and never answers must not keep the process.
        self._thread = threading.Thread(target=self._run, name="spans-export", daemon=True)
        # Each of the numbers is written by one thread alone: the first by that of the loop.
        self._put = 0
        self._taken = 0
        """Spans that have left the queue."""
        self.lost = 0
        """Those of them that the collector did not get."""

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, ended: Ended) -> bool:
        """Have its spans made and sent; False when there is no room for them."""
        size = ended.spans
        waiting = self._put - self._taken + size
        if waiting > MAX_QUEUED_SPANS:
            return False
        self._put += size
        # With its size, because an event whose sender got tired of waiting may get a journal write yet.
        self._waiting.append((ended, size))
        if waiting >= BATCH_SPANS and not self._awake.is_set():
            self._awake.set()
        return True

    def measure(self) -> Iterable[Measured]:
        """Give how many spans the collector did not get."""
        yield Measured(catalogue.SPANS_LOST, self.lost)

    def stop(self, *, timeout_s: float) -> None:
        """Send what is left, within the time; what a collector does not take by then is lost."""
        self._is_stopping = True
        self._awake.set()
        self._thread.join(timeout_s)
        self._sender.shutdown()

    def _run(self) -> None:
        while not self._is_stopping:
            self._awake.wait(EXPORT_INTERVAL_S)
            self._awake.clear()
            self._send_waiting()
        self._send_waiting()  # what came right before the end

    def _send_waiting(self) -> None:
        while self._waiting:
            self._send_batch()

    def _send_batch(self) -> None:
        batch: list[Ended] = []
        size = 0
        while self._waiting and size < BATCH_SPANS:
            ended, spans = self._waiting.popleft()
            batch.append(ended)
            size += spans
        self._taken += size
        is_sent = False
        try:
            is_sent = self._sender.send([span for ended in batch for span in make_spans(ended)])
        except Exception:  # the thread must live on
            log.exception("Spans cannot be sent")
        if not is_sent:
            self.lost += size
            log.warning(
                "The collector takes no spans (%d are lost). Events are taken as ever; "
                "see that it runs at otlp_endpoint",
                self.lost,
            )


def stop_within(shutdown: Callable[[], object], cut_off: Callable[[], object], *, timeout_s: float) -> None:
    """Shut a queue of OpenTelemetry's down, whose own way waits for 30 s; cut its exporter off in the end."""
    ending = threading.Thread(target=shutdown, name="telemetry-end", daemon=True)
    ending.start()
    ending.join(timeout_s)
    if ending.is_alive():
        cut_off()


def start_tracing(
    endpoint: str, protocol: OtlpProtocol, *, sampling: Sampling, version: str, instance: str
) -> tuple[SpanQueue, Tracing]:
    """Begin to send spans to the collector at ``endpoint``, a URL without a path.

    ``stop`` the queue in the end. Raises ConfigError when gRPC is asked for and its package is not installed.
    """
    resource = describe_origin(version=version, instance=instance)
    queue = SpanQueue(open_sender(endpoint, protocol, resource, InstrumentationScope(SERVICE, version)))
    queue.start()
    return queue, Tracing(queue.put, sampling=sampling)
