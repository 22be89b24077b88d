"""``POST /api/event`` over real sockets, row by row of the reference's tables."""

import asyncio
import json
import tempfile
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.runtime import ActorStopped
from service.http.app import public_app, public_runner
from service.http.settings import Build, PublicSettings
from service.ingestion.verdict import REPEATED, Dropped, DropReason, Retry, RetryReason
from service.telemetry import Telemetry
from service.wire.forwarded import TrustedProxies
from tests.support.public_server import (
    EVENT,
    NOW,
    TOKEN,
    RawResponse,
    ScriptedSystem,
    parse_response,
    public_server,
)
from tests.support.running_system import FIREFOX, running_system

POST = b"POST /api/event HTTP/1.1\r\nHost: x\r\n"
FORM = "application/x-www-form-urlencoded"
UNPARSABLE = {"errors": {"request": ["Unable to parse request body as json"]}}
EMPTY_EVENT = {
    "errors": {"url": ["is required"], "domain": ["can't be blank"], "event_name": ["can't be blank"]}
}
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "",
}
FORM_EVENT = b"n=pageview&u=https%3A%2F%2Fe.com%2F&d=e.com"
MULTIPART_EVENT = b"".join(
    b'--XX\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % pair
    for pair in [(b"n", b"pageview"), (b"u", b"https://e.com/"), (b"d", b"e.com")]
)


async def post(
    body: bytes, content_type: str | None = "text/plain", system: ScriptedSystem | None = None, **headers: str
) -> RawResponse:
    """Post one event to a server that buffers everything."""
    async with public_server(system or ScriptedSystem()) as server:
        return await server.post(body, content_type, **headers)


def has_cors(response: RawResponse) -> bool:
    """Whether the three headers are there, with their values."""
    return {name: response.headers.get(name) for name in CORS} == CORS


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain", EVENT),
        ("text/plain;charset=UTF-8", EVENT),
        ("application/octet-stream", EVENT),
        ("application/json", EVENT),
        ("application/vnd.tracker+json", EVENT),
        (FORM, FORM_EVENT),
        ("multipart/form-data; boundary=XX", MULTIPART_EVENT + b"--XX--\r\n"),
    ],
)
async def test_a_valid_event_is_202_ok(content_type: str, body: bytes) -> None:
    """In every content type that carries one."""
    system = ScriptedSystem()

    response = await post(body, content_type, system)

    assert (response.status, response.body) == (202, b"ok")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["cache-control"] == "max-age=0, private, must-revalidate"
    assert has_cors(response)
    assert "x-plausible-dropped" not in response.headers
    assert [request.domains for request in system.requests] == [("e.com",)]


@pytest.mark.parametrize(
    ("content_type", "body", "status", "answer"),
    [
        ("text/plain", b"", 400, UNPARSABLE),
        ("text/plain", b"{", 400, UNPARSABLE),
        ("text/plain", b"[]", 400, UNPARSABLE),
        ("text/plain", b'{"n":"\xff"}', 400, UNPARSABLE),
        ("text/plain", b"{}", 400, EMPTY_EVENT),
        ("text/plain", b" " * 1_000_001, 400, UNPARSABLE),
        ("application/json", b"{}", 400, EMPTY_EVENT),
        ("application/json", b"", 400, EMPTY_EVENT),
        ("application/json", b"[]", 400, EMPTY_EVENT),
        ("application/json", b"7", 400, EMPTY_EVENT),
        (FORM, b"", 400, EMPTY_EVENT),
        (None, EVENT, 400, EMPTY_EVENT),
        (None, b"", 400, EMPTY_EVENT),
    ],
)
async def test_an_invalid_event_is_400_with_its_errors(
    content_type: str | None, body: bytes, status: int, answer: object
) -> None:
    """As JSON, with CORS headers, and nothing reaches the system."""
    system = ScriptedSystem()

    response = await post(body, content_type, system)

    assert (response.status, response.json()) == (status, answer)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert has_cors(response)
    assert not system.requests


