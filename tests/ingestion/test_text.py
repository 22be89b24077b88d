"""Texts are measured in white space, bytes and graphemes of Unicode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.text import cut_graphemes, has_at_most_bytes, has_at_most_graphemes, is_blank

FAMILY = "\U0001f468‍\U0001f469‍\U0001f467"


@pytest.mark.parametrize(
    ("text", "blank"),
    [
        ("", True),
        (" \t\r\n", True),
        ("\u2003\u3000\xa0", True),
        ("\x1c", False),
        ("\u200b", False),
        (" a", False),
    ],
)
def test_blank_is_what_unicode_calls_white_space(text: str, blank: bool) -> None:
    """Separators U+001C to U+001F and the zero-width space are no white space."""
    assert is_blank(text) is blank


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc"),
        ("a\r\nb", 2, "a\r\n"),
        ("e\u0301e\u0301e\u0301", 2, "e\u0301e\u0301"),
        (FAMILY * 3, 2, FAMILY * 2),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", 1, "\U0001f1e9\U0001f1ea"),
    ],
)
def test_cutting_counts_graphemes(text: str, limit: int, kept: str) -> None:
    """What a reader sees as one character counts as one."""
    assert cut_graphemes(text, limit) == kept


@given(st.text(), st.integers(min_value=1, max_value=20))
def test_what_was_cut_fits(text: str, limit: int) -> None:
    """A cut text is a prefix and needs no second cut."""
    kept = cut_graphemes(text, limit)

    assert text.startswith(kept)
    assert has_at_most_graphemes(kept, limit)
    assert has_at_most_graphemes(text, limit) is (kept == text)


@given(st.text(), st.integers(min_value=0, max_value=100))
def test_bytes_are_those_of_utf8(text: str, limit: int) -> None:
    """The fast path answers as counting would."""
    assert has_at_most_bytes(text, limit) is (len(text.encode()) <= limit)
