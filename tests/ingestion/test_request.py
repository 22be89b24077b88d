"""A request is built of the fields on the wire, or refused with everything that is wrong."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.raw_event import RawEvent, UsualEvent
from service.ingestion.request import FieldError, Request, Revenue, build_request, build_usual

VALID: dict[str, Any] = {"n": "pageview", "u": "https://example.com/", "d": "example.com"}
MISSING: Any = object()

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
WIRE_NAMES = st.sampled_from([field.encode_name for field in msgspec.structs.fields(RawEvent)])


def build(fields: dict[str, Any], **changes: Any) -> Request | list[FieldError]:
    """Build a request of JSON fields; a change to MISSING leaves a field out."""
    wire = {name: value for name, value in {**fields, **changes}.items() if value is not MISSING}
    raw = msgspec.json.decode(msgspec.json.encode(wire), type=RawEvent)
    return build_request(
        raw, timestamp=1_700_000_000, remote_ip="192.0.2.1", user_agent="Test", ip_class=None
    )


def accept(**changes: Any) -> Request:
    """Build a request that is valid."""
    request = build(VALID, **changes)
    assert isinstance(request, Request), request
    return request


def errors_of(fields: dict[str, Any], **changes: Any) -> dict[str, list[str]]:
    """Build a request that is not, and give its messages by field."""
    errors = build(fields, **changes)
    assert isinstance(errors, list), errors
    found: dict[str, list[str]] = {}
    for error in errors:
        found.setdefault(error.field, []).append(error.message)
    return found


def test_an_empty_object_misses_three_fields() -> None:
    """All errors are told at once."""
    assert errors_of({}) == {
        "url": ["is required"],
        "domain": ["can't be blank"],
        "event_name": ["can't be blank"],
    }


def test_what_is_given_from_outside_is_kept() -> None:
    """Time, address, user agent and address class do not come from the body."""
    raw = RawEvent(n="pageview", u="https://example.com", d="example.com")

    request = build_request(
        raw, timestamp=7, remote_ip="::1", user_agent=None, ip_class="dc_ip", back_dated=True
    )

    assert isinstance(request, Request)
    assert (request.timestamp, request.remote_ip, request.user_agent) == (7, "::1", None)
    assert (request.ip_class, request.back_dated) == ("dc_ip", True)


NO_ENGAGEMENT = "engagement event requires a valid integer value for at least one of 'sd' or 'e' fields"


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"u": MISSING}, {"url": ["is required"]}),
        ({"u": None}, {"url": ["is required"]}),
        ({"u": 7}, {"url": ["must be a valid url"]}),
        ({"u": ["x"]}, {"url": ["must be a valid url"]}),
        ({"u": True}, {"url": ["must be a valid url"]}),
        ({"u": "http://e.com/" + "a" * 1988}, {"url": ["must be a valid url"]}),
        ({"u": "http://e.com/" + "é" * 994}, {"url": ["must be a valid url"]}),
        ({"u": "data:text/html,x"}, {"url": ["scheme is not allowed"]}),
        ({"u": "DATA:x"}, {"url": ["scheme is not allowed"]}),
        ({"u": None, "d": None}, {"url": ["is required"], "domain": ["can't be blank"]}),
        ({"d": ""}, {"domain": ["can't be blank"]}),
        ({"d": " \u2003"}, {"domain": ["can't be blank"]}),
        ({"d": None, "u": "/page"}, {"domain": ["can't be blank"]}),
        ({"d": "a," * 1000}, {"domain": ["should have at most 1000 item(s)"]}),
        ({"n": MISSING}, {"event_name": ["can't be blank"]}),
        ({"n": ""}, {"event_name": ["can't be blank"]}),
        ({"n": "", "name": "pageview"}, {"event_name": ["can't be blank"]}),
        ({"n": " \t"}, {"event_name": ["can't be blank"]}),
        ({"n": True}, {"event_name": ["is invalid"]}),
        ({"n": 1.5}, {"event_name": ["is invalid"]}),
        ({"n": {}}, {"event_name": ["is invalid"]}),
        ({"n": []}, {"event_name": ["is invalid"]}),
        ({"n": "é" * 121}, {"event_name": ["should be at most 120 character(s)"]}),
        ({"h": 1.0}, {"hash_mode": ["is invalid"]}),
        ({"h": True}, {"hash_mode": ["is invalid"]}),
        ({"h": "one"}, {"hash_mode": ["is invalid"]}),
        ({"h": "1 "}, {"hash_mode": ["is invalid"]}),
        ({"h": {}}, {"hash_mode": ["is invalid"]}),
        ({"h": "0" * 100_000 + "x"}, {"hash_mode": ["is invalid"]}),
        ({"u": "http://www."}, {"hostname": ["can't be blank"]}),
        ({"u": "http://  /x"}, {"hostname": ["can't be blank"]}),
        ({"u": "foo:%20"}, {"pathname": ["can't be blank"]}),
        ({"p": {"k" * 301: "v"}}, {"props": ["keys should have at most 300 bytes and values 2000 bytes"]}),
        ({"p": {"k": "v" * 2001}}, {"props": ["keys should have at most 300 bytes and values 2000 bytes"]}),
        ({"n": "engagement"}, {"event_name": [NO_ENGAGEMENT]}),
        ({"n": "engagement", "e": 0}, {"event_name": [NO_ENGAGEMENT]}),
        ({"n": "engagement", "sd": -1, "e": 2_592_000_000}, {"event_name": [NO_ENGAGEMENT]}),
        ({"n": "engagement", "sd": 50.5, "e": "1s"}, {"event_name": [NO_ENGAGEMENT]}),
    ],
)
def test_what_is_refused(changes: dict[str, Any], errors: dict[str, list[str]]) -> None:
    """Fields and messages are the reference's own."""
    assert errors_of(VALID, **changes) == errors


