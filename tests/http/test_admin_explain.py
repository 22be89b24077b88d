"""``POST /api/v1/explain`` over real connections."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.ingestion.verdict import BUFFERED
from tests.support.admin_server import AdminServer, admin_server
from tests.support.folders import short_folder
from tests.support.running_system import FIREFOX

QUESTION: dict[str, Any] = {
    "n": "pageview",
    "u": "https://example.com/hello",
    "r": "https://www.google.com/",
    "headers": {"User-Agent": FIREFOX, "X-Forwarded-For": "203.0.113.1"},
}


async def ask(server: AdminServer, **fields: Any) -> Any:
    """Ask a question and give the answer."""
    answer = await server.send("POST", "/api/v1/explain", json=QUESTION | fields)
    assert answer.status == 200, answer
    return answer.json()


async def test_an_event_is_explained(tmp_path: Path) -> None:
    """The answer tells how the request was read and, by domain, every step, the session and the rows."""
    async with admin_server(tmp_path) as server:
        answer = await ask(server)
    assert [step["step"] for step in answer["request"]] == ["remote_ip", "read_request"]
    assert answer["request"][0]["used"] == {
        "told_by": "x-forwarded-for",
        "peer": "127.0.0.1",
        "peer_is_trusted": True,
        "value": "203.0.113.1",
    }
    (domain,) = answer["domains"]
    assert (domain["domain"], domain["site_id"], domain["verdict"], domain["reason"]) == (
        "example.com",
        1,
        "buffered",
        None,
    )
    assert [step["step"] for step in domain["steps"]][:4] == [
        "drop_spam_referrer",
        "find_site",
        "gate",
        "drop_datacenter_ip",
    ]
    assert domain["session"]["does"] == "opens"
    (row,), (session,) = domain["rows"]["events_v2"], domain["rows"]["sessions_v2"]
    assert (row["pathname"], row["referrer_source"], row["browser"]) == ("/hello", "Google", "Firefox")
    assert (row["session_id"], session["sign"], session["user_id"]) == (None, 1, row["user_id"])


async def test_live_sessions_are_seen(tmp_path: Path) -> None:
    """The visitor's session of the running system is the one that is joined."""
    async with admin_server(tmp_path) as server:
        assert await server.running.send(server.running.request(visitor=1)) == [BUFFERED]
        answer = await ask(server)
        other = await ask(server, ip="203.0.113.9", headers={})
    assert answer["domains"][0]["session"]["does"] == "joins"
    assert answer["domains"][0]["session"]["pageviews"] == 1
    assert [row["sign"] for row in answer["domains"][0]["rows"]["sessions_v2"]] == [-1, 1]
    assert other["domains"][0]["session"]["does"] == "opens"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"nonsense", "request: must be a JSON object."),
        (b'{"n":"pageview","u":"https://example.com/","ip":"x"}', "ip: must be an IPv4 or IPv6 address."),
        (b'{"u":"https://example.com/"}', "event_name: can't be blank."),
    ],
)
async def test_what_is_no_event_is_a_400(tmp_path: Path, body: bytes, message: str) -> None:
    """What the event API would refuse is refused with all its errors in a sentence."""
    async with admin_server(tmp_path) as server:
        answer = await server.send("POST", "/api/v1/explain", body=body)
    assert (answer.status, answer.error) == (400, message)


texts = st.text(max_size=30)


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.fixed_dictionaries(
            {"n": texts, "u": st.just("https://example.com/") | texts, "d": st.just("example.com") | texts},
            optional={
                "r": texts,
                "p": st.dictionaries(texts, texts, max_size=3),
                "ip": st.ip_addresses().map(str) | texts,
                "user_agent": texts,
                "headers": st.dictionaries(texts, texts, max_size=3),
            },
        ),
        max_size=10,
    )
)
def test_any_texts_have_an_answer(questions: list[dict[str, Any]]) -> None:
    """Whatever texts the fields hold, there is an explanation or a 400 with a sentence."""

    async def run() -> None:
        with short_folder() as folder:
            async with admin_server(folder) as server:
                for question in questions:
                    answer = await server.send("POST", "/api/v1/explain", json=question)
                    assert answer.status in (200, 400)
                    assert answer.json()

    asyncio.run(run())
