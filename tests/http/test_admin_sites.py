"""The routes of sites, goals, shields, limits and custom properties, in the reference's shapes."""

import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.admin_server import AdminServer, admin_server

TAKEN = "domain: This domain cannot be registered. Perhaps one of your colleagues registered it?"
EMPTY_CHANGE = "Payload must contain at least one of the parameters 'domain', 'tracker_script_configuration'"
TRACKER = {
    "installation_type": None,
    "track_404_pages": False,
    "hash_based_routing": False,
    "outbound_links": False,
    "file_downloads": False,
    "revenue_tracking": False,
    "tagged_events": False,
    "form_submissions": False,
    "pageview_props": False,
}


def _without_tracker_id(site: Any) -> Any:
    tracker = dict(site["tracker_script_configuration"])
    assert re.fullmatch(r"pa-[A-Za-z0-9_-]{21}", tracker.pop("id"))
    return site | {"tracker_script_configuration": tracker}


async def test_created_site_has_the_references_shape(tmp_path: Path) -> None:
    """Creating answers domain, timezone, custom properties and tracker configuration, and nothing else."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", "/api/v1/sites", json={"domain": "new.example"})
    assert answer.status == 200
    assert _without_tracker_id(answer.json()) == {
        "domain": "new.example",
        "timezone": "Etc/UTC",
        "custom_properties": [],
        "tracker_script_configuration": TRACKER,
    }


async def test_site_has_one_shape_in_create_get_and_update(tmp_path: Path) -> None:
    """What create answers, get answers too, and update with the change in it."""
    async with admin_server(tmp_path) as server:
        created = (await server.send("POST", "/api/v1/sites", json={"domain": "a.example"})).json()
        assert (await server.send("GET", "/api/v1/sites/a.example")).json() == created
        updated = await server.send("PUT", "/api/v1/sites/a.example", json={"domain": "b.example"})
        assert updated.json() == created | {"domain": "b.example"}


@pytest.mark.parametrize("encoding", ["json", "urlencoded", "multipart"])
async def test_parameters_may_come_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    """JSON, a form and multipart say the same; a name in brackets is a name inside a group."""
    flat = {"domain": "a.example", "timezone": "Europe/Tallinn"}
    async with admin_server(tmp_path) as server:
        if encoding == "json":
            group = {"track_404_pages": True, "installation_type": "gtm"}
            body = flat | {"tracker_script_configuration": group}
            answer = await server.send("POST", "/api/v1/sites", json=body)
        else:
            form = aiohttp.FormData(default_to_multipart=encoding == "multipart")
            for name, value in flat.items():
                form.add_field(name, value)
            form.add_field("tracker_script_configuration[track_404_pages]", "true")
            form.add_field("tracker_script_configuration[installation_type]", "gtm")
            answer = await server.send("POST", "/api/v1/sites", form=form)
    assert _without_tracker_id(answer.json()) == {
        "domain": "a.example",
        "timezone": "Europe/Tallinn",
        "custom_properties": [],
        "tracker_script_configuration": TRACKER | {"track_404_pages": True, "installation_type": "gtm"},
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "domain: can't be blank"),
        ({"domain": ""}, "domain: can't be blank"),
        ({"domain": None}, "domain: can't be blank"),
        ({"domain": 5}, "domain: is invalid"),
        ({"domain": "localhost:80"}, "domain: must not contain URI reserved characters"),
        ({"domain": "a b"}, "domain: only letters, numbers, slashes, underscores and period allowed"),
        ({"domain": "example.com"}, TAKEN),
        ({"domain": "a.example", "timezone": "Moon"}, "timezone: is invalid"),
        ({"domain": "a.example", "timezone": 5}, "timezone: is invalid"),
        (
            {"domain": "a.example", "tracker_script_configuration": {"outbound_links": 7}},
            "tracker_script_configuration.outbound_links: is invalid",
        ),
        (
            {"domain": "a.example", "tracker_script_configuration": {"installation_type": "magic"}},
            "tracker_script_configuration.installation_type: is invalid",
        ),
        ({"domain": "a.example", "limits": {"scale_seconds": 0}}, "must be at least 1 second"),
    ],
)
async def test_bad_site_is_refused(tmp_path: Path, body: dict[str, Any], message: str) -> None:
    """A site that breaks a rule is refused with field and message."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", "/api/v1/sites", json=body)
    assert answer.status == 400
    assert message in answer.error


