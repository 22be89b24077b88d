"""Rules are applied as Matomo applies them: to bytes, without case, where a word begins."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.user_agents.patterns import (
    RULE,
    as_bytes_seen,
    as_text,
    compile_pattern,
    fill,
    fill_version,
    loosen,
)


@pytest.mark.parametrize(
    ("rule", "text", "found"),
    [
        ("bot", "bot/1", True),
        ("bot", "A BOT", True),
        ("bot", "robot", False),
        ("bot", "1bot", False),
        ("bot", "x_bot", False),
        ("bot", "._bot", True),
        ("bot", "sprd-bot", True),
        ("bot", "xMZ-bot", True),
        ("(?<!cu|power[ _])bot", ";cu;bot", True),
        ("(?<!;cu|power[ _])bot", "power bot", False),
        (r"\d+[.\d]+ x", "12.3 x", True),
        (r"\d+[.\d]* x", "1 x", True),
        (r"\d+[.\d]+ x", "1 x", False),
        ("(?:Яндекс|K)", "яндекс", False),
        ("(?:Яндекс|K)", "Яндекс", True),
    ],
)
def test_where_a_rule_matches(rule: str, text: str, found: bool) -> None:
    """A rule matches at the start, or where no letter stands before it; only ASCII letters have a case."""
    assert bool(compile_pattern(RULE % rule).search(as_bytes_seen(text))) == found


@pytest.mark.parametrize(
    ("expression", "loosened"),
    [
        ("a(?!b)c", "ac"),
        ("a(?<=b(?:c|[)]))d", "ad"),
        ("^a|b^c", "a|bc"),
        (r"[^(?!a]\^(?:x)", r"[^(?!a]\^(?:x)"),
        ("[]^](?=x)", "[]^]"),
        (r"\((?!b)[a\](?!]", r"\([a\](?!]"),
        ("a(?!never closed", "a"),
    ],
)
def test_loosening(expression: str, loosened: str) -> None:
    """Look-around and anchors go; what looks alike in a class or after a backslash stays."""
    assert loosen(expression) == loosened


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        (r"\g<1>", "one"),
        (r" a \g<2> \g<1>b", "a  oneb"),
        (r"\g<1>\g<9>", "one"),
        (" plain ", "plain"),
        (r"é\g<1>", "éone"),
    ],
)
def test_filling(template: str, filled: str) -> None:
    """Groups that took no part or are not there are empty."""
    match = re.search("(one)(two)?", "one")
    assert match is not None
    assert fill(template, match) == filled


@pytest.mark.parametrize(
    ("text", "version"),
    [("1_2_3", "1.2"), ("7", "7"), ("1.", "1"), (".5.", "5"), ("120.0.6099.109", "120.0"), ("", "")],
)
def test_versions(text: str, version: str) -> None:
    """A version keeps its first two parts, with points."""
    match = re.search("(.*)", text)
    assert match is not None
    assert fill_version(r"\g<1>", match) == version


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_seen(text: str) -> None:
    """One character stands for one byte, and the text comes back."""
    assert as_bytes_seen(text).encode("latin-1") == text.encode()
    assert as_text(as_bytes_seen(text)) == text
