"""The traceparent header: what is one, what is none, and that no text of a stranger raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.wire.traceparent import TraceParent, format_traceparent, parse_traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),  # level 2: sampled and random
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_valid_ones_are_read(text: str, *, sampled: bool) -> None:
    """Ids and the sampled flag, of this version and of later ones."""
    assert parse_traceparent(text) == TraceParent(int(TRACE, 16), int(SPAN, 16), sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01 ",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        "00-" + "٠" * 32 + f"-{SPAN}-01",
    ],
)
def test_everything_else_is_none(text: str) -> None:
    """A header that is not exactly right begins a trace of our own."""
    assert parse_traceparent(text) is None


@given(st.text() | st.text("0123456789abcdef-", max_size=80) | st.from_regex(r"[0-9a-f]{2}-.{0,60}"))
def test_no_text_raises(text: str) -> None:
    """Whatever a sender writes is a parent with ids or none at all."""
    parent = parse_traceparent(text)

    assert parent is None or (0 < parent.trace_id < 2**128 and 0 < parent.span_id < 2**64)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read(trace_id: int, span_id: int, sampled: bool) -> None:
    """Writing and reading are each other's reverse."""
    parent = TraceParent(trace_id, span_id, sampled)

    assert parse_traceparent(format_traceparent(parent)) == parent
