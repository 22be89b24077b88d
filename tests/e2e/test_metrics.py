"""``GET /metrics`` of the real service, read as Prometheus reads it."""

import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import free_ports
from tests.support.server import SITE, running_gatehouse


def test_metrics_tell_what_became_of_events(tmp_path: Path) -> None:
    """Each event is found under its verdict, on a port of its own that answers nothing else."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with running_gatehouse(
        tmp_path / "gatehouse", {"store": "embedded", "metrics_listen": address}
    ) as process:
        process.add_site(SITE)
        for page in range(3):
            process.post_event({"n": "pageview", "u": f"https://{SITE}/{page}", "d": SITE})
        process.post_event({"n": "pageview", "u": "https://unknown.example/", "d": "unknown.example"})
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        assert process.get("/metrics").status == 404

    families = list(text_string_to_metric_families(text))
    samples = {
        (sample.name, sample.labels.get("reason")): sample.value
        for family in families
        for sample in family.samples
    }
    answers = {
        (sample.labels["http_route"], sample.labels["http_response_status_code"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "http_server_request_duration_seconds_count"
    }
    assert samples["gatehouse_events_buffered_total", None] == 3
    assert samples["gatehouse_events_dropped_total", "not_found"] == 1
    assert samples["gatehouse_admin_refusals_total", "wrong_token"] == 0
    assert answers["/api/event", "202"] == 4
    assert answers["/api/event", "500"] == 0, "begun at 0, so that the first one is seen to come"
    assert "203.0.113" not in text
