"""The service, the real collector and ClickHouse together: what is counted is what was sent."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from service.clickhouse.connect import open_store
from service.ingestion.verdict import DropReason
from service.log_limit import ABOUT_THE_COLLECTOR
from service.telemetry import telemetry_event_buffered, telemetry_event_dropped
from service.telemetry.catalogue import CATALOGUE, EVENTS_REFUSED, EVENTS_REPEATED
from tests.support.collector import CollectorProcess, running_collector
from tests.support.dashboards import series
from tests.support.server import SITE, GatehouseProcess, eventually, running_gatehouse
from tests.support.span_log import spans_below

YEAR_S = 365 * 86_400
OUTAGE_LIMIT_S = 60.0
"""Until an export has failed or worked: it is tried every ten seconds."""
BETWEEN_COMPLAINTS_S = 59.0
"""A minute, less what the two clocks that are read differ by."""
BUFFERED = f"{telemetry_event_buffered().replace('.', '_')}_total"
DROPPED = f"{telemetry_event_dropped().replace('.', '_')}_total"

REFUSED = EVENTS_REFUSED.prometheus_name
REPEATED = EVENTS_REPEATED.prometheus_name
ALONE = {metric.prometheus_name for metric in CATALOGUE if metric.kind == "gauge" and not metric.attributes}
"""Gauges of which a service has one each."""
FULL_AT_BYTES = 2**20

BLOCKED = "blocked.example.com"
THROTTLED = "throttled.example.com"
ENDED = "ended.example.com"
SHIELDED = "shielded.example.com"
SITES: dict[str, dict[str, object]] = {
    SITE: {},
    BLOCKED: {"threshold": 0},
    THROTTLED: {"threshold": 2, "scale_seconds": YEAR_S},
    ENDED: {"accept_traffic_until": "2020-01-01"},
    SHIELDED: {},
}
SHIELDS = {"page": "/secret/*", "ip": "198.51.100.0/24", "hostname": SHIELDED, "country": "US"}


class Sort(Struct, frozen=True):
    """A sort of event, how many of it are sent, and what becomes of each; None = stored."""

    count: int
    reason: DropReason | None
    domain: str = SITE
    url: str = f"https://{SITE}/"
    name: str = "pageview"
    referrer: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


MIX = (
    Sort(23, None),
    Sort(2, None, name="Purchase"),
    Sort(2, None, domain=THROTTLED),
    Sort(3, DropReason.THROTTLE, domain=THROTTLED),
    Sort(4, DropReason.BLOCK, domain=BLOCKED),
    Sort(5, DropReason.PAYMENT_REQUIRED, domain=ENDED),
    Sort(6, DropReason.NOT_FOUND, domain="nobody.example.com"),
    Sort(7, DropReason.BOT, headers=(("user-agent", "Googlebot/2.1 (+http://www.google.com/bot.html)"),)),
    Sort(2, DropReason.SPAM_REFERRER, referrer="https://semalt.com/"),
    Sort(3, DropReason.DC_IP, headers=(("x-plausible-ip-type", "dc_ip"),)),
    Sort(1, DropReason.THREAT_IP, headers=(("x-plausible-ip-type", "threat_ip"),)),
    Sort(2, None, domain=SHIELDED, url=f"https://{SHIELDED}/"),
    Sort(3, DropReason.SITE_PAGE_BLOCKLIST, domain=SHIELDED, url=f"https://{SHIELDED}/secret/1"),
    Sort(4, DropReason.SITE_HOSTNAME_ALLOWLIST, domain=SHIELDED),
    Sort(
        5,
        DropReason.SITE_IP_BLOCKLIST,
        domain=SHIELDED,
        url=f"https://{SHIELDED}/",
        headers=(("x-forwarded-for", "198.51.100.7"),),
    ),
    Sort(
        6,
        DropReason.SITE_COUNTRY_BLOCKLIST,
        domain=SHIELDED,
        url=f"https://{SHIELDED}/",
        headers=(("x-forwarded-for", "8.8.8.8"),),
    ),
    Sort(
        2,
        DropReason.NO_SESSION_FOR_ENGAGEMENT,
        name="engagement",
        headers=(("x-forwarded-for", "192.0.2.1"),),
    ),
)


BATCH = [
    {"n": "pageview", "u": f"https://{SITE}/{number}", "d": domain}
    for number, domain in enumerate([SITE, "nobody.example.com", SITE, SITE, "nobody.example.com"])
]
BATCH_VERDICTS = ["buffered", "dropped", "buffered", "buffered", "dropped"]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    """A running collector that keeps all traces."""
    with running_collector(tmp_path / "collector", {"COLLECTOR_KEPT_PERCENT": "100"}) as process:
        yield process


@pytest.fixture
def gatehouse(collector: CollectorProcess, clickhouse_url: str, tmp_path: Path) -> Iterator[GatehouseProcess]:
    """A service that sends its telemetry to the collector and its rows to a ClickHouse server."""
    settings = {"store": "native", "clickhouse_url": clickhouse_url, "otlp_endpoint": collector.otlp_http}
    with running_gatehouse(tmp_path / "gatehouse", settings) as process:
        yield process


def test_counts_what_was_sent(collector: CollectorProcess, gatehouse: GatehouseProcess) -> None:
    """The scrape endpoint and ``ingest_counters`` both have every event, reason by reason."""
    register(gatehouse)
    for sort in MIX:
        for _ in range(sort.count):
            send(gatehouse, sort)
    assert [item["verdict"] for item in gatehouse.post_batch(BATCH).json()["results"]] == BATCH_VERDICTS
    send_twice(gatehouse, key="once")
    gatehouse.flush()
    expected = Counter({reason: count_of(reason) for reason in {sort.reason for sort in MIX}})
    expected[DropReason.NOT_FOUND] += BATCH_VERDICTS.count("dropped")
    stored = expected.pop(None) + BATCH_VERDICTS.count("buffered") + 1

    eventually(
        lambda: tallied(gatehouse) == {f"dropped_{r}": n for r, n in expected.items()} | {"buffered": stored}
    )
    assert gatehouse.query("SELECT toInt32(count()) AS events FROM events_v2") == [{"events": stored}]
    assert gatehouse.stop() == 0  # which exports what has been counted since the last time
    assert buffered(collector) == stored
    assert dropped(collector) == {str(reason): float(count) for reason, count in expected.items()}
    assert list(collector.scrape()[REPEATED].values()) == [1]
    assert strange(collector) == {}


def test_mix_has_every_reason() -> None:
    """But for those that only an overloaded service, or a bug of ours, gives."""
    seldom = {DropReason.LOCK_TIMEOUT, DropReason.INVALID}

    assert set(DropReason) - {sort.reason for sort in MIX} == seldom


def test_counts_what_was_refused(collector: CollectorProcess, clickhouse_url: str, tmp_path: Path) -> None:
    """When the journal is full before anything was inserted, refused and stored are all that was sent."""
    settings = {
        "store": "native",
        "clickhouse_url": clickhouse_url,
        "otlp_endpoint": collector.otlp_http,
        "journal_max_bytes": str(FULL_AT_BYTES),
        "block_max_bytes": str(FULL_AT_BYTES),
        "block_max_age_s": "3600",
    }
    event = {"n": "pageview", "u": f"https://{SITE}/{'x' * 1900}", "d": SITE}
    with running_gatehouse(tmp_path / "gatehouse", settings) as gatehouse:
        gatehouse.add_site(SITE)
        statuses = Counter(gatehouse.post_event(event).status for _ in range(FULL_AT_BYTES // 1800))
        gatehouse.flush()
        assert gatehouse.stop() == 0

    assert set(statuses) == {202, 503}
    assert refused(collector) == {"journal_unavailable": statuses[503]}
    assert buffered(collector) == statuses[202]


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
def test_goes_on_without_a_collector(
    trouble: str, collector: CollectorProcess, gatehouse: GatehouseProcess
) -> None:
    """While the collector is dead or hangs no event and no count is lost; it is one log line a minute."""
    away, back = {
        "killed": (collector.kill, collector.start),
        "frozen": (collector.freeze, collector.thaw),
    }[trouble]
    gatehouse.add_site(SITE)
    batch = 20

    send_many(gatehouse, batch)
    eventually(lambda: buffered(collector) == batch, within_s=OUTAGE_LIMIT_S)
    away()
    send_many(gatehouse, batch)
    eventually(lambda: complaints(gatehouse), within_s=OUTAGE_LIMIT_S)
    send_many(gatehouse, batch)
    back()
    eventually(lambda: buffered(collector) == 3 * batch, within_s=OUTAGE_LIMIT_S)
    away()
    send_many(gatehouse, batch)
    gatehouse.flush()

    assert gatehouse.query("SELECT toInt32(count()) AS events FROM events_v2") == [{"events": 4 * batch}]
    assert gatehouse.stop() == 0
    told = complaints(gatehouse)
    assert all((later - earlier).total_seconds() >= BETWEEN_COMPLAINTS_S for earlier, later in pairwise(told))


def test_restart_is_the_same_instance(collector: CollectorProcess, gatehouse: GatehouseProcess) -> None:
    """After a death, counters begin anew in the same series, and no gauge of the dead stands beside ours."""
    gatehouse.add_site(SITE)
    send_many(gatehouse, 3)
    eventually(lambda: buffered(collector) == 3, within_s=OUTAGE_LIMIT_S)
    gatehouse.kill()
    gatehouse.start()
    send_many(gatehouse, 2)

    assert gatehouse.stop() == 0
    assert list(collector.scrape()[BUFFERED].values()) == [2]
    assert {len(values) for name, values in collector.scrape().items() if name in ALONE} == {1}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_block_joins_requests_and_clickhouse(
    protocol: str, collector: CollectorProcess, clickhouse_url: str, tmp_path: Path
) -> None:
    """Metrics, logs and spans arrive; a block links to its requests, and ClickHouse's spans are below it."""
    settings = {
        "store": "native",
        "clickhouse_url": clickhouse_url,
        "otlp_endpoint": collector.otlp_grpc if protocol == "grpc" else collector.otlp_http,
        "otlp_protocol": protocol,
        "otlp_logs": "true",
        "trace_ratio": "1",
        "block_max_age_s": "3600",
    }
    with running_gatehouse(tmp_path / "gatehouse", settings) as gatehouse:
        gatehouse.add_site(SITE)
        send_many(gatehouse, 3)
        gatehouse.flush()
        assert gatehouse.stop() == 0
    eventually(lambda: {"block", "insert"} <= {span["name"] for span in collector.spans()})
    spans = collector.spans()
    requests = [span for span in spans if span["name"] == "POST /api/event"]
    (block,) = [span for span in spans if span["name"] == "block" and span.get("links")]
    (insert,) = [
        span for span in spans if span["name"] == "insert" and span["parentSpanId"] == block["spanId"]
    ]

    assert buffered(collector) == 3
    assert collector.sent("resourceLogs")
    assert len(requests) == 3
    assert {place(link) for link in block["links"]} == {place(request) for request in requests}
    assert insert["traceId"] == block["traceId"]
    assert asyncio.run(spans_in_clickhouse(clickhouse_url, tmp_path, insert)) > 0