@pytest.mark.parametrize(
    ("content_type", "body", "status", "message"),
    [
        ("application/json", b"{", 400, "Bad Request"),
        ("application/json", b'{"n":"\xff"}', 400, "Bad Request"),
        ("application/json", b"[" * 100_000, 400, "Bad Request"),
        ("application/json", b" " * 8_000_001, 413, None),
        (FORM, b"n=" + b"x" * 1_000_000, 413, None),
        (FORM, b"n=%ff", 415, "Unsupported Media Type"),
        ("multipart/form-data; boundary=XX", b"x" * 8_000_001, 413, None),
        ("multipart/form-data", b"x", 400, "Bad Request"),
    ],
)
async def test_a_body_that_parsers_refuse_is_shown_by_the_error_view(
    content_type: str, body: bytes, status: int, message: str | None
) -> None:
    """Without CORS headers, because it comes before them."""
    response = await post(body, content_type, Accept="application/json")

    answer = response.json()
    assert (response.status, answer["status"]) == (status, status)
    assert message is None or answer["message"] == message
    assert not any(name.startswith("access-control") for name in response.headers)
    assert "x-request-id" in response.headers


@pytest.mark.parametrize(
    ("content_type", "padding", "status"),
    [("text/plain", 1_000_000, 202), ("application/json", 8_000_000, 202), (FORM, 1_000_000, 202)],
)
async def test_a_body_as_long_as_its_limit_is_read(content_type: str, padding: int, status: int) -> None:
    """The limit itself is allowed."""
    body = FORM_EVENT + b"&x=" if content_type == FORM else EVENT
    filler = b"x" if content_type == FORM else b" "

    response = await post(body + filler * (padding - len(body)), content_type)

    assert response.status == status


async def test_a_body_without_an_end_is_read_to_the_limit_only() -> None:
    """A chunked body is cut off where the limit is passed."""
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    head = POST + b"Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with public_server(ScriptedSystem()) as server:
        received = await server.exchange(head + chunk * 3 + b"0\r\n\r\n")

    assert parse_response(received).status == 400


async def test_a_sender_that_goes_away_is_no_500() -> None:
    """Whoever hears no more gets nothing, or a 4xx."""
    head = POST + b"Content-Length: 100\r\nContent-Type: text/plain\r\n\r\n{"
    async with public_server(ScriptedSystem()) as server:
        received = await server.exchange(head)

    assert received == b"" or parse_response(received).status == 400


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [
        ("/api/event", "text/plain", b"400"),
        ("/api/event", "application/json", b"408"),
        ("/api/events", "application/json", b"400"),
    ],
)
async def test_a_body_that_does_not_come_is_given_up(path: str, content_type: str, status: bytes) -> None:
    """While the sender waits: trackers get their one sentence, parsers have a status for it."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: 100\r\n"
    async with public_server(ScriptedSystem(), body_timeout_s=0.01) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"{head}Authorization: Bearer {TOKEN}\r\n\r\n{{".encode())
        status_line = await reader.readline()
        writer.close()

    assert status_line.split()[1] == status


@pytest.mark.parametrize(
    ("domains", "headers"),
    [
        ("good.com", {}),
        ("bot.com", {"x-plausible-dropped": "1", "x-gatehouse-dropped": "bot.com=bot"}),
        ("good.com,bot.com", {"x-plausible-dropped": "1", "x-gatehouse-dropped": "bot.com=bot"}),
        (
            "bot.com,gone.com",
            {"x-plausible-dropped": "2", "x-gatehouse-dropped": "bot.com=bot, gone.com=not_found"},
        ),
        (
            "busy.com,bot.com",
            {"x-plausible-dropped": "2", "x-gatehouse-dropped": "busy.com=overloaded, bot.com=bot"},
        ),
    ],
)
@pytest.mark.parametrize("with_reasons", [True, False])
async def test_drops_are_told_in_headers(domains: str, headers: dict[str, str], with_reasons: bool) -> None:
    """Still 202 ok; the reasons only where the setting wants them."""
    system = ScriptedSystem(
        {
            "bot.com": Dropped(DropReason.BOT),
            "gone.com": Dropped(DropReason.NOT_FOUND),
            "busy.com": Retry(RetryReason.OVERLOADED),
        }
    )
    async with public_server(system, drop_reasons_header=with_reasons) as server:
        response = await server.post(b'{"n":"pageview","u":"/","d":"%b"}' % domains.encode())

    assert (response.status, response.body) == (202, b"ok")
    wanted = (
        headers if with_reasons else {key: value for key, value in headers.items() if "gatehouse" not in key}
    )
    assert {key: value for key, value in response.headers.items() if key.endswith("-dropped")} == wanted


@pytest.mark.parametrize("reason", [RetryReason.OVERLOADED, RetryReason.NOT_READY])
async def test_an_event_that_was_not_judged_is_503(reason: RetryReason) -> None:
    """With the time to wait, and CORS headers."""
    response = await post(EVENT, system=ScriptedSystem({"e.com": Retry(reason)}))

    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert has_cors(response)


async def test_a_system_that_stopped_is_503() -> None:
    """An error of the actors is no 500."""
    system = ScriptedSystem()
    system.error = ActorStopped("gone")

    assert (await post(EVENT, system=system)).status == 503


@pytest.mark.parametrize(
    ("accept", "path", "status"),
    [
        ("*/*", "/api/event", 202),
        ("application/json", "/api/event", 202),
        ("text/html", "/api/event", 406),
        ("text/html", "/api/event?_format=json", 202),
        ("*/*", "/api/event?_format=html", 406),
        ("*/*", "/api/event?d=other.com&n=x", 202),
    ],
)
async def test_the_answer_must_be_acceptable(accept: str, path: str, status: int) -> None:
    """406 when JSON is not; ``_format`` decides before the header; the query holds no fields."""
    system = ScriptedSystem()
    async with public_server(system) as server:
        response = await server.send("POST", path, EVENT, {"Accept": accept, "Content-Type": "text/plain"})

    assert response.status == status
    assert has_cors(response)
    assert [request.domains for request in system.requests] == ([("e.com",)] if status == 202 else [])


async def test_the_body_may_name_the_format() -> None:
    """As JSON or form; in a tracker's body it is a field that nobody knows."""
    body = EVENT[:-1] + b',"_format":"html"}'

    assert (await post(body, "application/json")).status == 406
    assert (await post(body, "text/plain")).status == 202


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "put"])
async def test_a_form_may_change_its_method(method: str) -> None:
    """And then there is no such route."""
    assert (await post(FORM_EVENT + b"&_method=" + method.encode(), FORM)).status == 404


