"""What a person may write as a domain, timezone and limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import SiteInvalid
from service.sites.domain import (
    check_domain,
    check_scale_seconds,
    check_threshold,
    check_timezone,
    clean_domain,
)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("example.com", "example.com"),
        ("Example.COM", "example.com"),
        ("  example.com\n", "example.com"),
        ("http://example.com", "example.com"),
        ("https://example.com/", "example.com"),
        ("http://https://example.com", "example.com"),
        ("https://www.example.com", "example.com"),
        ("www.www.example.com", "example.com"),
        ("www./shop", "shop"),
        ("/example.com/blog/", "example.com/blog"),
        ("my_app", "my_app"),
        ("münchen.example", "münchen.example"),
        ("例え.テスト", "例え.テスト"),
        ("wwwexample.com", "wwwexample.com"),
        ("example.com/www.shop", "example.com/www.shop"),
    ],
)
def test_domain_is_kept_as_meant(written: str, kept: str) -> None:
    """A domain is kept in lower case, without scheme, www. and slashes around it."""
    assert check_domain(written) == kept


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "can't be blank"),
        ("https://www./", "can't be blank"),
        ("a b", "only letters, numbers, slashes, underscores and period allowed"),
        ("example.com?q=1", "only letters, numbers, slashes, underscores and period allowed"),
        ("ex\0ample.com", "only letters, numbers, slashes, underscores and period allowed"),
        ("\ud800.com", "only letters, numbers, slashes, underscores and period allowed"),
        ("localhost:8000", "must not contain URI reserved characters : ? # [ ] @ ! $ & ' ( ) * + , ; ="),
        ("a" * 256, "should be at most 255 character(s)"),
    ],
)
def test_domain_is_refused(written: str, message: str) -> None:
    """A text that can be no domain is refused with the reference's message."""
    with pytest.raises(SiteInvalid) as refused:
        check_domain(written)
    assert (refused.value.field, refused.value.message) == ("domain", message)


@given(st.text() | st.text(alphabet="wWhHtTpPsS:/. ax"))
def test_clean_up_is_idempotent(text: str) -> None:
    """A cleaned domain cleans up to itself, so that what is kept can be looked up."""
    assert clean_domain(clean_domain(text)) == clean_domain(text)


@pytest.mark.parametrize("name", ["Etc/UTC", "Europe/Tallinn", "America/Argentina/Buenos_Aires", "UTC"])
def test_timezone_of_iana_is_taken(name: str) -> None:
    """A timezone of IANA's is taken."""
    assert check_timezone(name) == name


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "europe/tallinn", "../etc/passwd", "Europe", "a\0b"])
def test_other_timezone_is_refused(name: str) -> None:
    """Whatever else is written as a timezone is refused."""
    with pytest.raises(SiteInvalid, match="timezone: is invalid"):
        check_timezone(name)


@pytest.mark.parametrize("threshold", [None, 0, 1, 2**31 - 1])
def test_threshold_is_empty_zero_or_positive(threshold: int | None) -> None:
    """A threshold may be empty, zero or positive."""
    assert check_threshold(threshold) == threshold


@pytest.mark.parametrize(
    ("threshold", "message"),
    [(-1, "must be empty, zero or positive"), (2**31, "must be at most 2147483647")],
)
def test_other_threshold_is_refused(threshold: int, message: str) -> None:
    """A negative or absurd threshold is refused."""
    with pytest.raises(SiteInvalid, match=message):
        check_threshold(threshold)


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(0, "must be at least 1 second"), (-5, "must be at least 1 second"), (2**31, "must be at most")],
)
def test_window_is_at_least_a_second(seconds: int, message: str) -> None:
    """A window shorter than a second, or longer than the column holds, is refused."""
    with pytest.raises(SiteInvalid, match=message):
        check_scale_seconds(seconds)