async def test_domain_with_a_slash_works_percent_encoded(tmp_path: Path) -> None:
    """A site whose domain holds a slash is one part of the path, percent-encoded in either case."""
    async with admin_server(tmp_path) as server:
        await server.send("POST", "/api/v1/sites", json={"domain": "example.com/blog"})
        for part in ("example.com%2Fblog", "example.com%2fblog"):
            assert (await server.send("GET", f"/api/v1/sites/{part}")).json()["domain"] == "example.com/blog"
            assert (await server.send("GET", f"/api/v1/sites/{part}/limits")).status == 200
            assert (await server.send("GET", f"/api/v1/sites/{part}/shields")).status == 200
        assert (await server.send("DELETE", "/api/v1/sites/example.com%2Fblog")).json() == {"deleted": True}


async def test_domain_in_another_script_works_percent_encoded(tmp_path: Path) -> None:
    """A domain in any script is found."""
    async with admin_server(tmp_path) as server:
        await server.send("POST", "/api/v1/sites", json={"domain": "例え.テスト"})
        answer = await server.send("GET", "/api/v1/sites/%E4%BE%8B%E3%81%88.%E3%83%86%E3%82%B9%E3%83%88")
    assert answer.json()["domain"] == "例え.テスト"


@pytest.mark.parametrize(
    "part", ["nobody.example", "%00", "%FF", "%F0%9F", "%", "a%20b", "..%2F..", "x" * 5000]
)
async def test_unknown_site_is_a_404(tmp_path: Path, part: str) -> None:
    """Whatever stands in the path, a site that is not there is not found."""
    async with admin_server(tmp_path) as server:
        for method, path in (
            ("GET", ""),
            ("PUT", ""),
            ("DELETE", ""),
            ("GET", "/limits"),
            ("GET", "/shields"),
        ):
            answer = await server.send(method, f"/api/v1/sites/{part}{path}", json={"domain": "b.example"})
            assert (answer.status, answer.error) == (404, "Site could not be found")


@pytest.mark.parametrize("body", [{}, {"nonsense": 1}, None])
async def test_empty_change_is_refused(tmp_path: Path, body: dict[str, Any] | None) -> None:
    """A change that changes nothing is refused with the reference's sentence."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("PUT", "/api/v1/sites/example.com", json=body)
    assert (answer.status, answer.error) == (400, EMPTY_CHANGE)


async def test_change_to_the_same_domain_is_refused(tmp_path: Path) -> None:
    """A new domain must be new."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("PUT", "/api/v1/sites/example.com", json={"domain": "example.com"})
    assert (answer.status, answer.error) == (
        400,
        "domain: New domain must be different than the current one",
    )


