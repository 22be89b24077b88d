"""Shields keep reference section 6, with addresses instead of texts for IP rules."""

import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import SiteInvalid
from service.ingestion.shields import (
    NO_SHIELDS,
    Shields,
    check_country_rule,
    check_hostname_rule,
    check_ip_rule,
    check_page_rule,
    compile_shields,
    is_country_blocked,
    is_hostname_allowed,
    is_ip_blocked,
    is_page_blocked,
    match_hostname,
    match_ip,
    match_page,
)

Check = Callable[[str, Sequence[str]], str]


def test_no_rules_cost_nothing() -> None:
    """All sites without rules share one value, which lets everything in."""
    assert compile_shields(Shields()) is NO_SHIELDS
    assert is_hostname_allowed(NO_SHIELDS, "any.example")
    assert not is_page_blocked(NO_SHIELDS, "/")
    assert not is_ip_blocked(NO_SHIELDS, "203.0.113.7")
    assert not is_country_blocked(NO_SHIELDS, "")


@pytest.mark.parametrize(
    ("rule", "pathname", "blocked"),
    [
        ("/admin", "/admin", True),
        ("/admin", "/admin/", False),
        ("/admin", "/Admin", False),
        ("/admin/*", "/admin/", True),
        ("/admin/*", "/admin/a/b", True),
        ("/admin/**", "/admin/a/b", True),
        ("/admin/*", "/admin", False),
        ("/*/edit", "/a/b/edit", True),
        ("/*/edit", "/a/b/edit/c", False),
        ("/a*b*c", "/abc", True),
        ("/a*b*c", "/acb", False),
        ("/aba*aba", "/aba", False),
        ("/a.c", "/abc", False),
        ("/a+(b)[c]", "/a+(b)[c]", True),
        ("/*", "/a\nb", False),
        ("/a", "/a\n", True),
        ("/a*", "/a\n", True),
        ("/a*", "/a\n\n", False),
        ("/*#top", "/page#top", True),
        ("/*x*", "/a\nx", False),
    ],
)
def test_page_rules(rule: str, pathname: str, blocked: bool) -> None:
    """A page rule is anchored, case-sensitive and literal but for its stars, which stop at line breaks."""
    assert is_page_blocked(compile_shields(Shields(pages=(rule,))), pathname) is blocked


@given(
    rule=st.text(alphabet="/ab*.\n", max_size=12),
    pathname=st.text(alphabet="/ab.\n", max_size=16),
)
def test_patterns_match_as_the_regular_expression_does(rule: str, pathname: str) -> None:
    """For any pattern and path the answer is that of the reference's anchored regular expression."""
    expression = "^" + ".*".join(re.escape(piece) for piece in re.split(r"\*+", rule)) + "$"
    expected = re.match(expression, pathname) is not None
    assert is_page_blocked(compile_shields(Shields(pages=(rule,))), pathname) is expected


def test_hostile_patterns_end_at_once() -> None:
    """A pattern that makes a backtracking matcher run for ages is answered at once."""
    shields = compile_shields(Shields(pages=("/" + "*a" * 120 + "*b",)))
    assert not is_page_blocked(shields, "/" + "a" * 2_000)


@pytest.mark.parametrize(
    ("hostname", "allowed"),
    [
        ("example.com", True),
        ("blog.example.com", True),
        ("example.org", False),
        ("Example.com", False),
        ("(none)", False),
    ],
)
def test_hostname_rules_are_an_allow_list(hostname: str, allowed: bool) -> None:
    """With a rule, only hostnames that match one are let in."""
    shields = compile_shields(Shields(hostnames=("example.com", "*.example.com")))
    assert is_hostname_allowed(shields, hostname) is allowed


@pytest.mark.parametrize(
    ("rule", "remote_ip", "blocked"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("203.0.113.0/24", "203.0.113.255", True),
        ("203.0.113.0/24", "203.0.114.0", False),
        ("0.0.0.0/0", "198.51.100.1", True),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("2001:db8::1", "2001:0DB8:0:0::1", True),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("::ffff:203.0.113.0/120", "203.0.113.9", True),
        ("203.0.113.7", "unknown", False),
        ("203.0.113.7", "", False),
    ],
)
def test_ip_rules(rule: str, remote_ip: str, blocked: bool) -> None:
    """An IP rule covers its addresses however they are written, and never what is no address."""
    shields = compile_shields(Shields(ips=("192.0.2.1", rule)))
    assert is_ip_blocked(shields, remote_ip) is blocked
    assert match_ip(shields, remote_ip) == (check_ip_rule(rule, ()) if blocked else None)


