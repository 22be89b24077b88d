"""URLs are split as the reference splits them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion import url


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://example.com/a?b=c#d", ("https", "example.com", "/a", "b=c", "d")),
        ("HTTPS://Example.COM", ("https", "Example.COM", "", None, None)),
        ("/blog?a=b", (None, None, "/blog", "a=b", None)),
        ("example.com/foo", (None, None, "example.com/foo", None, None)),
        ("file:///x", ("file", "", "/x", None, None)),
        ("chrome-extension://abc/popup.html", ("chrome-extension", "abc", "/popup.html", None, None)),
        ("http://a:b/", ("http", "a", "/", None, None)),
        ("http://user:secret@host:8080/x", ("http", "host", "/x", None, None)),
        ("http://a@b@host/", ("http", "host", "/", None, None)),
        ("http://[2001:db8::1]:80/", ("http", "2001:db8::1", "/", None, None)),
        ("http://[::1", ("http", "", "", None, None)),
        ("http://:80/", ("http", None, "/", None, None)),
        ("http://two words\\x/", ("http", "two words\\x", "/", None, None)),
        ("//host/x", (None, "host", "/x", None, None)),
        ("foo:%20", ("foo", None, "%20", None, None)),
        ("1http://host/", (None, None, "1http://host/", None, None)),
        ("http://host/?#", ("http", "host", "/", "", None)),
        ("http://host/#a\nb", ("http", "host", "/", None, "a")),
        ("", (None, None, "", None, None)),
    ],
)
def test_a_url_splits_into(text: str, parts: tuple[str | None, ...]) -> None:
    """Scheme, host, path, query and fragment; only the scheme is changed, to lower case."""
    assert tuple(url.split(text)) == parts


@given(st.text())
def test_every_text_is_a_url(text: str) -> None:
    """Nothing is malformed."""
    assert isinstance(url.split(text), url.Url)


@pytest.mark.parametrize(
    ("host", "hostname"),
    [
        ("www.example.com", "example.com"),
        ("www.www.example.com", "www.example.com"),
        ("WWW.example.com", "WWW.example.com"),
        ("  www.example.com\u2003", "example.com"),
        ("Example.com.", "Example.com."),
        ("www.", ""),
    ],
)
def test_one_www_goes(host: str, hostname: str) -> None:
    """One leading lower-case ``www.`` is removed after trimming."""
    assert url.sanitise_host(host) == hostname


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("/a+b", "/a+b"),
        ("/%41%20", "/A "),
        ("/100%", "/100%"),
        ("/%zz%4", "/%zz%4"),
        ("/%C3%A9", "/é"),
        ("/%FF", "/\udcff"),
        ("/é%C3", "/é\udcc3"),
        ("/%00", "/\x00"),
    ],
)
def test_percent_decoding(text: str, decoded: str) -> None:
    """Malformed escapes stay, bytes that are no UTF-8 become lone surrogates, a plus stays a plus."""
    assert url.percent_decode(text) == decoded


@given(st.binary())
def test_every_byte_survives_percent_decoding(data: bytes) -> None:
    """What was escaped comes out byte for byte."""
    text = "".join(f"%{byte:02x}" for byte in data)

    assert url.percent_decode(text).encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "2"}),
        ("a", {"a": ""}),
        ("=x", {"": "x"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=x+y%2B", {"a": "x y+"}),
        ("a=1;b=2", {"a": "1;b=2"}),
        ("A=1&a=%zz", {"A": "1", "a": "%zz"}),
        ("a=%FF", {"a": "\udcff"}),
    ],
)
def test_a_query_decodes_to(query: str, pairs: dict[str, str]) -> None:
    """Form decoding: the last duplicate wins, only ``&`` separates, names keep their case."""
    assert url.decode_query(query) == pairs