def test_all_errors_are_collected() -> None:
    """None hides another."""
    found = errors_of({"n": 1.5, "u": "http://www./%20", "d": " ", "h": "x", "p": {"k": "v" * 2001}})

    assert sorted(found) == ["domain", "event_name", "hash_mode", "hostname", "props"]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"n": "pageview"}, "pageview"),
        ({"n": None, "name": "Signup"}, "Signup"),
        ({"n": False, "name": "Signup"}, "Signup"),
        ({"n": "Short", "name": "Long"}, "Short"),
        ({"n": " Signup "}, " Signup "),
        ({"n": 42}, "42"),
        ({"n": -(10**50)}, "-1" + "0" * 50),
        ({"n": "x" * 120}, "x" * 120),
        ({"n": "e\u0301" * 120}, "e\u0301" * 120),
        ({"n": "\x00"}, "\x00"),
    ],
)
def test_the_event_name_is(changes: dict[str, Any], name: str) -> None:
    """Verbatim, up to 120 graphemes; an integer becomes its digits."""
    assert accept(**changes).event_name == name


@pytest.mark.parametrize(
    ("address", "host", "hostname", "pathname"),
    [
        ("https://www.example.com/a/b/", "www.example.com", "example.com", "/a/b/"),
        ("https://WWW.Example.com./", "WWW.Example.com.", "WWW.Example.com.", "/"),
        ("https://example.com", "example.com", "example.com", "/"),
        ("/blog?a=b", None, "(none)", "/blog"),
        ("example.com/foo", None, "(none)", "example.com/foo"),
        ("file:///x", "", "(none)", "/x"),
        ("", None, "(none)", "/"),
        ("http://e.com/x%20", "e.com", "e.com", "/x"),
        ("http://e.com/%20", "e.com", "e.com", "/"),
        ("http://e.com/a+b%2Bc", "e.com", "e.com", "/a+b+c"),
        ("http://e.com/%ff", "e.com", "e.com", "/\udcff"),
        ("http://e.com//a//b", "e.com", "e.com", "//a//b"),
        ("http://e.com/a?b#c", "e.com", "e.com", "/a"),
    ],
)
def test_a_url_gives(address: str, host: str | None, hostname: str, pathname: str) -> None:
    """Host, hostname and pathname."""
    request = accept(u=address)

    assert (request.url_host, request.hostname, request.pathname) == (host, hostname, pathname)


