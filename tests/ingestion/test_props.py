"""Custom properties: which pairs survive, and as what text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.props import build_props, float_text, has_allowed_sizes

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def props_of(source: object, event_name: str = "pageview") -> tuple[tuple[str, str], ...]:
    """Build props of an event at ``/page``."""
    return build_props(source, event_name=event_name, pathname="/page")


@pytest.mark.parametrize(
    ("source", "pairs"),
    [
        (None, ()),
        ({}, ()),
        ({"b": "2", "a": "1"}, (("a", "1"), ("b", "2"))),
        ('{"a": "1"}', (("a", "1"),)),
        ('{"a": ', ()),
        ('["a"]', ()),
        ("[" * 5000, ()),
        ("text", ()),
        (["a"], ()),
        (7, ()),
        (
            {"a": True, "b": False, "c": 10, "d": -0.5},
            (("a", "true"), ("b", "false"), ("c", "10"), ("d", "-0.5")),
        ),
        ({"a": None, "b": "", "c": " \u2003", "": "x", " ": "x"}, ()),
        ({"a": " x ", " b ": "y"}, ((" b ", "y"), ("a", " x "))),
        ({"a": ["x"], "b": {"c": "d"}}, ()),
        ({"a": "\x00"}, (("a", "\x00"),)),
        ({"é": "1", "z": "2", "Z": "3"}, (("Z", "3"), ("z", "2"), ("é", "1"))),
    ],
)
def test_which_pairs_are_kept(source: object, pairs: object) -> None:
    """Blank and nested ones vanish, the rest become text in the order of their keys' bytes."""
    assert props_of(source) == pairs


@pytest.mark.parametrize("count", [31, 32, 33, 100])
def test_the_smallest_keys_beyond_thirty_vanish(count: int) -> None:
    """Of more than 30 pairs those with the largest keys stay."""
    keys = [f"k{number:03}" for number in range(count)]

    assert [key for key, _ in props_of(dict.fromkeys(keys, "x"))] == keys[-30:]


@pytest.mark.parametrize("event_name", ["404", "WP Form Completions", "Form: Submission"])
def test_path_is_added_to_three_events(event_name: str) -> None:
    """The server adds the page's path."""
    assert props_of({"z": "1"}, event_name) == (("path", "/page"), ("z", "1"))
    assert props_of(None, event_name) == (("path", "/page"),)


def test_a_path_that_was_sent_stays() -> None:
    """The sender's ``path`` is not replaced, a blank one is."""
    assert props_of({"path": "/mine"}, "404") == (("path", "/mine"),)
    assert props_of({"path": " "}, "404") == (("path", "/page"),)


def test_other_events_get_no_path() -> None:
    """A link click names its own URL."""
    assert props_of({"url": "x"}, "Outbound Link: Click") == (("url", "x"),)


def test_the_added_path_survives_the_limit() -> None:
    """It takes one of the thirty places, whatever the other keys are."""
    pairs = props_of({f"z{number:02}": "x" for number in range(40)}, "404")

    assert pairs[0] == ("path", "/page")
    assert [key for key, _ in pairs[1:]] == [f"z{number:02}" for number in range(11, 40)]


@pytest.mark.parametrize(
    ("pair", "fits"),
    [
        (("k" * 300, "v" * 2000), True),
        (("k" * 301, "v"), False),
        (("k", "v" * 2001), False),
        (("é" * 150, "é" * 1000), True),
        (("é" * 151, "v"), False),
        (("k", "é" * 1001), False),
        (("k", "\udcff" * 2000), True),
    ],
)
def test_sizes_count_bytes(pair: tuple[str, str], fits: bool) -> None:
    """300 bytes for a key, 2000 for a value; a byte that is no UTF-8 counts once."""
    assert has_allowed_sizes((("a", "b"), pair)) is fits


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (100.0, "100.0"),
        (1000.0, "1.0e3"),
        (1200.0, "1.2e3"),
        (123456.0, "123456.0"),
        (0.001, "0.001"),
        (0.0001, "0.0001"),
        (0.00012, "1.2e-4"),
        (0.00001, "1.0e-5"),
        (1.5e10, "1.5e10"),
        (-12.75, "-12.75"),
        (9007199254740991.0, "9007199254740991.0"),
        (9007199254740992.0, "9.007199254740992e15"),
        (-9007199254740992.0, "-9.007199254740992e15"),
        (1e23, "1.0e23"),
        (5e-324, "5.0e-324"),
        (1.7976931348623157e308, "1.7976931348623157e308"),
    ],
)
def test_floats_are_written_as_erlang_does(number: float, text: str) -> None:
    """The shorter of the two notations, positional on a tie, scientific from 2 to the 53rd."""
    assert float_text(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_texts_read_back(number: float) -> None:
    """No digit is lost, neither is the sign of zero."""
    back = float(float_text(number))

    assert back == number
    assert math.copysign(1, back) == math.copysign(1, number)


@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=40), st.sampled_from(["pageview", "404"]))
def test_props_are_sorted_bounded_and_never_blank(source: dict[str, object], event_name: str) -> None:
    """Whatever is sent, at most 30 pairs come out, ascending, no key twice."""
    pairs = props_of(source, event_name)

    keys = [key for key, _ in pairs]
    assert len(keys) <= 30
    assert keys == sorted(set(keys))
    assert all(key.strip(" ") and value for key, value in pairs)