async def test_sites_are_listed_in_parts(tmp_path: Path) -> None:
    """A list holds domain and timezone of each site, and the cursors of its neighbours."""
    async with admin_server(tmp_path) as server:
        for number in (1, 2):
            await server.send("POST", "/api/v1/sites", json={"domain": f"site{number}.example"})
        first = (await server.send("GET", "/api/v1/sites?limit=2")).json()
        assert first["sites"] == [
            {"domain": "example.com", "timezone": "Etc/UTC"},
            {"domain": "site1.example", "timezone": "Etc/UTC"},
        ]
        assert (first["meta"]["before"], first["meta"]["limit"]) == (None, 2)
        second = (await server.send("GET", f"/api/v1/sites?limit=2&after={first['meta']['after']}")).json()
        assert [site["domain"] for site in second["sites"]] == ["site2.example"]
        assert second["meta"]["after"] is None
        back = await server.send("GET", f"/api/v1/sites?limit=2&before={second['meta']['before']}")
        assert back.json()["sites"] == first["sites"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: must be at least 1"),
        ("limit=-1", "limit: must be at least 1"),
        ("limit=x", "limit: is invalid"),
        ("after=x", "after: is invalid"),
        ("before=%F0", "before: is invalid"),
    ],
)
async def test_bad_paging_is_refused(tmp_path: Path, query: str, message: str) -> None:
    """A limit or cursor that is none is refused."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("GET", f"/api/v1/sites?{query}")
    assert (answer.status, answer.error) == (400, message)


async def test_limit_over_1000_is_lowered(tmp_path: Path) -> None:
    """More than 1000 items are never given at once."""
    async with admin_server(tmp_path) as server:
        assert (await server.send("GET", "/api/v1/sites?limit=5000")).json()["meta"]["limit"] == 1000
        assert (await server.send("GET", f"/api/v1/sites?limit={10**30}")).json()["meta"]["limit"] == 1000
        assert (await server.send("GET", "/api/v1/sites?limit=")).json()["meta"]["limit"] == 100


async def test_details_give_all_that_is_known(tmp_path: Path) -> None:
    """With details=true a site comes with its number, former domain, limits and times."""
    async with admin_server(tmp_path) as server:
        await server.send("PUT", "/api/v1/sites/example.com", json={"domain": "new.example"})
        one = (await server.send("GET", "/api/v1/sites/new.example?details=true")).json()
        listed = (await server.send("GET", "/api/v1/sites?details=true")).json()["sites"]
    assert listed == [one]
    assert (one["id"], one["domain_changed_from"]) == (1, "example.com")
    assert one["limits"] == {"threshold": None, "scale_seconds": 60, "accept_traffic_until": None}


async def test_limits_are_changed_one_by_one(tmp_path: Path) -> None:
    """A limit that is not named stays; null, or nothing in a form, takes it away."""
    path = "/api/v1/sites/example.com/limits"
    async with admin_server(tmp_path) as server:
        answer = await server.send("PUT", path, json={"threshold": 5, "accept_traffic_until": "2027-12-31"})
        full = {"threshold": 5, "scale_seconds": 60, "accept_traffic_until": "2027-12-31"}
        assert answer.json() == full
        answer = await server.send("PUT", path, form={"scale_seconds": "10", "accept_traffic_until": ""})
        assert answer.json() == full | {"scale_seconds": 10, "accept_traffic_until": None}
        assert (await server.send("GET", path)).json() == answer.json()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"threshold": -1}, "threshold: must be empty, zero or positive"),
        ({"threshold": 1.5}, "threshold: is invalid"),
        ({"threshold": 2**70}, "threshold: must be at most 2147483647"),
        ({"scale_seconds": 0}, "scale_seconds: must be at least 1 second"),
        ({"scale_seconds": None}, "scale_seconds: can't be blank"),
        ({"accept_traffic_until": "tomorrow"}, "accept_traffic_until: is invalid"),
        ({"accept_traffic_until": "2027-02-30"}, "accept_traffic_until: is invalid"),
    ],
)
async def test_bad_limit_is_refused(tmp_path: Path, body: dict[str, Any], message: str) -> None:
    """A limit that breaks a rule is refused with the reference's message."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("PUT", "/api/v1/sites/example.com/limits", json=body)
    assert (answer.status, answer.error) == (400, message)


async def test_goals_are_found_or_made(tmp_path: Path) -> None:
    """A goal has the reference's shape, and asked for again it is the same."""
    body = {"site_id": "example.com", "goal_type": "event", "event_name": "Signup"}
    async with admin_server(tmp_path) as server:
        goal = (await server.send("PUT", "/api/v1/sites/goals", json=body)).json()
        assert goal == {
            "id": 1,
            "display_name": "Signup",
            "goal_type": "event",
            "event_name": "Signup",
            "page_path": None,
            "custom_props": {},
        }
        assert (await server.send("PUT", "/api/v1/sites/goals", form=body)).json() == goal
        listed = (await server.send("GET", "/api/v1/sites/goals?site_id=example.com")).json()
        assert listed == {"goals": [goal], "meta": {"after": None, "before": None, "limit": 100}}


async def test_goal_may_have_a_currency(tmp_path: Path) -> None:
    """A currency makes a revenue goal; details show it."""
    body = {"site_id": "example.com", "goal_type": "event", "event_name": "Purchase", "currency": "EUR"}
    async with admin_server(tmp_path) as server:
        goal = (await server.send("PUT", "/api/v1/sites/goals?details=true", json=body)).json()
        site = await server.running.sites.get(1)
    assert goal["currency"] == "EUR"
    assert site is not None
    assert site.revenue_goals == (("Purchase", "EUR"),)


async def test_goal_is_deleted_by_its_number(tmp_path: Path) -> None:
    """A goal is deleted once; the site may be named in query or body."""
    body = {"site_id": "example.com", "goal_type": "page", "page_path": "/thanks"}
    async with admin_server(tmp_path) as server:
        await server.send("PUT", "/api/v1/sites/goals", json=body)
        answer = await server.send("DELETE", "/api/v1/sites/goals/1", form={"site_id": "example.com"})
        assert (answer.status, answer.json()) == (200, {"deleted": True})
        answer = await server.send("DELETE", "/api/v1/sites/goals/1?site_id=example.com")
        assert (answer.status, answer.error) == (404, "Goal could not be found")