def test_the_rule_that_matched_is_told() -> None:
    """The first pattern that matches is given as it is kept."""
    shields = compile_shields(Shields(hostnames=("a.example", "*.a.example"), pages=("/b", "/a**", "/a*")))
    assert match_hostname(shields, "x.a.example") == "*.a.example"
    assert match_hostname(shields, "b.example") is None
    assert match_page(shields, "/ab") == "/a**"
    assert match_page(shields, "/c") is None
    assert match_ip(shields, "203.0.113.7") is None


@pytest.mark.parametrize(
    ("country", "blocked"),
    [("DE", True), ("de", True), ("FR", False), ("", True), ("A1", False)],
)
def test_country_rules(country: str, blocked: bool) -> None:
    """A visitor without a country counts as ZZ."""
    assert is_country_blocked(compile_shields(Shields(countries=("DE", "ZZ"))), country) is blocked


@pytest.mark.parametrize(
    ("check", "rule", "kept"),
    [
        (check_ip_rule, " 203.0.113.7 ", "203.0.113.7"),
        (check_ip_rule, "203.0.113.7/32", "203.0.113.7"),
        (check_ip_rule, "203.0.113.7/24", "203.0.113.0/24"),
        (check_ip_rule, "2001:DB8:0::1", "2001:db8::1"),
        (check_ip_rule, "::ffff:203.0.113.7", "203.0.113.7"),
        (check_ip_rule, "::ffff:203.0.113.0/120", "203.0.113.0/24"),
        (check_country_rule, "de", "DE"),
        (check_country_rule, "ZZ", "ZZ"),
        (check_country_rule, "a1", "A1"),
        (check_page_rule, "/blog/*", "/blog/*"),
        (check_hostname_rule, " *.example.com", "*.example.com"),
    ],
)
def test_rules_are_kept_in_canonical_text(check: Check, rule: str, kept: str) -> None:
    """A new rule is kept in the one way of writing it."""
    assert check(rule, ()) == kept


@pytest.mark.parametrize(
    ("check", "rule", "field", "message"),
    [
        (check_ip_rule, "1.2.3", "ip", "is invalid"),
        (check_ip_rule, "1.2.3.4/33", "ip", "is invalid"),
        (check_ip_rule, "", "ip", "is invalid"),
        (check_country_rule, "DEU", "country", "should be 2 character(s)"),
        (check_country_rule, "1A", "country", "is invalid"),
        (check_page_rule, "blog", "page", "must start with /"),
        (check_page_rule, "  ", "page", "can't be blank"),
        (check_page_rule, "/" + "a" * 250, "page", "should be at most 250 character(s)"),
        (check_hostname_rule, "", "hostname", "can't be blank"),
        (check_hostname_rule, "a" * 251, "hostname", "should be at most 250 character(s)"),
    ],
)
def test_wrong_rules_are_refused(check: Check, rule: str, field: str, message: str) -> None:
    """A wrong rule is refused with the field and the reference's message."""
    with pytest.raises(SiteInvalid) as refusal:
        check(rule, ())
    assert (refusal.value.field, refusal.value.message) == (field, message)


@pytest.mark.parametrize(
    ("check", "rule", "existing"),
    [
        (check_ip_rule, "203.0.113.9/24", ["203.0.113.0/24"]),
        (check_country_rule, "de", ["DE"]),
        (check_page_rule, "/a", ["/a"]),
        (check_hostname_rule, "a.example", ["a.example"]),
    ],
)
def test_a_rule_is_not_kept_twice(check: Check, rule: str, existing: list[str]) -> None:
    """A rule that is there already is refused, also when it is written in another way."""
    with pytest.raises(SiteInvalid, match="rule already exists"):
        check(rule, existing)


@pytest.mark.parametrize(
    ("check", "rule", "limit"),
    [
        (check_ip_rule, "203.0.113.7", 30),
        (check_country_rule, "DE", 30),
        (check_page_rule, "/new", 30),
        (check_hostname_rule, "new.example", 10),
    ],
)
def test_rules_have_a_limit(check: Check, rule: str, limit: int) -> None:
    """A site may have so many rules of a kind and no more."""
    existing = [f"old {number}" for number in range(limit)]
    assert check(rule, existing[1:]) == rule
    with pytest.raises(SiteInvalid, match="maximum reached"):
        check(rule, existing)
