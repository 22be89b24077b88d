"""Counts what becomes of events, and measures what the service does: additions to plain integers.

Call sites hand in values (an event, a verdict, a duration); names are the catalogue's. Nothing here calls
OpenTelemetry: an exporter reads the values from time to time (``measure``). Reference: section 11.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Protocol

from service.ingestion.request import Request
from service.ingestion.verdict import DropReason, RetryReason
from service.telemetry import catalogue
from service.telemetry.figures import Histogram, HistogramFamily, Measured

MAX_TALLY_KEYS: Final = 100_000
"""Different keys held between two takings; beyond it keys are folded, see ``_count``."""
OTHER_DOMAIN: Final = "(other)"

STEPS_MEASURED_EVERY: Final = 512
"""After so many events one has its pipeline steps timed, all of them one by one: some 30 µs each time."""

KNOWN_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
OTHER_METHOD: Final = "_OTHER"
"""What the semantic conventions call a method that is none of the known ones."""
SERVER_ERROR: Final = 500


class CountedEvent(Protocol):
    """What counting needs to know of an event.

    The domain as sent, and its request's time and script version.
    """

    @property
    def domain(self) -> str:
        """The domain as sent."""
        ...

    @property
    def request(self) -> Request:
        """The request the event is part of."""
        ...


TallyKey = tuple[int, str, str, int]
"""What ``ingest_counters`` sums over: minute (UTC epoch seconds at its start), domain, metric, version.

