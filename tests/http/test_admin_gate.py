"""What a token is good for: every route of the admin API, with each scope."""

import re
from pathlib import Path

import pytest

from service.http.admin_tokens import Scope, create_token, revoke_token
from tests.support.admin_server import admin_server

READS = [
    ("GET", "/api/v1/sites"),
    ("GET", "/api/v1/sites/example.com"),
    ("HEAD", "/api/v1/sites/example.com"),
    ("GET", "/api/v1/sites/example.com/limits"),
    ("GET", "/api/v1/sites/example.com/shields"),
    ("GET", "/api/v1/sites/goals?site_id=example.com"),
    ("GET", "/api/v1/sites/custom-props?site_id=example.com"),
    ("GET", "/api/v1/status"),
    ("POST", "/api/v1/explain"),
]
CHANGES = [
    ("POST", "/api/v1/sites"),
    ("PUT", "/api/v1/sites/example.com"),
    ("DELETE", "/api/v1/sites/example.com"),
    ("PUT", "/api/v1/sites/example.com/limits"),
    ("PUT", "/api/v1/sites/example.com/shields"),
    ("DELETE", "/api/v1/sites/example.com/shields"),
    ("PUT", "/api/v1/sites/goals"),
    ("DELETE", "/api/v1/sites/goals/1"),
    ("PUT", "/api/v1/sites/custom-props"),
    ("DELETE", "/api/v1/sites/custom-props/x"),
    ("POST", "/api/v1/flush"),
    ("POST", "/api/v1/sql"),
    ("POST", "/api/v1/quarantine/retry"),
    ("POST", "/api/v1/quarantine/drop"),
    ("POST", "/nowhere"),
    ("PATCH", "/api/v1/sites"),
]
EXPLAINED = {"n": "pageview", "u": "https://example.com/", "d": "example.com"}


def bearer(folder: Path, scope: Scope) -> dict[str, str]:
    """Make a token of the scope and give the header that brings it."""
    return {"Authorization": f"Bearer {create_token(folder, scope.value, scope, now=0.0)}"}


def _serves(pattern: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", pattern), path) is not None


@pytest.mark.parametrize(("method", "path"), READS)
@pytest.mark.parametrize("scope", list(Scope))
async def test_questions_are_answered_for_both_scopes(
    tmp_path: Path, method: str, path: str, scope: Scope
) -> None:
    """Scope write includes read."""
    async with admin_server(tmp_path) as server:
        body = EXPLAINED if method == "POST" else None
        answer = await server.send(method, path, headers=bearer(tmp_path, scope), json=body)
    assert answer.status == 200


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_token_for_reading_changes_nothing(tmp_path: Path, method: str, path: str) -> None:
    """What is no question is refused before it is looked at, and says which token would do."""
    async with admin_server(tmp_path) as server:
        answer = await server.send(method, path, headers=bearer(tmp_path, Scope.READ), json={})
        sites = await server.send("GET", "/api/v1/sites")
    assert answer.status == 403
    assert "--scope write" in answer.error
    assert [site["domain"] for site in sites.json()["sites"]] == ["example.com"]


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_token_for_writing_passes(tmp_path: Path, method: str, path: str) -> None:
    """Whatever is then said of an empty request, it is not the token."""
    async with admin_server(tmp_path) as server:
        answer = await server.send(method, path, headers=bearer(tmp_path, Scope.WRITE), json={})
    assert answer.status not in (401, 403)


async def test_tables_above_name_every_route(tmp_path: Path) -> None:
    """A new route has to say here which scope it needs."""
    async with admin_server(tmp_path) as server:
        listed = {(method, path.partition("?")[0]) for method, path in READS + CHANGES}
        listed |= {("HEAD", path) for method, path in listed if method == "GET"}
        missing = [
            (method, pattern)
            for method, pattern in server.routes
            if not any(verb == method and _serves(pattern, path) for verb, path in listed)
        ]
    assert missing == []


async def test_revoked_token_is_refused_with_the_next_request(tmp_path: Path) -> None:
    """No restart, no cache: the connection that was good is not."""
    async with admin_server(tmp_path) as server:
        headers = bearer(tmp_path, Scope.READ)
        before = await server.send("GET", "/api/v1/status", headers=headers)
        revoke_token(tmp_path, "read")
        after = await server.send("GET", "/api/v1/status", headers=headers)
    assert (before.status, after.status) == (200, 401)


async def test_damaged_list_of_tokens_is_a_503(tmp_path: Path) -> None:
    """Nobody is let in, and the answer does not tell where the list is."""
    async with admin_server(tmp_path) as server:
        (tmp_path / "admin-tokens.json").write_text("{")
        answer = await server.send("GET", "/api/v1/status")
    assert (answer.status, answer.error) == (
        503,
        "Tokens cannot be checked; the log of the service says why.",
    )