async def test_other_overrides_change_nothing() -> None:
    """Only three methods can be asked for, and only where parsers read the body."""
    assert (await post(FORM_EVENT + b"&_method=GET", FORM)).status == 202
    assert (await post(EVENT[:-1] + b',"_method":"PUT"}')).status == 202


@pytest.mark.parametrize("path", ["/api/event", "/api/events", "/nowhere"])
async def test_a_preflight_is_answered_for_every_url(path: str) -> None:
    """204 without a body, with the fixed lists."""
    async with public_server(ScriptedSystem()) as server:
        response = await server.send("OPTIONS", path, headers={"Access-Control-Request-Method": "POST"})

    assert (response.status, response.body) == (204, b"")
    assert has_cors(response)
    assert response.headers["access-control-max-age"] == "1728000"
    assert response.headers["access-control-allow-methods"] == "GET,POST,PUT,PATCH,DELETE,OPTIONS"
    assert response.headers["access-control-allow-headers"] == (
        "Authorization,Content-Type,Accept,Origin,User-Agent,DNT,Cache-Control,X-Mx-ReqToken,Keep-Alive,"
        "X-Requested-With,If-Modified-Since,X-CSRF-Token"
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("OPTIONS", "/api/event"),
        ("GET", "/api/event"),
        ("HEAD", "/api/event"),
        ("PUT", "/api/event"),
        ("DELETE", "/api/event"),
        ("GET", "/"),
        ("POST", "/nowhere"),
        ("POST", "/api/health"),
        ("PROPFIND", "/api/event"),
    ],
)
async def test_everything_else_is_404(method: str, path: str) -> None:
    """Other methods and other URLs, by the error view, with CORS headers."""
    async with public_server(ScriptedSystem()) as server:
        response = await server.send(method, path, headers={"Accept": "application/json"})

    assert response.status == 404
    assert has_cors(response)
    assert method == "HEAD" or response.json() == {"status": 404, "message": "Not Found"}


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
async def test_a_body_for_an_unknown_url_is_404(content_type: str) -> None:
    """Nothing takes it there."""
    async with public_server(ScriptedSystem()) as server:
        response = await server.send("POST", "/nowhere", EVENT, {"Content-Type": content_type})

    assert response.status == 404


