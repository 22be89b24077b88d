"""A sender says which form of answer it takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.wire.accept import choose_format


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("text/html, */*;q=0.1", "json"),
        ("application/json", "json"),
        ("Application/JSON; charset=utf-8", "json"),
        ("application/*", "json"),
        ("application/vnd.api+json", "json"),
        ("text/html, application/json;q=0.5", "json"),
        ("text/html", None),
        ("text/*", None),
        ("image/png,,;", None),
        ("json", None),
    ],
)
def test_where_only_json_is_offered(accept: str | None, chosen: str | None) -> None:
    """Absent and ``*/*`` take it, a list without it does not."""
    assert choose_format(("json",), accept=accept) == chosen


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "html"),
        ("*/*", "html"),
        ("application/json", "json"),
        ("text/html", "html"),
        ("text/html;q=0.5, application/json", "json"),
        ("text/html;q=0.9, application/json;q=0.8", "html"),
        ("application/json;q=x, text/html", "json"),
        ("image/png", None),
    ],
)
def test_where_both_are_offered(accept: str | None, chosen: str | None) -> None:
    """The sender's preference decides, without one the first offered."""
    assert choose_format(("html", "json"), accept=accept) == chosen


@pytest.mark.parametrize(("wanted", "chosen"), [("json", "json"), ("html", None), ("", None), (7, None)])
def test_the_parameter_has_priority(wanted: object, chosen: str | None) -> None:
    """``_format`` decides whatever the header says."""
    assert choose_format(("json",), accept="text/html", wanted=wanted) == chosen
    assert choose_format(("json",), accept="application/json", wanted=wanted) == chosen


@given(st.text())
def test_no_header_raises(accept: str) -> None:
    """Any text leads to an offered format, or to none."""
    assert choose_format(("html", "json"), accept=accept) in ("html", "json", None)
