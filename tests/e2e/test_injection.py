"""What is sent stays data: in SQL, log lines, metrics and headers, whatever bytes it is made of."""

import json
import re
import socket
import urllib.request
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.ingestion.rows import to_text
from tests.support.clickhouse import ClickhouseServer, running_server
from tests.support.ports import free_ports
from tests.support.public_server import RawResponse, parse_responses
from tests.support.server import SITE, GatehouseProcess, running_gatehouse

EXAMPLES = 40
EVILS = (
    "'; DROP TABLE events_v2; --",
    "' OR '1'='1",
    "x') VALUES (1), ('",
    "\\'; SELECT 1; \\",
    "{site_id:UInt64}",
    "a\r\nX-Injected: yes",
    "a\nSet-Cookie: a=b",
    "a\r\n\r\n<script>alert(1)</script>",
    '"} 1\ngatehouse_injected_total{x="',
    "# HELP gatehouse_injected\n",
    '\n{"level":"ERROR","message":"injected"}',
    "\x1b[31mred\x1b[0m",
    "%s%n%(message)s{0}{x}",
    "${jndi:ldap://x}",
    "\x00\x01\x7f\x85\u2028\u2029\u202e",
    "\ud800\udfff",
    "a,b;c d\te",
)
MARK = "gatehouse_injected|X-Injected|Set-Cookie"
KEY = "X-Idempotency-Key"
ODD_HEADERS = ("User-Agent", "Referer", "X-Forwarded-For", "X-Request-Id", "Accept", "traceparent", "Origin")
ALLOWED = frozenset(
    {
        "access-control-allow-credentials",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "retry-after",
        "server",
        "x-gatehouse-dropped",
        "x-plausible-dropped",
        "x-request-id",
    }
)
"""All that a response may have; no request chooses a name."""

TEXTS = st.sampled_from(EVILS) | st.text(max_size=30) | st.text(st.characters(max_codepoint=255), max_size=30)
HEADER_BYTES = st.lists(st.one_of(st.just(9), st.integers(32, 126), st.integers(128, 255)), max_size=60).map(
    bytes
)
"""What may stand in a header; anything else makes no request of it."""


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    """A ClickHouse for this module."""
    with running_server(tmp_path_factory.mktemp("injection") / "clickhouse") as server:
        server.query("CREATE DATABASE gatehouse")
        yield server


@pytest.fixture(scope="module")
def metrics_address() -> str:
    """Where the service tells its metrics."""
    return f"127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture(scope="module")
def gatehouse(
    clickhouse: ClickhouseServer, metrics_address: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatehouseProcess]:
    """A service that logs all it can in JSON."""
    chosen = {
        "store": "native",
        "clickhouse_url": f"{clickhouse.url}/gatehouse",
        "metrics_listen": metrics_address,
        "log_level": "debug",
        "log_format": "json",
    }
    with running_gatehouse(tmp_path_factory.mktemp("gatehouse"), chosen) as process:
        process.add_site(SITE)
        yield process


def send(gatehouse: GatehouseProcess, body: bytes, headers: dict[str, bytes]) -> RawResponse:
    """Send an event with headers of any bytes, and read exactly one response."""
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers.items())
    where = urlsplit(gatehouse.url)
    head = b"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    sent = head + b"Content-Length: %d\r\n" % len(body) + lines + b"\r\n" + body
    received = b""
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=20) as connection:
        connection.sendall(sent)
        while piece := connection.recv(65536):
            received += piece
    (response,) = parse_responses(received)
    assert set(response.headers) <= ALLOWED
    assert received.split(b"\r\n\r\n")[0].count(b"\r\n") == len(response.headers), "a header line too many"
    return response


def dumped(event: Mapping[str, object]) -> bytes:
    """Write an event as JSON; what is no text comes as an escape."""
    return json.dumps(event).encode()