@pytest.mark.parametrize("number", ["0", "x", "-1", "1.5", "%D9%A3", "9" * 19, "9" * 5000])
async def test_odd_goal_number_is_not_found(tmp_path: Path, number: str) -> None:
    """Whatever stands for a number, a goal that is not there is not found."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("DELETE", f"/api/v1/sites/goals/{number}?site_id=example.com")
    assert (answer.status, answer.error) == (404, "Goal could not be found")


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("GET", "/goals", {}, "Parameter `site_id` is required to list goals"),
        ("PUT", "/goals", {}, "Parameter `site_id` is required to create a goal"),
        ("PUT", "/goals", {"site_id": "example.com"}, "Parameter `goal_type` is required to create a goal"),
        (
            "PUT",
            "/goals",
            {"site_id": "example.com", "goal_type": "event"},
            "Parameter `event_name` is required to create a goal",
        ),
        (
            "PUT",
            "/goals",
            {"site_id": "example.com", "goal_type": "page"},
            "Parameter `page_path` is required to create a goal",
        ),
        ("PUT", "/goals", {"site_id": "example.com", "goal_type": "x"}, "goal_type: is invalid"),
        ("DELETE", "/goals/1", {}, "Parameter `site_id` is required to delete a goal"),
        ("GET", "/custom-props", {}, "Parameter `site_id` is required to list custom properties"),
        ("PUT", "/custom-props", {}, "Parameter `site_id` is required to create a custom property"),
        (
            "PUT",
            "/custom-props",
            {"site_id": "example.com"},
            "Parameter `property` is required to create a custom property",
        ),
        ("DELETE", "/custom-props/x", {}, "Parameter `site_id` is required to delete a custom property"),
        ("PUT", "/example.com/shields", {"kind": "ip"}, "value: can't be blank"),
        ("PUT", "/example.com/shields", {"kind": "moon", "value": "x"}, "kind: is invalid"),
    ],
)
async def test_missing_parameter_is_named(
    tmp_path: Path, method: str, path: str, body: dict[str, Any], message: str
) -> None:
    """A parameter that is missing is named in the answer."""
    async with admin_server(tmp_path) as server:
        answer = await server.send(method, f"/api/v1/sites{path}", json=body)
    assert (answer.status, answer.error) == (400, message)


async def test_custom_properties_come_and_go(tmp_path: Path) -> None:
    """Properties are listed as objects, and their names may hold slashes."""

    async def listed(server: AdminServer) -> object:
        return (await server.send("GET", "/api/v1/sites/custom-props?site_id=example.com")).json()

    async with admin_server(tmp_path) as server:
        for name in ("plan", "a/b"):
            body = {"site_id": "example.com", "property": name}
            assert (await server.send("PUT", "/api/v1/sites/custom-props", json=body)).json() == {
                "created": True
            }
        assert await listed(server) == {"custom_properties": [{"property": "plan"}, {"property": "a/b"}]}
        site = (await server.send("GET", "/api/v1/sites/example.com")).json()
        assert site["custom_properties"] == ["plan", "a/b"]
        for path in ("a/b", "plan"):
            answer = await server.send("DELETE", f"/api/v1/sites/custom-props/{path}?site_id=example.com")
            assert answer.json() == {"deleted": True}
        assert await listed(server) == {"custom_properties": []}


async def test_shields_come_and_go(tmp_path: Path) -> None:
    """A rule is answered in canonical text, listed by kind, and removed by body or query."""
    path = "/api/v1/sites/example.com/shields"
    async with admin_server(tmp_path) as server:
        answer = await server.send("PUT", path, json={"kind": "ip", "value": "10.0.0.1/8"})
        assert answer.json() == {"kind": "ip", "value": "10.0.0.0/8"}
        await server.send("PUT", path, form={"kind": "country", "value": "ee"})
        listed = {"hostnames": [], "pages": [], "ips": ["10.0.0.0/8"], "countries": ["EE"]}
        assert (await server.send("GET", path)).json() == listed
        assert (await server.send("DELETE", f"{path}?kind=country&value=EE")).json() == {"deleted": True}
        answer = await server.send("DELETE", path, json={"kind": "country", "value": "EE"})
        assert (answer.status, answer.error) == (404, "Shield rule could not be found")
        answer = await server.send("PUT", path, json={"kind": "ip", "value": "10.0.0.0/8"})
        assert (answer.status, answer.error) == (400, "ip: rule already exists")
