"""Referrer spam keeps reference section 4.1."""

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.spam import is_spam_referrer, parse_spam_list


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        (None, False),
        ("", False),
        ("https://spam.example/", True),
        ("https://www.spam.example/path", True),
        ("https://Spam.example/", False),
        ("https://sub.spam.example/", False),
        ("android-app://spam.example", True),
        ("spam.example", False),
        ("file:///x", True),
        ("http://", True),
        ("https://good.example/", False),
    ],
)
def test_spam_referrers(referrer: str | None, expected: bool) -> None:
    """A host on the list is spam, exactly as it is written; so is a referrer with an empty host."""
    assert is_spam_referrer(referrer, frozenset({"spam.example"})) is expected


def test_the_built_in_list() -> None:
    """It has some hundreds of hosts, in lower case and without www, because nothing else would be met."""
    text = resources.files("service.ingestion").joinpath("data", "spammers.txt").read_text(encoding="utf-8")
    hosts = parse_spam_list(text)

    assert len(hosts) > 500
    assert {"semalt.com", "buttons-for-website.com", "darodar.com"} <= hosts
    assert all(host == host.lower() and not host.startswith("www.") and "." in host for host in hosts)


def test_a_list_with_comments() -> None:
    """Comments and empty lines count for nothing, and so do spaces around a host."""
    assert parse_spam_list("# a comment\n a.example \n\nb.example # why\r\n") == {"a.example", "b.example"}


@pytest.mark.parametrize("line", ["<!DOCTYPE html>", "two words", "https://spam.example/", "a" * 254])
def test_what_is_no_list(line: str) -> None:
    """A page or anything else instead of a list is refused, and the line is named."""
    with pytest.raises(ValueError, match="line 2 is no host name"):
        parse_spam_list(f"spam.example\n{line}\n")


@given(st.text(), st.frozensets(st.text()))
def test_any_text_gives_an_answer(referrer: str, spam: frozenset[str]) -> None:
    """Whatever is sent as a referrer, there is a verdict."""
    assert is_spam_referrer(referrer, spam) in (True, False)