def check_outside(gatehouse: GatehouseProcess, metrics_address: str) -> None:
    """Every log line is one JSON object of ours, and the metrics parse and have our names only."""
    for line in gatehouse.log().splitlines():
        if line:
            assert isinstance(json.loads(line), dict)
    assert not re.search(f'"message": ?"injected|{MARK}', gatehouse.log())
    with urllib.request.urlopen(f"http://{metrics_address}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert names
    assert all(re.match("gatehouse_|http_server_|target_info", name) for name in names)
    assert not re.search(MARK, text)


def test_what_is_stored_is_what_was_sent(gatehouse: GatehouseProcess, clickhouse: ClickhouseServer) -> None:
    """Names, properties, pages and referrers come back from the database byte for byte."""
    sent: dict[str, str] = {}

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(TEXTS.filter(bool), TEXTS, st.dictionaries(st.sampled_from(ODD_HEADERS), HEADER_BYTES))
    def play(value: str, name: str, headers: dict[str, bytes]) -> None:
        page = f"/{len(sent)}"
        event = {
            "n": "pageview",
            "u": f"https://{SITE}{page}?utm_source={value}",
            "d": SITE,
            "r": f"https://e.com/{name}",
            "p": {"given": value, name[:20]: "x"},
        }
        headers["Accept"] = b"*/*"
        headers[KEY] = b"key-%d" % len(sent)
        headers["User-Agent"] = b"Mozilla/5.0 Firefox/145.0 " + headers.get("User-Agent", b"")
        response = send(gatehouse, dumped(event), headers)
        assert response.status in (202, 400)
        if response.status == 202 and "x-gatehouse-dropped" not in response.headers and name[:20] != "given":
            # Two halves of a pair that come together are one character.
            sent[page] = json.loads(dumped({"value": value}))["value"]

    play()
    gatehouse.flush()
    rows = clickhouse.query(
        "SELECT pathname, hex(meta.value[indexOf(meta.key, 'given')]) FROM gatehouse.events_v2 FORMAT TSV"
    )
    stored = dict(line.split("\t") for line in rows.splitlines() if "\t" in line)
    assert len(sent) > EXAMPLES // 4
    for page, value in sent.items():
        text = to_text(value)
        expected = text if isinstance(text, bytes) else text.encode()
        assert bytes.fromhex(stored[page]) == expected


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(domain=TEXTS, value=HEADER_BYTES, agent=HEADER_BYTES)
def test_domains_of_every_kind(gatehouse: GatehouseProcess, domain: str, value: bytes, agent: bytes) -> None:
    """One that nobody has is named in a header, percent-encoded; it begins no line and ends none."""
    event = {"n": "pageview", "u": f"https://{SITE}/", "d": f"nobody.example{domain}"}
    headers = {"X-Request-Id": value, "User-Agent": agent, "Referer": value}
    response = send(gatehouse, dumped(event), headers)

    assert response.status in (202, 400)
    told = response.headers.get("x-gatehouse-dropped", "")
    assert re.fullmatch(r"[A-Za-z0-9%/:._~=, -]*", told)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.binary(max_size=200), value=HEADER_BYTES)
def test_bodies_of_any_bytes(gatehouse: GatehouseProcess, body: bytes, value: bytes) -> None:
    """They are events or refused; nothing of them comes back but in a body of JSON."""
    response = send(gatehouse, body, dict.fromkeys((*ODD_HEADERS, KEY), value))
    assert response.status in (202, 400, 406)


@pytest.mark.parametrize("evil", EVILS)
def test_sites_of_every_name(gatehouse: GatehouseProcess, evil: str) -> None:
    """The admin API takes a domain or says why not; what it takes is one domain and no more."""
    before = len(gatehouse.admin("GET", "/api/v1/sites?limit=100")["sites"])
    body = json.dumps({"domain": f"x{evil}"}).encode()
    reply = gatehouse.ask_admin("POST", "/api/v1/sites", body)
    after = gatehouse.admin("GET", "/api/v1/sites?limit=100")["sites"]
    assert len(after) - before == (reply.status == 200)
    assert not re.search(MARK, str(reply.headers))


def test_nothing_was_injected(
    gatehouse: GatehouseProcess, clickhouse: ClickhouseServer, metrics_address: str
) -> None:
    """With all evil in one go: lines, metrics and tables are what they were."""
    for evil in EVILS:
        for domain in (evil, f"{evil}.example", SITE):
            send(
                gatehouse,
                dumped({"n": evil, "u": f"https://{SITE}/{evil}", "d": domain, "p": {evil: evil}}),
                {},
            )
    gatehouse.flush()
    check_outside(gatehouse, metrics_address)
    tables = set(clickhouse.query("SELECT name FROM system.tables WHERE database = 'gatehouse'").split())
    assert {"events_v2", "sessions_v2", "ingest_counters"} <= tables
    counted = clickhouse.query("SELECT count() FROM gatehouse.events_v2")
    assert int(counted) > 0
