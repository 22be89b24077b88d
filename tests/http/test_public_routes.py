"""The public port serves events and health and nothing else; what else there is has a door of its own."""

import re
from pathlib import Path

import pytest

from tests.support.admin_server import admin_server
from tests.support.public_server import ScriptedSystem, make_app, public_server, public_settings

EVENTS = {("POST", "/api/event"), ("POST", "/api/events")}
HEALTH = {
    ("GET", "/api/error"),
    ("GET", "/api/health"),
    ("GET", "/api/system"),
    ("GET", "/api/system/health/live"),
    ("GET", "/api/system/health/ready"),
}
NOTHING = {("*", "/{anything}")}
"""Takes everything else and answers that it is not there."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "MADE-UP")


def test_every_route_is_for_events_or_health() -> None:
    """Of the application as it is served: a new route has to say here what it is for."""
    routes = {
        (route.method, route.resource.canonical)
        for route in make_app(ScriptedSystem(), public_settings()).router.routes()
        if route.resource is not None
    }
    assert routes - {("HEAD", path) for _, path in HEALTH} == EVENTS | HEALTH | NOTHING


async def test_no_route_of_the_admin_api_is_there(tmp_path: Path) -> None:
    """Nor metrics, with whatever method, and also for who knows the sender's token."""
    async with admin_server(tmp_path) as admin:
        paths = {re.sub(r"\{[^}]*\}", "example.com", pattern) for _, pattern in admin.routes}
    paths |= {"/metrics", "/api/v1", "/api/v1/", "/api/events/", "/api/system/health", "/debug", "/.env", "/"}
    system = ScriptedSystem()
    async with public_server(system) as server:
        for path in sorted(paths):
            for method in ("GET", "POST", "PUT", "DELETE"):
                answer = await server.send(method, path, headers={"Authorization": "Bearer sender-token"})
                assert answer.status == 404, f"{method} {path}"
    assert not system.requests


@pytest.mark.parametrize("path", ["/api/system/health/live", "/api/system", "/api/event"])
@pytest.mark.parametrize("method", METHODS)
async def test_other_methods_do_nothing(path: str, method: str) -> None:
    """What is served is served for its own methods; no other is an event."""
    system = ScriptedSystem()
    async with public_server(system) as server:
        answer = await server.send(method, path)
    served = method in ("GET", "HEAD") and path != "/api/event"
    assert answer.status == 200 if served else answer.status // 100 == 4
    assert not system.requests


async def test_health_tells_no_secret() -> None:
    """Of what there is: a version, a kind of database and states, but no path, token or site."""
    async with public_server(ScriptedSystem()) as server:
        told = [await server.send("GET", path) for _, path in sorted(HEALTH)]
    for answer in told:
        text = answer.body.decode()
        assert not re.search(r"sender-token|example\.com|/tmp|\.sqlite|Traceback", text), text