@pytest.mark.parametrize("name", ["u", "url"])
def test_the_url_has_two_names(name: str) -> None:
    """The long name is read when the short one is absent."""
    assert accept(**{"u": MISSING, name: "https://e.com/x"}).pathname == "/x"


@pytest.mark.parametrize(
    ("mode", "pathname"),
    [
        ({"h": 1}, "/a#b c "),
        ({"h": "1"}, "/a#b c "),
        ({"h": "+01"}, "/a#b c "),
        ({"hashMode": 1}, "/a#b c "),
        ({"h": False, "hashMode": 1}, "/a#b c "),
        ({"h": 0}, "/a"),
        ({"h": 0, "hashMode": 1}, "/a"),
        ({"h": 2}, "/a"),
        ({"h": ""}, "/a"),
        ({"h": None}, "/a"),
        ({"h": "9" * 9000}, "/a"),
        ({}, "/a"),
    ],
)
def test_the_fragment_counts_only_for_exactly_one(mode: dict[str, Any], pathname: str) -> None:
    """It is decoded, but not trimmed, and comes after the trimmed path."""
    assert accept(u="http://e.com/a%20#b%20c%20", **mode).pathname == pathname


def test_an_empty_fragment_is_none() -> None:
    """A bare ``#`` adds nothing."""
    assert accept(u="http://e.com/a#", h=1).pathname == "/a"


@pytest.mark.parametrize(
    ("address", "query"),
    [
        ("http://e.com/", None),
        ("http://e.com/?", {}),
        ("http://e.com/?utm_source=a+b&utm_source=c%20d#x?y=z", {"utm_source": "c d"}),
    ],
)
def test_the_query_is(address: str, query: dict[str, str] | None) -> None:
    """Nothing without a question mark; else decoded pairs."""
    assert accept(u=address).query == query


@pytest.mark.parametrize(
    ("changes", "domains"),
    [
        ({"d": "example.com"}, ("example.com",)),
        ({"d": " www.Example.com "}, ("Example.com",)),
        ({"d": "a.com, www.b.com ,c.com"}, ("a.com", "b.com", "c.com")),
        ({"d": "a.com,a.com"}, ("a.com", "a.com")),
        ({"d": "a.com,"}, ("a.com", "")),
        ({"d": MISSING, "domain": "b.com"}, ("b.com",)),
        ({"d": False, "domain": "b.com"}, ("b.com",)),
        ({"d": None}, ("e.com",)),
        ({"d": 7}, ("e.com",)),
        ({"d": {"x": 1}}, ("e.com",)),
        ({"d": None, "u": "file:///x"}, ("",)),
    ],
)
def test_the_domains_are(changes: dict[str, Any], domains: tuple[str, ...]) -> None:
    """A comma-separated text, else the URL's host; no lower-casing, no de-duplication."""
    assert accept(**{"u": "http://www.e.com/", **changes}).domains == domains


@pytest.mark.parametrize(
    ("changes", "referrer"),
    [
        ({}, None),
        ({"r": None}, None),
        ({"r": "https://g.com"}, "https://g.com"),
        ({"r": None, "referrer": "https://g.com"}, "https://g.com"),
        ({"r": ""}, ""),
        ({"r": 7}, None),
        ({"r": "e\u0301" * 2001}, "e\u0301" * 2000),
    ],
)
def test_the_referrer_is(changes: dict[str, Any], referrer: str | None) -> None:
    """A text, cut to 2000 graphemes."""
    assert accept(**changes).referrer == referrer


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({"props": {"a": "1"}}, (("a", "1"),)),
        ({"p": {"a": "1"}, "props": {"b": "2"}}, (("a", "1"),)),
        ({"meta": {"a": "1"}, "p": {"b": "2"}}, (("a", "1"),)),
        ({"m": '{"a": "1"}', "meta": {"b": "2"}}, (("a", "1"),)),
        ({"m": {}, "p": {"b": "2"}}, ()),
        ({"m": "no json", "p": {"b": "2"}}, ()),
        ({"m": False, "p": {"b": "2"}}, (("b", "2"),)),
        ({"n": "404", "u": "http://e.com/x"}, (("path", "/x"),)),
        ({"n": 404, "u": "http://e.com/x"}, (("path", "/x"),)),
    ],
)
def test_props_come_from(changes: dict[str, Any], pairs: object) -> None:
    """The first of m, meta, p and props that is neither missing, null nor false."""
    assert accept(**changes).props == pairs


