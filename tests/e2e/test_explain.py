"""``gatehouse explain`` beside a running service: what it says is what then stands in ClickHouse."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import FIREFOX, SITE, GatehouseProcess, running_gatehouse

ADDRESS = "203.0.113.7"
COMPARED = """
    name, hostname, pathname, toString(user_id) AS user_id, `meta.key`, `meta.value`, referrer,
    referrer_source, utm_campaign, browser, browser_version, operating_system, screen_size,
    acquisition_channel
"""
SESSION = """
    toString(session_id) AS session_id, toString(user_id) AS user_id, sign, is_bounce, entry_page, exit_page,
    pageviews, events, referrer_source, browser, acquisition_channel
"""


@pytest.fixture(scope="module")
def gatehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatehouseProcess]:
    """A running service with one site."""
    with running_gatehouse(tmp_path_factory.mktemp("gatehouse"), {"store": "embedded"}) as process:
        process.add_site(SITE)
        yield process


def explain(gatehouse: GatehouseProcess, page: str) -> Any:
    """Ask the command about a pageview of the one visitor of this test."""
    found = json.loads(
        gatehouse.run(
            "explain",
            *(
                "--url",
                f"https://{SITE}{page}",
                "--referrer",
                "https://www.google.com/search",
                "--prop",
                "plan=pro",
            ),
            *("--user-agent", FIREFOX, "--header", f"X-Forwarded-For: {ADDRESS}", "--json"),
        )
    )
    return found["domains"][0]


def send(gatehouse: GatehouseProcess, page: str) -> None:
    """Send the same pageview and have it inserted."""
    event = {"n": "pageview", "u": f"https://{SITE}{page}", "d": SITE, "p": {"plan": "pro"}}
    event["r"] = "https://www.google.com/search"
    assert gatehouse.post_event(event, {"x-forwarded-for": ADDRESS}).body == b"ok"
    gatehouse.flush()


def test_the_rows_that_were_told_are_stored(gatehouse: GatehouseProcess) -> None:
    """Of a first and of a second pageview the rows are those that were told, and nothing more is stored."""
    for page, rows, signs in (("/first?utm_campaign=a", 1, [1]), ("/second", 2, [-1, 1])):
        told = explain(gatehouse, page)
        again = explain(gatehouse, page)["session"]
        send(gatehouse, page)
        path = page.partition("?")[0]
        (event,) = gatehouse.query(f"SELECT {COMPARED} FROM events_v2 WHERE pathname = '{path}'")
        (count,) = gatehouse.query("SELECT toInt32(count()) AS count FROM events_v2")
        sessions = gatehouse.query(f"SELECT {SESSION} FROM sessions_v2 FINAL WHERE exit_page = '{path}'")

        assert (told["session"]["does"], told["session"]["session_id"]) == (
            again["does"],
            again["session_id"],
        )
        assert {name: told["rows"]["events_v2"][0][name] for name in event} == event
        assert count["count"] == rows
        assert [row["sign"] for row in told["rows"]["sessions_v2"]] == signs
        stored = next(row for row in sessions if row["sign"] == 1)
        newest = told["rows"]["sessions_v2"][-1]
        if newest["session_id"] is None:
            newest["session_id"] = stored["session_id"]
        assert {name: newest[name] for name in stored} == stored


def test_counters_know_nothing_of_it(gatehouse: GatehouseProcess) -> None:
    """What was explained is in no minute total."""
    gatehouse.flush()
    before = gatehouse.query("SELECT toInt32(sum(value)) AS total FROM ingest_counters")
    explain(gatehouse, "/counted")
    gatehouse.flush()
    assert gatehouse.query("SELECT toInt32(sum(value)) AS total FROM ingest_counters") == before
