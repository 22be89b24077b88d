"""A question about an event: read as the public listener would read the request itself."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.request import FieldError
from service.wire.explain_api import MAX_HEADERS, Asked, decode_question, describe_errors
from service.wire.forwarded import TrustedProxies

NOW = 1_795_003_200.9
TRUSTED = TrustedProxies(("127.0.0.0/8", "10.0.0.0/8"))
PAGE = {"n": "pageview", "u": "https://www.example.com/a?b=c#d"}


def ask(**fields: Any) -> Asked:
    """Read a question that must be good."""
    asked = decode_question(msgspec.json.encode(PAGE | fields), now=NOW, trusted=TRUSTED)
    assert isinstance(asked, Asked), asked
    return asked


@pytest.mark.parametrize(
    ("fields", "remote_ip", "told_by"),
    [
        ({}, "127.0.0.1", "peer"),
        ({"ip": "203.0.113.7"}, "203.0.113.7", "peer"),
        ({"ip": " 2001:DB8::1 "}, "2001:db8::1", "peer"),
        ({"headers": {"X-Forwarded-For": "198.51.100.1, 10.0.0.1"}}, "198.51.100.1", "x-forwarded-for"),
        (
            {"headers": {"x-plausible-ip": "nonsense", "Forwarded": "for=198.51.100.1"}},
            "198.51.100.1",
            "forwarded",
        ),
        ({"ip": "10.1.2.3", "headers": {"x-plausible-ip": "198.51.100.1"}}, "198.51.100.1", "x-plausible-ip"),
        ({"ip": "203.0.113.7", "headers": {"x-plausible-ip": "198.51.100.1"}}, "203.0.113.7", "peer"),
    ],
)
def test_address(fields: dict[str, Any], remote_ip: str, told_by: str) -> None:
    """Headers count as far as the address that connects is trusted, and the one that told is named."""
    asked = ask(**fields)
    report = asked.steps[0]
    assert asked.request.remote_ip == remote_ip
    assert (report.step, report.used["told_by"], report.set) == (
        "remote_ip",
        told_by,
        {"remote_ip": remote_ip},
    )


@pytest.mark.parametrize(
    ("fields", "user_agent"),
    [
        ({}, None),
        ({"user_agent": "A"}, "A"),
        ({"headers": {"USER-AGENT": " A "}}, "A"),
        ({"user_agent": "A", "headers": {"user-agent": "B"}}, "A"),
    ],
)
def test_user_agent(fields: dict[str, Any], user_agent: str | None) -> None:
    """The user agent is a header or a field of its own, which goes first."""
    assert ask(**fields).request.user_agent == user_agent


def test_event() -> None:
    """The event's fields are those of a tracker, short or long, and the server's time is taken."""
    asked = ask(p={"plan": "pro"}, i=False, name="ignored", headers={"x-plausible-ip-type": "dc_ip"})
    request = asked.request
    assert (request.timestamp, request.back_dated) == (1_795_003_200, False)
    assert (request.hostname, request.domains, request.query) == ("example.com", ("example.com",), {"b": "c"})
    assert (request.props, request.interactive, request.ip_class) == ((("plan", "pro"),), True, "dc_ip")
    assert asked.steps[1].sentence == "pageview of /a on example.com, for example.com."


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "request: must be a JSON object."),
        (b"[]", "request: must be a JSON object."),
        (b'{"n": "\xff"}', "request: must be a JSON object."),
        (b"[" * 5000, "request: must be a JSON object."),
        (b"{}", "event_name: can't be blank; url: is required; domain: can't be blank."),
        (PAGE | {"u": "data:text/html,x", "d": "a"}, "url: scheme is not allowed."),
        (PAGE | {"ip": "localhost"}, "ip: must be an IPv4 or IPv6 address."),
        (PAGE | {"ip": 7, "d": " "}, "ip: must be an IPv4 or IPv6 address; domain: can't be blank."),
        (PAGE | {"headers": []}, "headers: must be an object of texts."),
        (PAGE | {"headers": {"a": 1}}, "headers: must be an object of texts."),
        (
            PAGE | {"headers": {str(number): "" for number in range(MAX_HEADERS + 1)}},
            "headers: should have at most 100 item(s).",
        ),
        (PAGE | {"headers": {"a": "x" * 8193}}, "headers: should each be at most 8192 byte(s)."),
        (PAGE | {"user_agent": 1}, "user_agent: must be a text of at most 8192 byte(s)."),
        (PAGE | {"user_agent": "x" * 8193}, "user_agent: must be a text of at most 8192 byte(s)."),
    ],
)
def test_what_is_wrong(body: bytes | dict[str, Any], sentence: str) -> None:
    """All that is wrong with a question is told at once, in the words of the event API."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    errors = decode_question(raw, now=NOW, trusted=TRUSTED)
    assert isinstance(errors, list)
    assert {*describe_errors(errors).rstrip(".").split("; ")} == {*sentence.rstrip(".").split("; ")}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(
    [
        "n",
        "u",
        "d",
        "r",
        "p",
        "m",
        "h",
        "i",
        "$",
        "sd",
        "e",
        "v",
        "ip",
        "user_agent",
        "headers",
        "url",
        "_method",
    ]
)


@given(st.binary() | st.dictionaries(names, values).map(msgspec.json.encode))
def test_anything_is_read_or_refused(body: bytes) -> None:
    """Whatever the bytes are, there is a question or a list of errors, and both can be told in JSON."""
    found = decode_question(body, now=NOW, trusted=TRUSTED)
    if isinstance(found, Asked):
        msgspec.json.encode(found.steps)
    else:
        assert found
        assert all(isinstance(error, FieldError) for error in found)
        describe_errors(found)
