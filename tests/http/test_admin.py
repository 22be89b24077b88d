"""The admin API over real connections: keys, errors, and the routes that concern the whole service."""

import asyncio
from pathlib import Path

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.ingestion.verdict import BUFFERED, Dropped, DropReason
from tests.support.admin_server import TOKEN, admin_server
from tests.support.folders import short_folder

NO_KEY = "Missing API key. Please use a valid Plausible API key as a Bearer Token."
WRONG_KEY = (
    "Invalid API key. Please make sure you're using a valid API key"
    " with access to the resource you've requested."
)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, NO_KEY),
        ({"Authorization": ""}, NO_KEY),
        ({"Authorization": "Bearer"}, NO_KEY),
        ({"Authorization": "Bearer "}, NO_KEY),
        ({"Authorization": TOKEN}, NO_KEY),
        ({"Authorization": f"Basic {TOKEN}"}, NO_KEY),
        ({"Authorization": "Bearer wrong"}, WRONG_KEY),
        ({"Authorization": f"Bearer {TOKEN}x"}, WRONG_KEY),
        ({"Authorization": "Bearer ключ"}, WRONG_KEY),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/sites", "/api/v1/status", "/nowhere"])
async def test_token_is_wanted_everywhere(
    tmp_path: Path, path: str, header: dict[str, str], message: str
) -> None:
    """Without the token every path, also an unknown one, answers 401 with the reference's sentence."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("GET", path, headers=header)
    assert (answer.status, answer.error) == (401, message)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_token_opens(tmp_path: Path, scheme: str) -> None:
    """With the token there is an answer."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("GET", "/api/v1/sites", headers={"Authorization": f"{scheme} {TOKEN}"})
    assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "Not Found"),
        ("GET", "/api/v1/nothing", 404, "Not Found"),
        ("GET", "/api/v1/sites/example.com/nothing", 404, "Not Found"),
        ("PATCH", "/api/v1/sites", 405, "Method Not Allowed"),
        ("GET", "/api/v1/flush", 405, "Method Not Allowed"),
    ],
)
async def test_unknown_route_is_told_in_json(
    tmp_path: Path, method: str, path: str, status: int, message: str
) -> None:
    """A path or method that is not there gets a clear 4xx."""
    async with admin_server(tmp_path) as server:
        answer = await server.send(method, path)
    assert (answer.status, answer.error) == (status, message)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\xff",
        b'{"domain":"\\ud800"}',
        b'{"domain":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"domain":' + b"9" * 5000 + b"}",
    ],
)
async def test_bad_body_is_a_400(tmp_path: Path, body: bytes) -> None:
    """A body that is no JSON object of the right kind is refused with a sentence."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", "/api/v1/sites", body=body)
    assert answer.status == 400
    assert answer.error


async def test_large_body_is_a_413(tmp_path: Path) -> None:
    """A body over a mebibyte is refused."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", "/api/v1/sites", body=b" " * (1024 * 1024 + 1))
    assert answer.status == 413
    assert answer.error


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--b--',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\nx\r\n--b--\r\n',
        ),
        ("application/x-www-form-urlencoded; charset=nonsense", b"domain=a.example"),
        ("application/x-www-form-urlencoded", b"domain=%ff%00"),
        ("application/x-www-form-urlencoded", b"\xff=\xfe&&&=&tracker_script_configuration=1"),
        ("application/json", b'{"domain":"a.example","limits":{"threshold":1e400}}'),
        ("", b"\x00"),
    ],
)
async def test_odd_body_is_a_400(tmp_path: Path, content_type: str, body: bytes) -> None:
    """A form that cannot be read is refused with a sentence, never with a 500."""
    async with admin_server(tmp_path) as server:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": content_type}
        answer = await server.send("POST", "/api/v1/sites", body=body, headers=headers)
    assert answer.status == 400
    assert answer.error


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
SITE_FIELDS = ("domain", "timezone", "limits", "tracker_script_configuration", "site_id", "property")
LIMIT_FIELDS = ("threshold", "scale_seconds", "accept_traffic_until", "kind", "value")
GOAL_FIELDS = ("goal_type", "event_name", "page_path", "display_name", "custom_props", "currency")
LIST_FIELDS = ("after", "before", "limit", "details")
FIELDS = st.sampled_from(SITE_FIELDS + LIMIT_FIELDS + GOAL_FIELDS + LIST_FIELDS)
ROUTES = st.sampled_from(
    [
        ("POST", "/api/v1/sites"),
        ("GET", "/api/v1/sites"),
        ("PUT", "/api/v1/sites/example.com"),
        ("PUT", "/api/v1/sites/example.com/limits"),
        ("PUT", "/api/v1/sites/example.com/shields"),
        ("DELETE", "/api/v1/sites/example.com/shields"),
        ("GET", "/api/v1/sites/goals"),
        ("PUT", "/api/v1/sites/goals"),
        ("DELETE", "/api/v1/sites/goals/1"),
        ("PUT", "/api/v1/sites/custom-props"),
        ("DELETE", "/api/v1/sites/custom-props/x"),
    ]
)