A plain tuple, for there can be as many as events.
"""


class Telemetry:
    """Owns the numbers until the exporter or the counters actor takes them; one for the whole service.

    ``detailed`` = somebody reads them: without, what costs time for each event is left out.
    """

    def __init__(self, *, detailed: bool = True) -> None:
        self.detailed = detailed
        self.buffered = 0
        self.dropped: dict[DropReason, int] = dict.fromkeys(DropReason, 0)
        self.refused: dict[RetryReason, int] = dict.fromkeys(RetryReason, 0)
        self.repeated = 0
        self.tally_overflow = 0
        """Counts that were folded into ``(other)`` because there were too many different keys."""
        self._tally: dict[TallyKey, int] = {}
        self._until_steps = STEPS_MEASURED_EVERY
        self._steps = HistogramFamily(catalogue.STEP_DURATION)
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        self._event_delay = Histogram(catalogue.EVENT_DELAY.bounds)
        self._loop_lag = Histogram(catalogue.EVENT_LOOP_LAG.bounds)
        self._syncs = Histogram(catalogue.JOURNAL_SYNC_DURATION.bounds)
        self._blocks = HistogramFamily(catalogue.BLOCK_SIZE)
        self._inserts = HistogramFamily(catalogue.INSERT_DURATION)
        self._insert_retries: Counter[str] = Counter()
        self._rows_inserted: Counter[str] = Counter()
        self._rows_quarantined: Counter[str] = Counter()
        self._admin_refusals: Counter[str] = Counter()

    def emit_telemetry_buffered(self, event: CountedEvent) -> None:
        """Count one event of one domain that is in the journal."""
        self.buffered += 1
        request = event.request
        timestamp = request.timestamp
        key = (timestamp - timestamp % 60, event.domain, "buffered", request.tracker_script_version)
        tally = self._tally
        count = tally.get(key)
        if count is None:
            self._count(key)
        else:  # as nearly always: not worth a call
            tally[key] = count + 1

    def emit_telemetry_dropped(self, event: CountedEvent, reason: DropReason) -> None:
        """Count one event of one domain that was judged and will not be stored."""
        self.dropped[reason] += 1
        request = event.request
        minute = request.timestamp - request.timestamp % 60
        key = (minute, event.domain, f"dropped_{reason}", request.tracker_script_version)
        self._count(key)

    def emit_telemetry_repeated(self) -> None:
        """Count one event of one domain that was stored before, under the same key."""
        self.repeated += 1

    def emit_telemetry_refused(self, reason: RetryReason) -> None:
        """Count one event of one domain that was not judged; it is in no site's statistics."""
        self.refused[reason] += 1

    def take_tally(self) -> dict[TallyKey, int]:
        """Hand over the counts since the last taking and start afresh."""
        taken, self._tally = self._tally, {}
        return taken

    def steps_due(self, events: int) -> bool:
        """Tell whether the steps of one of these events are to be timed; counts the events."""
        self._until_steps -= events
        if self._until_steps > 0:
            return False
        self._until_steps = STEPS_MEASURED_EVERY
        return self.detailed

    def record_step(self, step: str, seconds: float) -> None:
        """Note what one step took."""
        self._steps.record(step, seconds)

    def record_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note an answer of the public listener; ``route`` is the pattern, empty when there is none."""
        self.request_durations(method, route, status).record(seconds)

    def request_durations(self, method: str, route: str, status: int) -> Histogram:
        """Give what ``record_request`` adds to, for who has many of the same to note."""
        key = (method if method in KNOWN_METHODS else OTHER_METHOD, route, status)
        histogram = self._requests.get(key)
        if histogram is None:
            histogram = self._requests[key] = Histogram(catalogue.REQUEST_DURATION.bounds)
        return histogram

    def record_confirmed(self, delay_s: float, *, events: int) -> None:
        """Note that ClickHouse has confirmed events, so long after they were in the journal."""
        self._event_delay.record(delay_s, times=events)

    def record_loop_lag(self, seconds: float) -> None:
        """Note how late a timer was."""
        self._loop_lag.record(seconds)

    def record_sync(self, seconds: float) -> None:
        """Note how long the disk took to confirm an append."""
        self._syncs.record(seconds)

    def record_block(self, trigger: str, *, events: int) -> None:
        """Note that a block was closed."""
        self._blocks.record(trigger, events)

    def record_insert(self, outcome: str, seconds: float) -> None:
        """Note one try to insert a block: ``inserted``, ``failed`` or ``refused``."""
        self._inserts.record(outcome, seconds)

    def count_insert_retry(self, error: Exception) -> None:
        """Count a try that will be repeated, under the class of what is behind the error."""
        self._insert_retries[type(error.__cause__ or error).__name__] += 1

    def count_rows(self, table: str, rows: int) -> None:
        """Count rows that ClickHouse has confirmed."""
        self._rows_inserted[table] += rows

    def count_quarantined(self, table: str, rows: int) -> None:
        """Count rows that were set aside, because ClickHouse will never take them."""
        self._rows_quarantined[table] += rows

    def count_admin_refusal(self, reason: str, *, times: int = 1) -> None:
        """Count a request that the admin API turned away before it was looked at."""
        self._admin_refusals[reason] += times

    def measure(self) -> Iterable[Measured]:
        """Give all of it to the exporter."""
        yield Measured(catalogue.EVENTS_BUFFERED, self.buffered)
        yield Measured(catalogue.EVENTS_REPEATED, self.repeated)
        for dropped, count in self.dropped.items():
            yield Measured(catalogue.EVENTS_DROPPED, count, {"reason": dropped.value})
        for refused, count in self.refused.items():
            yield Measured(catalogue.EVENTS_REFUSED, count, {"reason": refused.value})
        yield Measured(catalogue.EVENT_DELAY, self._event_delay.read())
        yield Measured(catalogue.EVENT_LOOP_LAG, self._loop_lag.read())
        yield Measured(catalogue.JOURNAL_SYNC_DURATION, self._syncs.read())
        yield Measured(catalogue.TALLY_FOLDED, self.tally_overflow)
        for family in (self._steps, self._blocks, self._inserts):
            yield from family.read()
        for (method, route, status), histogram in list(self._requests.items()):
            yield Measured(
                catalogue.REQUEST_DURATION, histogram.read(), _request_attributes(method, route, status)
            )
        for error, count in list(self._insert_retries.items()):
            yield Measured(catalogue.INSERT_RETRIES, count, {"error.type": error})
        for reason, count in list(self._admin_refusals.items()):
            yield Measured(catalogue.ADMIN_REFUSALS, count, {"reason": reason})
        for metric, counts in (
            (catalogue.ROWS_INSERTED, self._rows_inserted),
            (catalogue.ROWS_QUARANTINED, self._rows_quarantined),
        ):
            for table, count in list(counts.items()):
                yield Measured(metric, count, {"table": table})

    def _count(self, key: TallyKey) -> None:
        tally = self._tally
        if key not in tally and len(tally) >= MAX_TALLY_KEYS:
            # A flood of made-up domains or versions must not grow memory: the total stays right, the names
            # are given up.
            self.tally_overflow += 1
            minute, _, metric, _ = key
            key = (minute, OTHER_DOMAIN, metric, 0)
        tally[key] = tally.get(key, 0) + 1


def _request_attributes(method: str, route: str, status: int) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.scheme": "http",
        "http.response.status_code": status,
    }
    if route:
        attributes["http.route"] = route
    if status >= SERVER_ERROR:
        attributes["error.type"] = str(status)
    return attributes