async def test_malformed_json_is_told_for_any_url() -> None:
    """Parsers come before routes."""
    async with public_server(ScriptedSystem()) as server:
        response = await server.send("POST", "/nowhere", b"{", {"Content-Type": "application/json"})

    assert response.status == 400
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("given_id", "is_kept"),
    [
        ("a" * 20, True),
        ("b" * 200, True),
        ("a" * 19, False),
        ("b" * 201, False),
        ("é" * 20, False),
        (None, False),
    ],
)
async def test_a_request_id_is_kept_or_made(given_id: str | None, is_kept: bool) -> None:
    """One of 20 to 200 printable characters is the sender's own."""
    async with public_server(ScriptedSystem()) as server:
        response = await server.post(EVENT, **({} if given_id is None else {"X_Request_Id": given_id}))

    made = response.headers["x-request-id"]
    assert (made == given_id) is is_kept
    assert 20 <= len(made) <= 200


async def test_made_request_ids_differ() -> None:
    """Two answers of one process are told apart."""
    async with public_server(ScriptedSystem()) as server:
        responses = [await server.post(EVENT) for _ in range(2)]

    assert responses[0].headers["x-request-id"] != responses[1].headers["x-request-id"]


async def test_the_request_holds_what_surrounds_the_body() -> None:
    """The clock's time in whole seconds, the visitor's address, class and user agent."""
    system = ScriptedSystem()
    async with public_server(system) as server:
        await server.post(
            EVENT, X_Forwarded_For="203.0.113.7", X_Plausible_IP_Type="dc_ip", User_Agent="Firefox"
        )

    (request,) = system.requests
    assert (request.timestamp, request.back_dated) == (int(NOW), False)
    assert (request.remote_ip, request.ip_class, request.user_agent) == ("203.0.113.7", "dc_ip", "Firefox")


async def test_headers_of_strangers_are_not_believed() -> None:
    """Neither the address nor its class."""
    system = ScriptedSystem()
    async with public_server(system, trusted=()) as server:
        await server.post(EVENT, X_Forwarded_For="203.0.113.7", X_Plausible_IP_Type="dc_ip")

    (request,) = system.requests
    assert (request.remote_ip, request.ip_class, request.user_agent) == ("127.0.0.1", None, None)


async def test_a_unix_socket_is_a_trusted_proxy() -> None:
    """Its peer has no address, so the headers alone tell it."""
    system = ScriptedSystem()
    settings = PublicSettings(
        trusted_proxies=TrustedProxies([]), sender_token="", build=Build("1"), geo_database=lambda: ""
    )
    runner = public_runner(
        public_app(system=system, settings=settings, clock=lambda: NOW, telemetry=Telemetry())
    )
    await runner.setup()
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders can be too long for a socket's name
        path = str(Path(folder) / "s")
        await web.UnixSite(runner, path).start()
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(
            POST
            + b"X-Forwarded-For: 203.0.113.7\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            + b"Content-Length: %d\r\n\r\n" % len(EVENT)
            + EVENT
        )
        received = await reader.read()
        writer.close()
        await runner.cleanup()

    assert parse_response(received).status == 202
    assert system.requests[0].remote_ip == "203.0.113.7"


@pytest.mark.parametrize("header", ["User-Agent", "Referer"])
async def test_a_header_beyond_8192_bytes_is_refused(header: str) -> None:
    """By the web server, with a 4xx."""
    async with public_server(ScriptedSystem()) as server:
        allowed = await server.send(
            "POST", "/api/event", EVENT, {header: "x" * 8000, "Content-Type": "text/plain"}
        )
        refused = await server.send("POST", "/api/event", EVENT, {header: "x" * 9000})

    assert allowed.status == 202
    assert 400 <= refused.status < 500


@pytest.mark.parametrize("user_agent", ["Fire\udcfffox", "\udcc3(", "Müller", "x" * 3000])
async def test_a_user_agent_of_any_bytes_goes_through_the_whole_system(
    tmp_path: Path, user_agent: str
) -> None:
    """Bytes that are no UTF-8 give a verdict, not an error."""
    async with (
        running_system(tmp_path, domains=("e.com",)) as running,
        public_server(running.system) as server,
    ):
        response = await server.post(EVENT, User_Agent=user_agent)

    assert response.status == 202


