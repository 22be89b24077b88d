"""No address and no user agent of a visitor is kept anywhere, whatever becomes of the event."""

import base64
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.support.clickhouse import ClickhouseServer, running_server
from tests.support.otlp_receiver import otlp_receiver
from tests.support.ports import free_ports
from tests.support.server import SITE, GatehouseProcess, eventually, running_gatehouse

ADDRESSES = ("203.0.113.177", "198.51.100.211", "2001:db8:5ca1:ab1e::c0de", "2001:db8:ba5e::ba11")
"""Made for documentation; nothing else in a data folder holds them."""
SHIELDED = "192.0.2.147"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0 PlantedAgent/77"
BOT = "PlantedAgentBot/77 (+http://planted.example/bot.html)"
AGENT_MARK = "PlantedAgent"
STORED_MARK = "stored-on-purpose"
"""Stands in what is kept, so that the search is known to find something."""

BUILT = "cache"
"""Tables built from rules, before there is any event; so large that any four bytes may be in them."""

HEADERS = ("x-forwarded-for", "cf-connecting-ip", "b-forwarded-for", "x-plausible-ip", "forwarded")


def forms(address: str) -> dict[str, bytes]:
    """Give an address in every form in which it might be written."""
    parsed = ipaddress.ip_address(address)
    texts = {address, parsed.exploded, parsed.exploded.upper(), parsed.reverse_pointer}
    if parsed.version == 4:
        texts |= {str(int(parsed)), f"::ffff:{address}", address.replace(".", "-")}
    found = {f"text {text}": text.encode() for text in texts}
    for name, content in (("packed", parsed.packed), ("reversed", parsed.packed[::-1])):
        found[name] = content
        found[f"hex of {name}"] = content.hex().encode()
        found[f"HEX of {name}"] = content.hex().upper().encode()
    found["base64 of packed"] = base64.b64encode(parsed.packed).rstrip(b"=")
    # Of a text whose place in the encoded bytes is not known the middle is looked for.
    found["hex of text"] = address.encode().hex().encode()
    found["base64 of text"] = base64.b64encode(address.encode())[:-4]
    return found


def find(content: bytes, where: str, *, packed: bool = True) -> list[str]:
    """Give what of the planted persons is in the content."""
    lower = content.lower()
    found = [f"{where}: the user agent"] * (AGENT_MARK.lower().encode() in lower)
    for form in (AGENT.encode().hex().encode(), base64.b64encode(AGENT.encode())[:40]):
        found += [f"{where}: the user agent, encoded"] * (form in content)
    for address in (*ADDRESSES, SHIELDED):
        for name, form in forms(address).items():
            if form in content and (packed or name not in ("packed", "reversed")):
                found.append(f"{where}: {address} as {name}")
    return found


def files(folder: Path) -> list[Path]:
    """Give all plain files under the folder."""
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def find_in_files(folder: Path) -> list[str]:
    """Search every file of a data folder."""
    return [
        line
        for path in files(folder)
        for line in find(
            path.read_bytes(),
            str(path.relative_to(folder)),
            packed=BUILT not in path.relative_to(folder).parts,
        )
    ]


def event(page: str, **changes: object) -> dict[str, object]:
    """Give a pageview of a page."""
    return {"n": "pageview", "u": f"https://{SITE}/{page}", "d": SITE, **changes}


def raw(url: str, sent: bytes) -> bytes:
    """Send bytes that need not be a request; gives what comes back until the connection is closed."""
    where = urlsplit(url)
    assert where.hostname is not None
    received = b""
    with socket.create_connection((where.hostname, where.port or 80), timeout=20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65536):
            received += piece
    return received


def send_of_each_fate(gatehouse: GatehouseProcess) -> None:
    """Send events that are stored, dropped for several reasons, refused, wrong, and no requests at all."""
    for address in ADDRESSES:
        for name in HEADERS:
            value = f'for="[{address}]:4711"' if name == "forwarded" else address
            person = {name: value, "user-agent": AGENT}
            # A sender may make his keys of what he knows of the visitor; they are kept as digests.
            key = {"x-idempotency-key": f"{address}/{name}/{AGENT_MARK}"}
            stored = gatehouse.post_event(event(STORED_MARK), person | key)
            assert (stored.status, stored.headers.get("x-gatehouse-dropped")) == (202, None)
            dropped = [
                (event("bot"), person | {"user-agent": BOT}, "bot"),
                (event("nobody", d="nobody.example"), person, "not_found"),
                (event("page", u=f"https://{SITE}/secret"), person, "site_page_blocklist"),
                (event("spam", r="https://semalt.com/"), person, "spam_referrer"),
                (
                    event("class"),
                    person | {"x-plausible-ip": address, "x-plausible-ip-type": "dc_ip"},
                    "dc_ip",
                ),
            ]
            for sent, headers, reason in dropped:
                reply = gatehouse.post_event(sent, headers)
                assert reply.headers["x-gatehouse-dropped"].endswith(f"={reason}"), reply
            assert gatehouse.post_event({"n": "pageview"}, person).status == 400
            assert gatehouse.post_event(event("refused-row"), person).status == 202
    shielded = gatehouse.post_event(event("shield"), {"x-forwarded-for": SHIELDED, "user-agent": AGENT})
    assert shielded.headers["x-gatehouse-dropped"].endswith("=site_ip_blocklist")
    batch = gatehouse.post_batch(
        [
            event(STORED_MARK, ip=ADDRESSES[0], user_agent=AGENT),
            event("batch", ip=ADDRESSES[2], user_agent=AGENT, d="nobody.example"),
            {"n": "pageview", "ip": ADDRESSES[1], "user_agent": AGENT},
            event("batch", ip=f"{ADDRESSES[1]}/wrong", user_agent=AGENT),
        ]
    )
    assert [item["verdict"] for item in batch.json()["results"]] == [
        "buffered",
        "dropped",
        "invalid",
        "invalid",
    ]
    explained = gatehouse.admin(
        "POST", "/api/v1/explain", event("explained") | {"ip": ADDRESSES[0], "user_agent": AGENT}
    )
    assert explained
    lines = f"X-Forwarded-For: {ADDRESSES[0]}\r\nUser-Agent: {AGENT}\r\n".encode()
    for broken in (
        b"POST /api/event HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n"
        + lines
        + b"\r\n",
        b"POST /api/event?%b HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n%b\r\n"
        % (AGENT_MARK.encode(), lines),
        b"POST /api/event HTTP/1.1\r\nHost: x\r\n" + lines + b"Broken\x00Header: " + lines + b"\r\n",
        b"POST /api/event HTTP/9.9\r\n" + lines + b"\r\n",
        AGENT.encode() + b"\r\n\r\n",
        b"GET /%b/%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b\r\n"
        % (ADDRESSES[0].encode(), AGENT_MARK.encode(), lines),
    ):
        # aiohttp answers 4xx, or nothing when the connection is gone before.
        assert b" 202 " not in raw(gatehouse.url, broken)[:16]


