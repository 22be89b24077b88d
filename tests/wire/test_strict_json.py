"""Bytes of a stranger are JSON, or one error."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.wire.strict_json import JsonError, NotAnObjectError, decode

OBJECT = msgspec.json.Decoder(dict[str, Any])


def test_an_object_is_decoded() -> None:
    """Spaces around it do not matter."""
    assert decode(b' {"a": [1, "\xc3\xa9"]} ', OBJECT) == {"a": [1, "é"]}


@pytest.mark.parametrize("data", [b"[]", b" 7", b'"x"', b"null", b"[{}]"])
def test_other_json_is_told_apart(data: bytes) -> None:
    """A list or a scalar is well-formed, but no object."""
    with pytest.raises(NotAnObjectError):
        decode(data, OBJECT)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[1,", b"7x", b'{"a":1e999}', b"[" * 99_999, b'{"a":' * 99_999, b"\xff", b'{"a":"\xff"}'],
)
def test_everything_else_is_malformed(data: bytes) -> None:
    """Broken, too deep, too large a number, or no UTF-8."""
    with pytest.raises(JsonError) as caught:
        decode(data, OBJECT)

    assert not isinstance(caught.value, NotAnObjectError)


@given(st.binary())
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """What it takes, the standard library takes too."""
    try:
        decoded = decode(data, OBJECT)
    except JsonError:
        return
    assert decoded == json.loads(data)
