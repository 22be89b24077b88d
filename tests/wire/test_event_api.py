"""Bodies of ``POST /api/event`` become events, field errors or refusals."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.raw_event import RawEvent
from service.wire.event_api import (
    UNPARSABLE,
    BodyKind,
    Decoded,
    Refused,
    body_kind,
    broken_off,
    decode_event,
    too_large,
)

EVENT = b'{"n":"pageview","u":"http://e.com","d":"e.com","p":{"a":1}}'
MULTIPART = "multipart/form-data; boundary=XX"


def decode(body: bytes, content_type: str | None) -> Decoded:
    """Decode as the HTTP room does."""
    return decode_event(body, body_kind(content_type), content_type=content_type)


@pytest.mark.parametrize(
    ("content_type", "kind", "limit_bytes"),
    [
        (None, BodyKind.ABSENT, 0),
        ("text/plain", BodyKind.RAW, 1_000_000),
        ("text/plain;charset=UTF-8", BodyKind.RAW, 1_000_000),
        ("application/octet-stream", BodyKind.RAW, 1_000_000),
        ("", BodyKind.RAW, 1_000_000),
        ("json", BodyKind.RAW, 1_000_000),
        ("/+json", BodyKind.RAW, 1_000_000),
        ("application/json", BodyKind.JSON, 8_000_000),
        ("Application/JSON; charset=utf-8", BodyKind.JSON, 8_000_000),
        ("application/vnd.api+json", BodyKind.JSON, 8_000_000),
        ("application/x-www-form-urlencoded", BodyKind.URLENCODED, 1_000_000),
        (MULTIPART, BodyKind.MULTIPART, 8_000_000),
    ],
)
def test_the_content_type_decides(content_type: str | None, kind: BodyKind, limit_bytes: int) -> None:
    """Who reads the body, and how much of it."""
    assert body_kind(content_type) is kind
    assert kind.limit_bytes == limit_bytes


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
def test_json_becomes_an_event(content_type: str) -> None:
    """Known fields are kept with their JSON types, unknown ones left out."""
    event = decode(b'{"n":"x","h":1,"$":"y","hashMode":null,"w":1280,"p":{"a":[true]}}', content_type)

    assert event == RawEvent(n="x", h=1, dollar="y", p={"a": [True]})


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
def test_the_last_of_equal_keys_wins(content_type: str) -> None:
    """A duplicated key is no error."""
    assert decode(b'{"n":"a","n":"b"}', content_type) == RawEvent(n="b")


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
def test_nul_is_a_character(content_type: str) -> None:
    """An escaped NUL is kept."""
    assert decode(b'{"n":"\\u0000"}', content_type) == RawEvent(n="\x00")


MALFORMED = [
    b"{",
    b"[1,2",
    b"{}x",
    b"\xef\xbb\xbf{}",
    b'{"n":"\xff"}',
    b'{"unknown":"\xff"}',
    b'{"n":"\\ud800"}',
    b'{"n":1e999}',
    b'{"n":' + b"9" * 5000 + b"}",
    b'{"n":NaN}',
    b'{"n":"\x00"}',
    b'{"n":' + b"[" * 100_000,
    b'{"n":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"n":' + b'{"n":' * 100_000,
    "{}".encode("utf-16"),
]


@pytest.mark.parametrize("body", [*MALFORMED, b"", b"  ", b"[]", b"[{}]", b"3", b'"x"', b"null"], ids=repr)
def test_a_raw_body_that_is_no_object_is_a_field_error(body: bytes) -> None:
    """All trouble is told in one sentence."""
    assert decode(body, "text/plain") == [UNPARSABLE]


@pytest.mark.parametrize("body", [*MALFORMED, b"  "], ids=repr)
def test_malformed_json_is_a_bad_request(body: bytes) -> None:
    """As JSON, it is told by the error view."""
    assert decode(body, "application/json") == Refused(400)


@pytest.mark.parametrize("body", [b"", b"[]", b" [{}]", b"3", b'"x"', b"null"])
def test_json_that_is_no_object_has_no_fields(body: bytes) -> None:
    """As JSON, an empty body, a list or a scalar is an event without fields."""
    assert decode(body, "application/json") == RawEvent()


def test_without_a_content_type_nothing_is_read() -> None:
    """The event is empty although a body was sent."""
    assert decode(EVENT, None) == RawEvent()


@pytest.mark.parametrize(
    ("body", "event"),
    [
        (b"", RawEvent()),
        (
            b"n=pageview&u=http%3A%2F%2Fe.com%2Fa+b&d=e.com",
            RawEvent(n="pageview", u="http://e.com/a b", d="e.com"),
        ),
        (b"n=a&n=b&h=1&i=false", RawEvent(n="b", h="1", i="false")),
        (b"p[a]=1&p%5Bb%5D=2&p[c][d]=3&d[]=e.com", RawEvent(p={"a": "1", "b": "2"}, d={})),
        (b"p=x&p[a]=1", RawEvent(p={"a": "1"})),
        (b"n=%zz%4", RawEvent(n="%zz%4")),
        (b"%24=x&hashMode=1&_method=PUT", RawEvent(dollar="x", hash_mode="1", method="PUT")),
    ],
)
def test_a_form_becomes_an_event_of_texts(body: bytes, event: RawEvent) -> None:
    """Every field is a text; brackets make an object."""
    assert decode(body, "application/x-www-form-urlencoded") == event


def test_a_form_that_is_no_utf8_is_refused() -> None:
    """Percent-escapes must spell UTF-8."""
    assert decode(b"n=%ff", "application/x-www-form-urlencoded") == Refused(415)


def test_a_form_of_very_many_fields_is_refused() -> None:
    """A thousand fields are read, no more."""
    assert isinstance(decode(b"&".join([b"n=1"] * 1000), "application/x-www-form-urlencoded"), RawEvent)
    assert decode(b"&".join([b"n=1"] * 1001), "application/x-www-form-urlencoded") == Refused(400)


def part(name: str, value: str, extra: str = "") -> str:
    """One part of a multipart form."""
    return f'--XX\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'


@pytest.mark.parametrize(
    ("body", "event"),
    [
        ("--XX--\r\n", RawEvent()),
        (part("n", "pageview") + part("d", "e.com") + "--XX--", RawEvent(n="pageview", d="e.com")),
        ("preamble\r\n" + part("n", "a\r\nb") + "--XX--\r\nepilogue", RawEvent(n="a\r\nb")),
        (part("p[a]", "é") + "--XX--", RawEvent(p={"a": "é"})),
        (part("n", "bytes", '; filename="x.txt"') + "--XX--", RawEvent(n={})),
        ("--XX\r\nX: y\r\n\r\nnameless\r\n--XX--", RawEvent()),
        ("--XX\r\ncontent-disposition: form-data; name=n\r\n\r\n\r\n--XX--", RawEvent(n="")),
    ],
)
def test_a_multipart_form_becomes_an_event_of_texts(body: str, event: RawEvent) -> None:
    """Every part with a name is a field; a file is an empty object."""
    assert decode(body.encode(), MULTIPART) == event


@pytest.mark.parametrize("content_type", [MULTIPART, 'multipart/form-data; charset=x; boundary="XX"'])
def test_a_boundary_may_be_quoted(content_type: str) -> None:
    """Both ways of writing it are read."""
    assert decode((part("n", "a") + "--XX--").encode(), content_type) == RawEvent(n="a")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", MULTIPART, 400),
        (b"nothing", MULTIPART, 400),
        (part("n", "a").encode(), MULTIPART, 400),
        (b"--XX\r\nno blank line\r\n--XX--", MULTIPART, 400),
        (b"--XX--", "multipart/form-data", 400),
        (b"--XX\r\n" + b"a" * 9000 + b"\r\n\r\n\r\n--XX--", MULTIPART, 400),
        (part("n", "a").encode() * 1002 + b"--XX--", MULTIPART, 400),
        (part("n", "\xff").encode("latin-1") + b"--XX--", MULTIPART, 415),
    ],
)
def test_a_broken_multipart_form_is_refused(body: bytes, content_type: str, status: int) -> None:
    """Without boundary, end or headers it is malformed; its texts must be UTF-8."""
    assert decode(body, content_type) == Refused(status)


def test_trouble_with_reading_is_told_as_the_content_type_wants() -> None:
    """A raw body has one sentence for all, the others a status."""
    assert too_large(BodyKind.RAW) == [UNPARSABLE]
    assert too_large(BodyKind.JSON) == Refused(413)
    assert broken_off(BodyKind.RAW, status=408) == [UNPARSABLE]
    assert broken_off(BodyKind.MULTIPART, status=408) == Refused(408)


CONTENT_TYPES = st.sampled_from(
    [
        None,
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
        MULTIPART,
        "multipart/form-data",
    ]
)


@given(st.binary(max_size=400), CONTENT_TYPES | st.text(max_size=40))
def test_no_bytes_raise(body: bytes, content_type: str | None) -> None:
    """Every body is an event, a list of errors or a refusal with a 4xx status."""
    decoded = decode(body, content_type)

    if isinstance(decoded, Refused):
        assert 400 <= decoded.status < 500
    else:
        assert isinstance(decoded, RawEvent) or decoded


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda x: st.dictionaries(st.text(), x) | st.lists(x))
)
def test_well_formed_json_is_never_refused(value: object) -> None:
    """As JSON, any value is an event; as text, any object is."""
    body = json.dumps(value).encode()

    assert isinstance(decode(body, "application/json"), RawEvent)
    assert isinstance(decode(body, "text/plain"), RawEvent) is isinstance(value, dict)
