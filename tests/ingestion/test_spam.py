"""Referrer spam keeps reference section 4.1."""

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.spam import is_spam_referrer, parse_spam_list
from tests.support.cases import read_cases

LISTED = frozenset({"spam.example", "forum.listed.example", "Capital.example"})


@pytest.mark.parametrize(("referrer", "verdict"), read_cases("spam.txt", 2))
def test_spam_referrers(referrer: str, verdict: str) -> None:
    """A host on the list is spam, exactly as it is written; so is a referrer with an empty host."""
    assert ("dropped" if is_spam_referrer(referrer, LISTED) else "kept") == verdict


def test_no_referrer_is_no_spam() -> None:
    """An event without one is kept."""
    assert not is_spam_referrer(None, LISTED)


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
