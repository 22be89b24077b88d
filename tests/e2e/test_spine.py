"""From a POST to rows in ClickHouse, with the real service and each of the stores."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import FIREFOX, SITE, GatehouseProcess, running_gatehouse

EVENTS_OF_PAGE = """
    SELECT name, hostname, pathname, referrer_source, browser, operating_system, screen_size, scroll_depth
    FROM events_v2 WHERE pathname = '{page}' ORDER BY site_id
"""


@pytest.fixture(scope="module", params=["native", "embedded"])
def gatehouse(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatehouseProcess]:
    """A running service with one site, once with each store."""
    settings = {"store": request.param}
    if request.param == "native":
        settings["clickhouse_url"] = request.getfixturevalue("database_url")
    with running_gatehouse(tmp_path_factory.mktemp("gatehouse"), settings) as process:
        process.add_site(SITE)
        yield process


def pageview(page: str, domain: str = SITE) -> dict[str, object]:
    """A pageview as the tracker sends it."""
    return {"n": "pageview", "u": f"https://{SITE}{page}", "d": domain, "r": None}


def stored(gatehouse: GatehouseProcess, page: str) -> list[dict[str, Any]]:
    """All stored events of a page."""
    gatehouse.flush()
    return gatehouse.query(EVENTS_OF_PAGE.format(page=page))


def test_post_becomes_a_row(gatehouse: GatehouseProcess) -> None:
    """An accepted pageview is one row with what was sent and what was found out."""
    event = pageview("/first") | {"r": "https://www.google.com/search"}

    reply = gatehouse.post_event(event, {"x-forwarded-for": "203.0.113.7"})

    assert (reply.status, reply.body) == (202, b"ok")
    assert "x-plausible-dropped" not in reply.headers
    assert stored(gatehouse, "/first") == [
        {
            "name": "pageview",
            "hostname": SITE,
            "pathname": "/first",
            "referrer_source": "Google",
            "browser": "Firefox",
            "operating_system": "GNU/Linux",
            "screen_size": "Desktop",
            "scroll_depth": 0,
        }
    ]


def test_flush_counts(gatehouse: GatehouseProcess) -> None:
    """A flush answers with the number of events that it waited for, and with 0 when there were none."""
    gatehouse.flush()
    gatehouse.post_event(pageview("/flush"))

    assert gatehouse.flush() in {0, 1}  # 0 where the block's age was reached in between
    assert gatehouse.flush() == 0


def test_domains(gatehouse: GatehouseProcess) -> None:
    """An event for several domains is stored for each that exists; the answer names the other and why."""
    gatehouse.add_site("second.example.com")

    reply = gatehouse.post_event(pageview("/several", f"{SITE},nobody.example.com,second.example.com"))

    assert reply.status == 202
    assert reply.headers["x-plausible-dropped"] == "1"
    assert reply.headers["x-gatehouse-dropped"] == "nobody.example.com=not_found"
    assert len(stored(gatehouse, "/several")) == 2


def test_new_site_is_known_at_once(gatehouse: GatehouseProcess) -> None:
    """A site that was refused a moment ago takes events as soon as it was added."""
    before = gatehouse.post_event(pageview("/new", "new.example.com"))
    gatehouse.add_site("new.example.com")
    after = gatehouse.post_event(pageview("/new", "new.example.com"))

    assert before.headers["x-gatehouse-dropped"] == "new.example.com=not_found"
    assert "x-plausible-dropped" not in after.headers
    assert len(stored(gatehouse, "/new")) == 1


def test_shield_acts_at_once(gatehouse: GatehouseProcess) -> None:
    """A shield rule decides on the very next event after it was added, and no more after it was removed."""
    rule = {"kind": "page", "value": "/secret/*"}
    path = f"/api/v1/sites/{SITE}/shields"
    answers = [gatehouse.post_event(pageview("/secret/a"))]
    gatehouse.admin("PUT", path, rule)
    answers.append(gatehouse.post_event(pageview("/secret/a")))
    gatehouse.admin("DELETE", path, rule)
    answers.append(gatehouse.post_event(pageview("/secret/a")))

    reasons = [answer.headers.get("x-gatehouse-dropped") for answer in answers]

    assert reasons == [None, f"{SITE}=site_page_blocklist", None]
    assert len(stored(gatehouse, "/secret/a")) == 2


def test_limit_acts_at_once(gatehouse: GatehouseProcess) -> None:
    """A limit of nothing blocks the very next event; taking it away lets the one after it in."""
    path = f"/api/v1/sites/{SITE}/limits"
    gatehouse.admin("PUT", path, {"threshold": 0})
    blocked = gatehouse.post_event(pageview("/limited"))
    gatehouse.admin("PUT", path, {"threshold": None})
    free = gatehouse.post_event(pageview("/limited"))

    assert blocked.headers["x-gatehouse-dropped"] == f"{SITE}=block"
    assert "x-gatehouse-dropped" not in free.headers


def test_batch(gatehouse: GatehouseProcess) -> None:
    """A batch gets a verdict for each item, in order; what is buffered is stored at the time it happened."""
    then = int(time.time()) - 7200
    visitor = {"ip": "203.0.113.9", "user_agent": FIREFOX}
    items: list[dict[str, object]] = [
        pageview("/batch") | visitor | {"timestamp": then},
        pageview("/batch", "nobody.example.com") | visitor,
        {"n": "pageview"},
    ]

    reply = gatehouse.post_batch(items)

    verdicts = [result["verdict"] for result in reply.json()["results"]]
    assert verdicts == ["buffered", "dropped", "invalid"]
    gatehouse.flush()
    question = "SELECT toInt64(toUnixTimestamp(timestamp)) AS at FROM events_v2 WHERE pathname = '/batch'"
    assert gatehouse.query(question) == [{"at": then}]


def test_invalid(gatehouse: GatehouseProcess) -> None:
    """A request that is no event is told what is wrong with it."""
    reply = gatehouse.post_event({"n": "pageview", "d": SITE})

    assert reply.status == 400
    assert "url" in reply.json()["errors"]


def test_health(gatehouse: GatehouseProcess) -> None:
    """It is alive and ready, and says so without a token."""
    assert gatehouse.get("/api/system/health/live").status == 200
    assert gatehouse.get("/api/system/health/ready").status == 200


def test_sql_command(gatehouse: GatehouseProcess) -> None:
    """``gatehouse sql`` reads the store while the service runs, whoever holds it open."""
    gatehouse.post_event(pageview("/sql"))
    gatehouse.flush()

    answer = gatehouse.run("sql", "--format", "TSV", "SELECT pathname FROM events_v2 WHERE pathname = '/sql'")

    assert answer.splitlines() == ["/sql"]
