"""``otel-collector.yaml`` in the real collector: valid with and without variables, sampling as it says."""

import json
import re
import secrets
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.clickhouse import ClickhouseServer
from tests.support.collector import (
    CONFIGURATION,
    CollectorProcess,
    running_collector,
    validate,
)
from tests.support.collector_build import MANIFEST
from tests.support.installing import ROOT
from tests.support.server import eventually

VARIABLES = sorted(set(re.findall(r"env:(COLLECTOR_\w+)", CONFIGURATION.read_text())))
VALID = [
    pytest.param({}, id="as it stands"),
    pytest.param(
        {
            "COLLECTOR_EXPORTERS": "[otlp_http]",
            "COLLECTOR_OTLP_ENDPOINT": "https://otlp.example.com",
            "COLLECTOR_OTLP_HEADERS": "{authorization: Bearer abc}",
        },
        id="to an OTLP backend",
    ),
    pytest.param(
        {
            "COLLECTOR_EXPORTERS": "[clickhouse]",
            "COLLECTOR_CLICKHOUSE_ENDPOINT": "tcp://clickhouse:9000",
            "COLLECTOR_CLICKHOUSE_USER": "otel",
            "COLLECTOR_CLICKHOUSE_PASSWORD": "0123",
        },
        id="to ClickHouse",
    ),
    pytest.param({"COLLECTOR_EXPORTERS": "[otlp_http, clickhouse]"}, id="to both"),
    pytest.param({"COLLECTOR_LISTEN": "0.0.0.0"}, id="open to others"),
    pytest.param({"COLLECTOR_SLOW_MS": "250", "COLLECTOR_KEPT_PERCENT": "100"}, id="another sampling"),
]


@pytest.mark.parametrize("environment", VALID)
def test_valid(environment: dict[str, str]) -> None:
    """The collector has nothing to say against it."""
    done = validate(environment)

    assert (done.returncode, done.stderr) == (0, "")


def test_valid_in_containers() -> None:
    """What compose.yaml gives to the collector is what its configuration reads, and valid."""
    given = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]["collector"]["environment"]
    defaults = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in given.items()}
    done = validate(defaults)

    assert set(defaults) <= set(VARIABLES)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_choice_is_refused() -> None:
    """A place that does not exist is named at the start."""
    done = validate({"COLLECTOR_EXPORTERS": "[nowhere]"})

    assert done.returncode != 0
    assert '"nowhere"' in done.stderr


def test_parts_are_those_of_the_image() -> None:
    """The collector that is built has the version of the image in compose.yaml, in each of its parts."""
    version = YAML(typ="safe").load(MANIFEST)["dist"]["version"]
    parts = re.findall(r"gomod: (\S+) v(\S+)", MANIFEST.read_text())

    assert {found for part, found in parts if "/confmap/" not in part} == {version}
    assert f"image: otel/opentelemetry-collector-contrib:{version}\n" in (ROOT / "compose.yaml").read_text()


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_are_documented(name: str) -> None:
    """docs/collector.md names every variable that the configuration reads."""
    assert f"`{name}`" in (ROOT / "docs" / "collector.md").read_text()


def test_nobody_else_reaches_it() -> None:
    """Every port is this machine's alone until a variable says otherwise, which compose.yaml does."""
    places = re.findall(r"(?:endpoint|host): (\S+)", CONFIGURATION.read_text())
    opened = [place for place in places if "EXPORTERS" not in place and "_ENDPOINT" not in place]
    given = YAML(typ="safe").load(ROOT / "compose.yaml")["services"]["collector"]["environment"]

    assert len(opened) == 5
    assert {place.rpartition("}")[0] for place in opened} == {"${env:COLLECTOR_LISTEN:-127.0.0.1"}
    assert given["COLLECTOR_LISTEN"] == "0.0.0.0"


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorProcess]:
    """A running collector that keeps no share of the ordinary traces."""
    environment = {"COLLECTOR_KEPT_PERCENT": "0", "COLLECTOR_ENVIRONMENT": "test"}
    with running_collector(tmp_path_factory.mktemp("collector"), environment) as process:
        yield process


def test_tells_of_itself(collector: CollectorProcess) -> None:
    """It answers its health check, and its own metrics are to be had."""
    assert collector.is_well()
    assert "otelcol_process_uptime" in collector.scrape_own()