@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(
    requests=st.lists(
        st.tuples(ROUTES, st.dictionaries(FIELDS, JSON_VALUES | st.just("example.com"), max_size=5)),
        min_size=20,
        max_size=40,
    )
)
def test_no_json_gives_a_500(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[tuple[str, str], dict[str, object]]]
) -> None:
    """Whatever JSON object is sent to a route, the answer is a success or a clear 4xx."""

    async def send_all() -> None:
        async with admin_server(tmp_path_factory.mktemp("admin")) as server:
            for (method, path), body in requests:
                answer = await server.send(method, path, json=body)
                assert answer.status in (200, 400, 404), (method, path, body, answer)
                assert answer.json()

    asyncio.run(send_all())


async def test_owner_needs_no_token_on_the_socket(tmp_path: Path) -> None:
    """Over the Unix socket the same API answers without a token."""
    with short_folder() as folder:
        async with admin_server(tmp_path, socket=folder / "admin.sock") as server:
            answer = await server.send("GET", "/api/v1/sites", headers={})
    assert answer.status == 200


async def test_change_is_in_force_for_the_next_event(tmp_path: Path) -> None:
    """Once the answer is there, the next event meets the new site, limit, rule, and the deletion."""
    async with admin_server(tmp_path) as server:
        running = server.running

        async def judge() -> object:
            return (await running.send(running.request("new.example")))[0]

        assert await judge() == Dropped(DropReason.NOT_FOUND)
        await server.send("POST", "/api/v1/sites", json={"domain": "new.example"})
        assert await judge() == BUFFERED
        await server.send("PUT", "/api/v1/sites/new.example/limits", json={"threshold": 0})
        assert await judge() == Dropped(DropReason.BLOCK)
        await server.send("PUT", "/api/v1/sites/new.example/limits", json={"threshold": None})
        rule = {"kind": "page", "value": "/*"}
        await server.send("PUT", "/api/v1/sites/new.example/shields", json=rule)
        assert await judge() == Dropped(DropReason.SITE_PAGE_BLOCKLIST)
        await server.send("DELETE", "/api/v1/sites/new.example/shields", json=rule)
        assert await judge() == BUFFERED
        await server.send("DELETE", "/api/v1/sites/new.example")
        assert await judge() == Dropped(DropReason.NOT_FOUND)


async def test_flush_answers_when_the_rows_are_in(tmp_path: Path) -> None:
    """After a flush the store holds what was buffered, and the answer counts it."""
    async with admin_server(tmp_path) as server:
        await server.running.send(server.running.request("example.com"))
        await server.running.send(server.running.request("example.com"))
        answer = await server.send("POST", "/api/v1/flush")
        assert (answer.status, answer.json()) == (200, {"flushed": 2})
        assert len(server.store.events) == 2


async def test_stopped_system_is_a_503(tmp_path: Path) -> None:
    """A flush of a system that has stopped is refused for now."""
    async with admin_server(tmp_path) as server:
        await server.running.system.stop(deadline_s=1.0)
        answer = await server.send("POST", "/api/v1/flush")
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.error == "The service is busy or stopping; please try again."