@pytest.fixture
def clickhouse(tmp_path: Path) -> Iterator[ClickhouseServer]:
    """A ClickHouse that only this test uses."""
    with running_server(tmp_path / "clickhouse") as server:
        server.query("CREATE DATABASE gatehouse")
        yield server


def test_nobody_is_kept(clickhouse: ClickhouseServer, tmp_path: Path) -> None:
    """Not in the journal of a killed service, in quarantine, snapshot, logs, spans, metrics or the tables."""
    (metrics_port,) = free_ports(1)
    with otlp_receiver() as received:
        settings = {
            "store": "native",
            "clickhouse_url": f"{clickhouse.url}/gatehouse",
            "block_max_age_s": "3600",
            "log_level": "debug",
            "otlp_endpoint": received.url,
            "trace_ratio": "1.0",
            "metrics_listen": f"127.0.0.1:{metrics_port}",
        }
        with running_gatehouse(tmp_path / "gatehouse", settings) as gatehouse:
            gatehouse.add_site(SITE)
            shields = f"/api/v1/sites/{SITE}/shields"
            gatehouse.admin("PUT", shields, {"kind": "page", "value": "/secret"})
            gatehouse.admin("PUT", shields, {"kind": "ip", "value": "192.0.2.128/26"})
            clickhouse.query(
                "ALTER TABLE events_v2 ADD CONSTRAINT clean CHECK NOT startsWith(pathname, '/refused')",
                database="gatehouse",
            )
            send_of_each_fate(gatehouse)
            with urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=20) as answer:
                metrics = answer.read()
            assert b"gatehouse_events_dropped_total" in metrics
            gatehouse.kill()

            data = gatehouse.data_dir
            journals = b"".join(path.read_bytes() for path in (data / "journal").glob("*.gh"))
            assert STORED_MARK.encode() in journals, "the journal was to hold what was sent"
            assert find_in_files(data) == []

            gatehouse.start()
            gatehouse.flush()
            eventually(lambda: gatehouse.admin("GET", "/api/v1/status")["statistics"]["events_waiting"] == 0)
            send_of_each_fate(gatehouse)
            assert gatehouse.stop() == 0
            assert b"refused-row" in b"".join(p.read_bytes() for p in (data / "quarantine").iterdir())
            assert (data / "sessions.snapshot").stat().st_size > 100
            assert find_in_files(data) == []

        assert any(span.name for span in received.spans())
        tables = ("events_v2", "sessions_v2", "ingest_counters")
        rows = "".join(clickhouse.query(f"SELECT * FROM gatehouse.{table} FORMAT TSV") for table in tables)
        assert STORED_MARK in rows
        assert find(rows.encode(), "tables") == []
        assert find(metrics, "metrics") == []
        assert find(received.raw(), "spans and log lines", packed=False) == []
        assert find(gatehouse.log().encode(), "log") == []


@pytest.mark.parametrize("store", ["native", "embedded"])
def test_files_are_their_owners_only(store: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Whatever the umask of who starts it: files 0600, folders 0700, also those that libraries make."""
    settings = {"store": store, "block_max_age_s": "3600"}
    if store == "native":
        clickhouse: ClickhouseServer = request.getfixturevalue("clickhouse")
        settings["clickhouse_url"] = f"{clickhouse.url}/gatehouse"
    with running_gatehouse(tmp_path / "gatehouse", settings, umask=0) as gatehouse:
        gatehouse.add_site(SITE)
        gatehouse.post_event(event("one"))
        open_now = modes(gatehouse.data_dir)
        gatehouse.kill()
        (segment,) = (gatehouse.data_dir / "journal").glob("*.gh")
        segment.write_bytes(segment.read_bytes() + b"torn")
        gatehouse.start()
        gatehouse.flush()
        assert gatehouse.stop() == 0
        kept = modes(gatehouse.data_dir)
    for found in (open_now, kept):
        assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}
    assert {"journal", "journal/damaged", "quarantine", "sites.sqlite3", "admin-tokens.json"} <= set(kept)
    assert "admin.sock" in open_now


def modes(folder: Path) -> dict[str, int]:
    """Give the permissions of everything under the folder, and of itself."""
    found = {".": stat.S_IMODE(folder.stat().st_mode)}
    for where, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(where) / name
            if not path.is_symlink():
                found[str(path.relative_to(folder))] = stat.S_IMODE(path.lstat().st_mode)
    return found
