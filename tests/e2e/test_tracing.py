"""The real service with somebody who takes its spans and log lines, and with nobody there."""

import json
from pathlib import Path

from service.log_limit import ABOUT_THE_COLLECTOR
from tests.support.otlp_receiver import otlp_receiver
from tests.support.ports import free_ports
from tests.support.server import SITE, running_gatehouse

PLANTED = "203.0.113.77"


def pageview(page: str) -> dict[str, object]:
    """A pageview as the tracker sends it, with something in it that nobody may see."""
    return {"n": "pageview", "u": f"https://{SITE}{page}?planted=1", "d": SITE}


def test_spans_and_lines_arrive(database_url: str, tmp_path: Path) -> None:
    """A request, its block and ClickHouse's own spans can be found; nothing of the visitor is in them."""
    with otlp_receiver() as collector:
        settings = {
            "store": "native",
            "clickhouse_url": database_url,
            "otlp_endpoint": collector.url,
            "otlp_logs": "true",
            "trace_ratio": "1",
        }
        with running_gatehouse(tmp_path / "gatehouse", settings) as process:
            process.add_site(SITE)
            reply = process.post_event(
                pageview("/kept"), {"x-forwarded-for": PLANTED, "user-agent": "planted"}
            )
            process.flush()
            process.stop()

    spans = {span.name: span for span in collector.spans()}
    assert reply.status == 202
    assert set(spans) == {"POST /api/event", "site", "journal append", "block", "insert"}
    assert spans["block"].links[0].span_id == spans["POST /api/event"].span_id
    assert spans["insert"].parent_span_id == spans["block"].span_id
    assert {"Taking events", "Stopped"} <= {line.body.string_value for line in collector.logs()}
    assert b"planted" not in collector.raw()
    assert PLANTED.encode() not in collector.raw()


def test_without_a_collector_events_are_taken_and_one_line_says_so(database_url: str, tmp_path: Path) -> None:
    """Nobody at the address: no event is lost, a stop is not delayed, and the log is not flooded."""
    (port,) = free_ports(1)
    settings = {
        "store": "native",
        "clickhouse_url": database_url,
        "otlp_endpoint": f"http://127.0.0.1:{port}",
        "otlp_logs": "true",
        "trace_ratio": "1",
    }
    with running_gatehouse(tmp_path / "gatehouse", settings) as process:
        process.add_site(SITE)
        statuses = {process.post_event(pageview("/alone")).status for _ in range(50)}
        process.flush()
        (stored,) = process.query("SELECT count() AS events FROM events_v2 WHERE pathname = '/alone'")
        process.stop()
        lines = [json.loads(line) for line in process.log().splitlines()]

    complaints = [line for line in lines if line["logger"].startswith(ABOUT_THE_COLLECTOR)]
    assert statuses == {202}
    assert int(stored["events"]) == 50
    assert len(complaints) == 1