@pytest.mark.parametrize(
    ("changes", "interactive"),
    [
        ({"n": "Click"}, True),
        ({"n": "Click", "i": False}, False),
        ({"n": "Click", "interactive": False}, False),
        ({"n": "Click", "i": True, "interactive": False}, False),
        ({"n": "Click", "i": "false"}, True),
        ({"n": "Click", "i": 0}, True),
        ({"n": "pageview", "i": False}, True),
        ({"n": "File Download", "i": False}, True),
        ({"n": "Pageview", "i": False}, False),
    ],
)
def test_interactive_is(changes: dict[str, Any], interactive: bool) -> None:
    """Only a literal false says no, and never for a system event."""
    assert accept(**changes).interactive is interactive


@pytest.mark.parametrize(
    ("version", "kept"),
    [
        (34, 34),
        (None, 0),
        ("34", 0),
        (34.0, 0),
        (True, 0),
        (65_536, 0),
        (65_537, 1),
        (-1, 65_535),
        (10**30, 0),
    ],
)
def test_the_script_version_is(version: object, kept: int) -> None:
    """An integer modulo 65536; everything else is 0."""
    assert accept(v=version).tracker_script_version == (10**30 % 65_536 if version == 10**30 else kept)


@pytest.mark.parametrize(
    ("changes", "depth", "time"),
    [
        ({"sd": 40, "e": 3000}, 40, 3000),
        ({"sd": "40", "e": "3000"}, 40, 3000),
        ({"sd": "+40", "e": "-1"}, 40, 0),
        ({"sd": 101}, 100, 0),
        ({"sd": "9" * 100}, 100, 0),
        ({"sd": 0}, 0, 0),
        ({"e": 1}, 255, 1),
        ({"sd": -1, "e": 1}, 255, 1),
        ({"sd": "-" + "9" * 100, "e": 1}, 255, 1),
        ({"sd": 40.0, "e": 1}, 255, 1),
        ({"sd": True, "e": 1}, 255, 1),
        ({"sd": 40, "e": 2_591_999_999}, 40, 2_591_999_999),
        ({"sd": 40, "e": 2_592_000_000}, 40, 0),
        ({"sd": 40, "e": -5}, 40, 0),
        ({"sd": 40, "e": 1.5}, 40, 0),
        ({"sd": 40, "e": 10**40}, 40, 0),
    ],
)
def test_engagement_keeps(changes: dict[str, Any], depth: int, time: int) -> None:
    """Scroll depth in percent with 255 for missing, time in milliseconds with 0 for missing."""
    request = accept(n="engagement", **changes)

    assert (request.scroll_depth, request.engagement_time) == (depth, time)


def test_other_events_have_no_engagement() -> None:
    """Both are 0, not 255."""
    request = accept(sd=40, e=3000)

    assert (request.scroll_depth, request.engagement_time) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "revenue"),
    [
        ({}, None),
        ({"$": {"amount": "9.99", "currency": "EUR"}}, Revenue(9990, "EUR")),
        ({"$": '{"amount": 1, "currency": "EUR"}'}, Revenue(1000, "EUR")),
        (
            {"$": {"amount": 1, "currency": "EUR"}, "revenue": {"amount": 2, "currency": "USD"}},
            Revenue(2000, "USD"),
        ),
        ({"$": {"amount": 1, "currency": "EUR"}, "revenue": None}, Revenue(1000, "EUR")),
        ({"$": {"amount": 1, "currency": "EUR"}, "revenue": "x"}, None),
        ({"$": {"amount": "x", "currency": "EUR"}}, None),
    ],
)
def test_revenue_is(changes: dict[str, Any], revenue: Revenue | None) -> None:
    """The long name first; whatever is no money is ignored."""
    assert accept(**changes).revenue == revenue