def test_keeps_errors_and_slow_traces(collector: CollectorProcess) -> None:
    """Traces with an error or a 5xx, and slow ones, are kept; of the others none when their share is 0."""
    kept = {
        "error": post_span(collector, status={"code": 2}),
        "server error": post_span(collector, attributes=[number("http.response.status_code", 503)]),
        "slow": post_span(collector, duration_ms=501),
        "to be tried again": post_span(collector, attributes=[text("gatehouse.kept", "retried")]),
    }
    left_out = {
        "ordinary": post_span(collector),
        "refused": post_span(collector, attributes=[number("http.response.status_code", 400)]),
        "sampled": post_span(collector, attributes=[text("gatehouse.kept", "sampled")]),
    }
    eventually(lambda: set(kept.values()) <= sent_traces(collector))

    # All were judged in one tick of the sampler, so what is not there now will never be.
    eventually(lambda: judged(collector) >= len(kept) + len(left_out))
    assert not set(left_out.values()) & sent_traces(collector)


def test_says_where_it_runs(collector: CollectorProcess) -> None:
    """What is sent on carries the environment's name."""
    trace = post_span(collector, status={"code": 2})
    eventually(lambda: trace in sent_traces(collector))
    attributes = [resource["resource"]["attributes"] for resource in collector.sent("resourceSpans")]

    assert all(text("deployment.environment.name", "test") in found for found in attributes)


def test_sends_on_to_an_otlp_backend(collector: CollectorProcess, tmp_path: Path) -> None:
    """With an endpoint named it sends there what it keeps."""
    environment = {"COLLECTOR_EXPORTERS": "[otlp_http]", "COLLECTOR_OTLP_ENDPOINT": collector.otlp_http}
    with running_collector(tmp_path / "first", environment) as first:
        trace = post_span(first, status={"code": 2})
        eventually(lambda: trace in sent_traces(collector))


def test_sends_on_to_clickhouse(clickhouse_server: ClickhouseServer, tmp_path: Path) -> None:
    """With ClickHouse named it makes its tables there and fills them."""
    environment = {
        "COLLECTOR_EXPORTERS": "[clickhouse]",
        "COLLECTOR_CLICKHOUSE_ENDPOINT": f"http://127.0.0.1:{clickhouse_server.http_port}",
        "COLLECTOR_CLICKHOUSE_DATABASE": "otel_test",
    }
    with running_collector(tmp_path, environment) as collector:
        trace = post_span(collector, status={"code": 2})
        eventually(lambda: stored(clickhouse_server, trace) == "gatehouse\tPOST /api/event")
    clickhouse_server.query("DROP DATABASE otel_test")


def post_span(
    collector: CollectorProcess,
    *,
    duration_ms: int = 1,
    status: dict[str, int] | None = None,
    attributes: list[dict[str, Any]] | None = None,
) -> str:
    """Send a trace of one span as the service would; gives its id."""
    trace = secrets.token_hex(16)
    began = time.time_ns()
    span = {
        "traceId": trace,
        "spanId": secrets.token_hex(8),
        "name": "POST /api/event",
        "kind": 2,
        "startTimeUnixNano": str(began),
        "endTimeUnixNano": str(began + duration_ms * 1_000_000),
        "status": status or {},
        "attributes": attributes or [],
    }
    resource = {"attributes": [text("service.name", "gatehouse")]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    request = urllib.request.Request(
        f"{collector.otlp_http}/v1/traces",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
    return trace


def text(key: str, value: str) -> dict[str, Any]:
    """An attribute in OTLP's JSON."""
    return {"key": key, "value": {"stringValue": value}}


def number(key: str, value: int) -> dict[str, Any]:
    """An attribute in OTLP's JSON."""
    return {"key": key, "value": {"intValue": str(value)}}


def sent_traces(collector: CollectorProcess) -> set[str]:
    """The ids of the traces that were sent on."""
    return {span["traceId"] for span in collector.spans()}


def judged(collector: CollectorProcess) -> float:
    """How many traces the sampler has judged."""
    return sum(
        collector.scrape_own().get("otelcol_processor_tail_sampling_global_count_traces_sampled", {}).values()
    )


def stored(server: ClickhouseServer, trace: str) -> str:
    """The service and the name of a trace's span in the collector's table; empty until it is there."""
    if server.query("EXISTS TABLE otel_test.otel_traces") == "0":
        return ""
    return server.query(f"SELECT ServiceName, SpanName FROM otel_test.otel_traces WHERE TraceId = '{trace}'")
