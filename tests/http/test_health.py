"""Monitors get the reference's answers, and more to read."""

from pathlib import Path

import pytest

from tests.support.public_server import ALL_WELL, Report, ScriptedSystem, public_server
from tests.support.running_system import running_system

AWAY = "ClickHouse does not answer"


@pytest.mark.parametrize("path", ["/api/health", "/api/system/health/ready"])
async def test_a_system_that_takes_events_is_ready(path: str) -> None:
    """200, the reference's four names, and every part by its own name."""
    async with public_server(ScriptedSystem()) as server:
        response = await server.send("GET", path)

    assert response.status == 200
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.json() == {
        "postgres": "ok",
        "clickhouse": "ok",
        "sites_cache": "ok",
        "sessions": "ok",
        "ready": True,
        "state": "ready",
        "checks": ALL_WELL.checks,
    }


@pytest.mark.parametrize(
    ("report", "status", "state", "four"),
    [
        (
            Report(ready=True, checks={"sites": "ok", "clickhouse": AWAY}),
            200,
            "degraded",
            ["ok", "error", "ok", "ok"],
        ),
        (
            Report(ready=False, checks={"sites": "not loaded yet"}),
            500,
            "not ready",
            ["error", "ok", None, "waiting"],
        ),
        (
            Report(ready=False, checks={"sites": "ok", "salts": "none"}),
            500,
            "not ready",
            ["ok", "ok", "ok", "waiting"],
        ),
    ],
)
async def test_trouble_is_told_in_the_references_words(
    report: Report, status: int, state: str, four: list[str | None]
) -> None:
    """500 only when no events are taken; the sentence stands among the checks."""
    system = ScriptedSystem()
    system.report = report
    async with public_server(system) as server:
        response = await server.send("GET", "/api/health")

    answer = response.json()
    assert response.status == status
    assert [answer[name] for name in ("postgres", "clickhouse", "sites_cache", "sessions")] == four
    assert answer["checks"] == report.checks
    assert answer["state"] == state


async def test_the_real_system_is_ready_once_it_runs(tmp_path: Path) -> None:
    """And not any more once it stopped."""
    async with running_system(tmp_path) as running, public_server(running.system) as server:
        running_status = (await server.send("GET", "/api/health")).status
        await running.system.stop(deadline_s=1.0)
        stopped = await server.send("GET", "/api/health")
        stopped_status, why = stopped.status, stopped.json()["checks"]["front"]

    assert (running_status, stopped_status) == (200, 500)
    assert "starts or stops" in why


async def test_a_live_process_says_so() -> None:
    """Whatever the state of its parts."""
    system = ScriptedSystem()
    system.report = Report(ready=False, checks={})
    async with public_server(system) as server:
        response = await server.send("GET", "/api/system/health/live")

    assert (response.status, response.json()) == (200, {"ok": True})


async def test_the_system_describes_itself() -> None:
    """Its build, and the database of locations in force at the moment."""
    kinds = iter(["GeoLite2-City", "DBIP-City-Lite"])
    async with public_server(ScriptedSystem(), geo_database=lambda: next(kinds)) as server:
        before = await server.send("GET", "/api/system")
        after = await server.send("GET", "/api/system")

    assert before.json() == {
        "geo_database": "GeoLite2-City",
        "build": {"version": "1.2.3", "commit": "", "created": "", "tags": ""},
    }
    assert after.json()["geo_database"] == "DBIP-City-Lite"


async def test_the_oldest_script_may_tell_an_error() -> None:
    """It is answered with nothing."""
    async with public_server(ScriptedSystem()) as server:
        response = await server.send("GET", "/api/error?message=x")

    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize("path", ["/api/health", "/api/system", "/api/system/health/live"])
async def test_head_is_get_without_a_body(path: str) -> None:
    """A monitor may save the bytes."""
    async with public_server(ScriptedSystem()) as server:
        response = await server.send("HEAD", path)

    assert (response.status, response.body) == (200, b"")
