"""Plausible's own trackers in a real browser: what a person does on a page becomes rows in ClickHouse."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import chromium, visitor
from tests.support.server import SITE, GatehouseProcess, eventually, running_gatehouse
from tests.support.website import website

OFFICIAL = f"official.{SITE}"
LEGACY = f"legacy.{SITE}"

EVENTS = """
    SELECT name, hostname, pathname, scroll_depth, engagement_time, meta.key AS keys, meta.value AS values,
        toFloat64(revenue_source_amount) AS amount, revenue_source_currency AS currency, referrer_source,
        utm_campaign, utm_source, acquisition_channel, screen_size, browser, operating_system
    FROM events_v2 WHERE startsWith(pathname, '{page}') ORDER BY timestamp
"""
SESSIONS = """
    SELECT toInt64(sum(sign)) AS sessions, sum(sign * pageviews) AS pageviews, sum(sign * events) AS events,
        toInt64(sum(sign * is_bounce)) AS bounces, argMax(exit_page, sessions_v2.events) AS exit_page
    FROM sessions_v2 WHERE startsWith(entry_page, '{page}')
"""

Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def gatehouse(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatehouseProcess]:
    """A running service with a site for each tracker, so that a person's visits to them do not become one."""
    settings = {"store": "native", "clickhouse_url": database_url}
    with running_gatehouse(tmp_path_factory.mktemp("gatehouse"), settings) as process:
        process.add_site(OFFICIAL)
        process.add_site(LEGACY)
        goal = {"site_id": OFFICIAL, "goal_type": "event", "event_name": "Purchase", "currency": "EUR"}
        process.admin("PUT", "/api/v1/sites/goals", goal)
        yield process


@pytest.fixture(scope="module")
def shop(gatehouse: GatehouseProcess) -> Iterator[str]:
    """The address of a website whose pages send their events to the service."""
    with website({"endpoint": gatehouse.url, "domain": SITE}) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with chromium() as started:
        yield started


def click(page: Page, *names: str) -> None:
    """Click on each of these in turn, and see each event of it accepted."""
    for name in names:
        with page.expect_response(lambda response: response.request.method == "POST") as answered:
            page.click(f"#{name}")
        assert answered.value.status == 202


def rows(gatehouse: GatehouseProcess, question: str, page: str) -> list[Row]:
    """What is stored of a visit that began on this page."""
    gatehouse.flush()
    return [dict(row) for row in gatehouse.query(question.format(page=page))]


def properties(row: Row) -> dict[str, str]:
    """Give the custom properties of an event."""
    return dict(zip(row["keys"], row["values"], strict=True))


@pytest.fixture(scope="module")
def official_visit(gatehouse: GatehouseProcess, shop: str, browser: Browser) -> dict[str, Row]:
    """The events of one visit by name: a person signs up, buys, clicks, scrolls and leaves."""
    context = visitor(browser)
    page = context.new_page()
    page.goto(f"{shop}/official?utm_campaign=autumn", referer="https://www.google.com/")
    click(page, "signup", "buy", "autoplay", "outbound", "download")
    page.mouse.wheel(0, 5000)
    page.wait_for_function("window.scrollY > 1000")
    page.click("#leave")
    page.wait_for_url("**/goodbye")
    # What a page sends when it is left has no reader: only the stored row tells that it arrived.
    eventually(lambda: any(row["name"] == "engagement" for row in rows(gatehouse, EVENTS, "/official")))
    context.close()
    return {row["name"]: row for row in rows(gatehouse, EVENTS, "/official")}


class TestOfficialTracker:
    """The npm package ``@plausible-analytics/tracker``."""

    def test_all(self, official_visit: dict[str, Row]) -> None:
        """Everything the person did is there, and nothing else."""
        names = {"pageview", "Signup", "Purchase", "Autoplay", "Outbound Link: Click", "File Download"}

        assert set(official_visit) == names | {"engagement"}

    def test_pageview(self, official_visit: dict[str, Row]) -> None:
        """The pageview knows the page, where the person came from and with what."""
        pageview = official_visit["pageview"]

        assert (pageview["hostname"], pageview["pathname"]) == ("localhost", "/official")
        assert (pageview["referrer_source"], pageview["utm_campaign"]) == ("Google", "autumn")
        assert pageview["acquisition_channel"] == "Organic Search"
        assert (pageview["screen_size"], pageview["browser"]) == ("Desktop", "Chrome")
        assert pageview["operating_system"] == "GNU/Linux"

    @pytest.mark.parametrize(
        ("name", "wanted"),
        [
            ("Signup", {"plan": "Größe L", "method": "e-mail"}),
            ("Outbound Link: Click", {"url": "/goodbye?to=there"}),
            ("File Download", {"url": "/files/report.pdf"}),
        ],
    )
    def test_properties(self, official_visit: dict[str, Row], name: str, wanted: dict[str, str]) -> None:
        """Custom properties arrive in full; those of links hold the address."""
        found = properties(official_visit[name])

        assert set(found) == set(wanted)
        assert all(found[key].endswith(value) for key, value in wanted.items())

    def test_revenue(self, official_visit: dict[str, Row]) -> None:
        """The revenue of a purchase is kept to the cent."""
        assert (official_visit["Purchase"]["amount"], official_visit["Purchase"]["currency"]) == (
            15.99,
            "EUR",
        )

    def test_engagement(self, official_visit: dict[str, Row]) -> None:
        """Leaving the page tells how far the person scrolled and how long they looked."""
        assert official_visit["engagement"]["scroll_depth"] == 100
        assert official_visit["engagement"]["engagement_time"] > 0

    @pytest.mark.usefixtures("official_visit")
    def test_session(self, gatehouse: GatehouseProcess) -> None:
        """All of it is one visit: one pageview, six events, no bounce."""
        assert rows(gatehouse, SESSIONS, "/official") == [
            {"sessions": 1, "pageviews": 1, "events": 6, "bounces": 0, "exit_page": "/official"}
        ]


@pytest.fixture(scope="module")
def legacy_visit(gatehouse: GatehouseProcess, shop: str, browser: Browser) -> list[Row]:
    """The events of one visit: a person signs up, goes on inside the page and leaves by a link."""
    context = visitor(browser)
    page = context.new_page()
    page.goto(f"{shop}/legacy?ref=partner")
    click(page, "signup", "next", "outbound")
    context.close()
    return rows(gatehouse, EVENTS, "/legacy")


class TestLegacyTracker:
    """The npm package ``plausible-tracker``, which sends properties as JSON inside of JSON."""

    def test_all(self, legacy_visit: list[Row]) -> None:
        """Everything the person did is there, each on its page, with the source of the visit."""
        found = sorted((row["name"], row["pathname"], row["referrer_source"]) for row in legacy_visit)

        assert found == [
            ("Outbound Link: Click", "/legacy/next", "partner"),
            ("Signup", "/legacy", "partner"),
            ("pageview", "/legacy", "partner"),
            ("pageview", "/legacy/next", "partner"),
        ]

    def test_properties(self, legacy_visit: list[Row]) -> None:
        """Properties that are no texts become texts."""
        (signup,) = (row for row in legacy_visit if row["name"] == "Signup")

        assert properties(signup) == {"plan": "Größe L", "newsletter": "true", "seats": "3"}

    @pytest.mark.usefixtures("legacy_visit")
    def test_session(self, gatehouse: GatehouseProcess) -> None:
        """All of it is one visit, which ends on the second page."""
        assert rows(gatehouse, SESSIONS, "/legacy") == [
            {"sessions": 1, "pageviews": 2, "events": 4, "bounces": 0, "exit_page": "/legacy/next"}
        ]