async def spans_in_clickhouse(url: str, folder: Path, insert: dict[str, Any]) -> int:
    """How many spans of ClickHouse's own are right below an insert, in its trace."""
    store = open_store(kind="native", url=url, folder=folder)
    try:
        return await spans_below(
            store, trace_id=insert["traceId"], span_id=int(insert["spanId"], 16), at_least=1
        )
    finally:
        await store.close()


def place(span: dict[str, Any]) -> tuple[str, str]:
    """The ids of a span, or of what a link points to."""
    return span["traceId"], span["spanId"]


def register(gatehouse: GatehouseProcess) -> None:
    """Add the sites with their limits and shields."""
    for domain, limits in SITES.items():
        gatehouse.add_site(domain)
        gatehouse.admin("PUT", f"/api/v1/sites/{domain}/limits", limits)
    for kind, value in SHIELDS.items():
        gatehouse.admin("PUT", f"/api/v1/sites/{SHIELDED}/shields", {"kind": kind, "value": value})


def send(gatehouse: GatehouseProcess, sort: Sort) -> None:
    """Send one event of a sort; the answer tells what became of it."""
    event: dict[str, object] = {"n": sort.name, "u": sort.url, "d": sort.domain, "r": sort.referrer}
    if sort.name == "engagement":
        event["e"] = 1000
    reply = gatehouse.post_event(event, dict(sort.headers))

    assert reply.status == 202
    expected = None if sort.reason is None else f"{sort.domain}={sort.reason}"
    assert reply.headers.get("x-gatehouse-dropped") == expected