async def test_closed_store_of_sites_is_a_503(tmp_path: Path) -> None:
    """While the sites' database cannot be used, a change is refused for now."""
    async with admin_server(tmp_path) as server:
        await server.running.sites.close()
        answer = await server.send("POST", "/api/v1/sites", json={"domain": "a.example"})
    assert answer.status == 503
    assert "is not open" in answer.error


async def test_status_tells_readiness_and_figures(tmp_path: Path) -> None:
    """The status names every check and the figures of the moment."""
    async with admin_server(tmp_path) as server:
        answer = (await server.send("GET", "/api/v1/status")).json()
        assert answer["ready"] is True
        assert set(answer["checks"].values()) == {"ok"}
        assert answer["statistics"]["sites_known"] == 1


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("/api/v1/sql", b"SELECT 1", ("SELECT 1", "TabSeparatedWithNames")),
        ("/api/v1/sql?format=CSV", b"SELECT 1", ("SELECT 1", "CSV")),
        ("/api/v1/sql?format=", "SELECT 'ä'".encode(), ("SELECT 'ä'", "TabSeparatedWithNames")),
    ],
)
async def test_sql_is_answered_in_the_format_asked_for(
    tmp_path: Path, path: str, body: bytes, asked: tuple[str, str]
) -> None:
    """The body is the statement, the query names the format, the answer is streamed as it is."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", path, body=body)
    assert (answer.status, answer.body) == (200, b"one\ntwo\n")
    assert server.store.asked == [asked]


async def test_sql_may_come_as_curl_sends_it(tmp_path: Path) -> None:
    """A statement that says to be a form, as curl's --data-binary does, is a statement."""
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", "/api/v1/sql", body=b"SELECT 1 + 1", headers=headers)
    assert answer.status == 200
    assert server.store.asked == [("SELECT 1 + 1", "TabSeparatedWithNames")]


async def test_answers_do_not_name_versions(tmp_path: Path) -> None:
    """The server is called gatehouse, whatever it is made of."""
    async with admin_server(tmp_path) as server:
        for path in ("/api/v1/status", "/nowhere"):
            assert (await server.send("GET", path)).headers["Server"] == "gatehouse"


async def test_sql_may_come_as_json(tmp_path: Path) -> None:
    """Statement and format may stand in a JSON object."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", "/api/v1/sql", json={"query": "SELECT 1", "format": "CSV"})
    assert (answer.status, answer.body) == (200, b"one\ntwo\n")
    assert server.store.asked == [("SELECT 1", "CSV")]


async def test_empty_answer_is_an_answer(tmp_path: Path) -> None:
    """A SELECT without rows is answered with nothing."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", "/api/v1/sql", body=b"SELECT nothing")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/v1/sql", b"NONSENSE", "Syntax error: NONSENSE"),
        ("/api/v1/sql", b"", "The body must hold a SELECT statement."),
        ("/api/v1/sql", b" \n", "The body must hold a SELECT statement."),
        ("/api/v1/sql", b"\xff", "The statement is not valid UTF-8."),
        (
            "/api/v1/sql?format=CSV;DROP",
            b"SELECT 1",
            "format must be the name of one of ClickHouse's output formats.",
        ),
    ],
)
async def test_bad_sql_is_a_400(tmp_path: Path, path: str, body: bytes, message: str) -> None:
    """A statement that cannot be answered is refused with ClickHouse's, or our, sentence."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", path, body=body)
    assert (answer.status, answer.error) == (400, message)


async def test_broken_answer_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """When the store fails in the middle of an answer, the connection breaks."""
    async with admin_server(tmp_path) as server:
        with pytest.raises(aiohttp.ClientPayloadError):
            await server.send("POST", "/api/v1/sql", body=b"SELECT half")


async def test_statistics_are_json(tmp_path: Path) -> None:
    """Every figure of the status is a number."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("GET", "/api/v1/status")
    statistics = msgspec.convert(answer.json()["statistics"], dict[str, float])
    assert statistics