@given(st.dictionaries(WIRE_NAMES, JSON_VALUES))
def test_any_fields_give_a_request_or_errors(fields: dict[str, Any]) -> None:
    """Nothing raises, and an answer is never empty."""
    built = build(fields)

    assert isinstance(built, Request) or built


@given(st.dictionaries(WIRE_NAMES, JSON_VALUES), st.text(max_size=300))
def test_what_comes_out_keeps_its_bounds(fields: dict[str, Any], address: str) -> None:
    """Names, domains and paths of a valid request are never blank, numbers fit their columns."""
    built = build({**fields, "n": "x", "u": address, "d": "e.com,"})

    if isinstance(built, Request):
        assert built.hostname.strip(" ")
        assert built.pathname.strip(" ")
        assert len(built.domains) == 2
        assert len(built.props) <= 30
        assert 0 <= built.tracker_script_version < 65_536


USUAL_NAMES = [field.encode_name for field in msgspec.structs.fields(UsualEvent)]
USUAL_FIELDS = st.fixed_dictionaries(
    {
        "n": st.sampled_from(["pageview", "engagement", "404", "Signup", " ", ""]) | st.text(max_size=130),
        "u": st.sampled_from(["https://example.com/a?b=c#d", "http://", "", "data:x", "https://a b/ "])
        | st.text(max_size=510),
        "d": st.sampled_from(["example.com", "www.a.de,b.de", " ", ","]) | st.text(max_size=130),
    },
    optional={
        "v": st.integers(),
        "r": st.none() | st.text() | st.just("x" * 2001),
        "p": st.none() | st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=3),
        "h": st.integers(0, 2),
        "i": st.booleans(),
        "sd": st.none() | st.integers(-2, 300),
        "e": st.none() | st.integers(-2, 10**12),
    },
)


def build_both(fields: dict[str, Any], key: str | None) -> tuple[Request | None, Request | list[FieldError]]:
    """Build a request as a usual event, None when it is none, and as any other."""
    body = msgspec.json.encode(fields)
    given: dict[str, Any] = {
        "timestamp": 7,
        "remote_ip": "192.0.2.1",
        "user_agent": "Test",
        "ip_class": None,
        "key": key,
    }
    plain = build_request(msgspec.json.decode(body, type=RawEvent), **given)
    try:
        usual = msgspec.json.decode(body, type=UsualEvent)
    except msgspec.ValidationError:
        return None, plain
    return build_usual(usual, 7, "192.0.2.1", "Test", None, key, None), plain


@given(fields=USUAL_FIELDS, key=st.sampled_from([None, "a-key", "", "x" * 300]))
def test_a_usual_event_is_no_other_than_it_would_be(fields: dict[str, Any], key: str | None) -> None:
    """Read into its types or field by field: the same request, and nothing that is wrong passes."""
    usual, plain = build_both(fields, key)
    assert usual is None or usual == plain


@given(
    fields=USUAL_FIELDS,
    odd=st.dictionaries(st.sampled_from(USUAL_NAMES) | WIRE_NAMES | st.text(), JSON_VALUES, max_size=2),
)
def test_an_odd_event_is_not_taken_for_a_usual_one(fields: dict[str, Any], odd: dict[str, Any]) -> None:
    """The same with fields of any other name or type in it."""
    usual, plain = build_both({**fields, **odd}, None)
    assert usual is None or usual == plain


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"v": 24, "r": None},
        {"n": "engagement", "sd": 40, "e": 3000, "r": "https://search.example/"},
        {"n": "Signup", "p": {"plan": "team", "seats": 3}, "i": False},
        {"u": "https://example.com/#/a", "h": 1},
        {"n": "404", "p": None},
        {"u": "https://example.com/" + "a" * 480, "d": "a.de,b.de", "r": "x" * 2000},
    ],
)
def test_what_trackers_send_is_usual(changes: dict[str, Any]) -> None:
    """It is read once: nothing falls back to the long way that need not."""
    usual, plain = build_both({**VALID, **changes}, "a-key")
    assert usual is not None
    assert usual == plain