def count_of(reason: DropReason | None) -> int:
    """How many events of the mix have this end."""
    return sum(sort.count for sort in MIX if sort.reason == reason)


def send_twice(gatehouse: GatehouseProcess, *, key: str) -> None:
    """Send an event, and the same again under its key."""
    event = {"n": "pageview", "u": f"https://{SITE}/", "d": SITE}
    first, again = (gatehouse.post_event(event, {"x-idempotency-key": key}) for _ in range(2))

    assert (first.status, again.status) == (202, 202)
    assert "x-gatehouse-repeated" in again.headers


def send_many(gatehouse: GatehouseProcess, count: int) -> None:
    """Send so many events that are stored."""
    for _ in range(count):
        send(gatehouse, Sort(1, None))


def tallied(gatehouse: GatehouseProcess) -> dict[str, int]:
    """What ``ingest_counters`` holds, over all sites."""
    rows = gatehouse.query("SELECT metric, toInt32(sum(value)) AS n FROM ingest_counters GROUP BY metric")
    return {row["metric"]: row["n"] for row in rows}


def buffered(collector: CollectorProcess) -> float:
    """The events that are stored, by the word of the scrape endpoint."""
    return sum(collector.scrape().get(BUFFERED, {}).values())


def dropped(collector: CollectorProcess) -> dict[str, float]:
    """The events that are not, by reason; without the reasons that did not occur."""
    found = collector.scrape().get(DROPPED, {})
    return {dict(labels)["reason"]: value for labels, value in found.items() if value}


def refused(collector: CollectorProcess) -> dict[str, float]:
    """The events that were not judged, by reason; without the reasons that did not occur."""
    found = collector.scrape().get(REFUSED, {})
    return {dict(labels)["reason"]: value for labels, value in found.items() if value}


def strange(collector: CollectorProcess) -> dict[str, set[str]]:
    """The series that the catalogue does not have under this name, or not with these labels."""
    known = series()
    found = {
        name: {label for labels in values for label, _ in labels}
        for name, values in collector.scrape().items()
        if name != "target_info"
    }
    assert len(found) > len(CATALOGUE) // 2, "most metrics have a value"
    return {
        name: labels
        for name, labels in found.items()
        if labels - known.get(name, frozenset()) or name not in known
    }


def complaints(gatehouse: GatehouseProcess) -> list[datetime]:
    """When the log spoke of trouble with the collector."""
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in gatehouse.log().splitlines() if line[:1] == "{"
    ]
    return [
        datetime.fromisoformat(line["time"])
        for line in lines
        if line["level"] in {"warning", "error"} and line["logger"].startswith(ABOUT_THE_COLLECTOR)
    ]