async def test_an_unknown_site_is_named_by_the_real_system(tmp_path: Path) -> None:
    """One domain is stored, the other named."""
    body = b'{"n":"pageview","u":"https://e.com/","d":"e.com,other.com"}'
    async with (
        running_system(tmp_path, domains=("e.com",)) as running,
        public_server(running.system) as server,
    ):
        response = await server.post(body, User_Agent=FIREFOX)

    assert (response.status, response.headers["x-plausible-dropped"]) == (202, "1")
    assert response.headers["x-gatehouse-dropped"] == "other.com=not_found"


CONTENT_TYPES = st.sampled_from(
    [
        "text/plain",
        "application/json",
        FORM,
        "multipart/form-data; boundary=XX",
        "application/ld+json",
        "",
        None,
    ]
)
JSON_TEXTS = st.recursive(
    st.sampled_from(
        [b"null", b"true", b"1e999", b"9" * 400, b'"\\ud800"', b'"x"', b'"\\u0000"', b"-0", b"{}", b'"\xff"']
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: b"[" + b",".join(items) + b"]")
        | st.dictionaries(
            st.sampled_from(
                [b'"n"', b'"u"', b'"d"', b'"p"', b'"$"', b'"h"', b'"e"', b'"sd"', b'"amount"', b'"x"']
            ),
            inner,
        ).map(lambda pairs: b"{" + b",".join(key + b":" + value for key, value in pairs.items()) + b"}")
    ),
    max_leaves=12,
)
URLS = st.text().map(lambda url: json.dumps({"n": "x", "d": "e.com", "u": url}).encode())


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.binary(max_size=200) | JSON_TEXTS | URLS, CONTENT_TYPES), min_size=1, max_size=15)
)
async def test_no_body_is_a_500(posts: list[tuple[bytes, str | None]]) -> None:
    """Whatever the bytes and the content type, the real system answers 202 or a 4xx."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_system(Path(folder), domains=("e.com",)) as running,
            public_server(running.system) as server,
        ):
            for body, content_type in posts:
                response = await server.post(body, content_type, User_Agent=FIREFOX)

                assert response.status == 202 or 400 <= response.status < 500


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=10))
async def test_no_bytes_in_a_request_are_a_500(pieces: list[bytes]) -> None:
    """In the path, in a header, or instead of a request."""
    async with public_server(ScriptedSystem()) as server:
        for piece in pieces:
            for sent in (
                piece,
                b"POST /api/event?" + piece + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                POST + b"X-Forwarded-For: " + piece + b"\r\n\r\n",
                POST + b"Accept: " + piece + b"\r\n\r\n",
                POST + b"Transfer-Encoding: chunked\r\n\r\n" + piece,
            ):
                received = await server.exchange(sent)

                assert not received or 400 <= parse_response(received).status < 500


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({}, 202, {}),
        ({"X-Idempotency-Key": "a"}, 202, {}),
        ({"X-Idempotency-Key": "a b"}, 400, {}),
        ({"X-Idempotency-Key": "x" * 201}, 400, {}),
        ({"X-Idempotency-Key": "again"}, 202, {"x-gatehouse-repeated": "1"}),
    ],
)
@pytest.mark.parametrize("path", ["/api/event", "/api/event?x=1"], ids=["short way", "aiohttp"])
async def test_keys(path: str, headers: dict[str, str], status: int, told: dict[str, str]) -> None:
    """A key is handed on as it is; one that cannot be a key is an error; a repeat is told in a header."""
    system = ScriptedSystem({"e.com": REPEATED} if "again" in headers.values() else {})
    async with public_server(system) as server:
        response = await server.send(
            "POST",
            path,
            b'{"n":"pageview","u":"https://e.com/","d":"e.com"}',
            {"Content-Type": "text/plain", **headers},
        )

    assert response.status == status
    assert {name: value for name, value in response.headers.items() if "gatehouse" in name} == told
    if status == 202:
        assert [request.key for request in system.requests] == [headers.get("X-Idempotency-Key")]
    else:
        assert response.json() == {
            "errors": {"idempotency_key": ["should be 1 to 200 visible ASCII character(s)"]}
        }
