"""The gatekeeper and the rate limit keep reference 5.1 and 5.2."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.gate import MS_PER_DAY, RateLimit, check_gate
from service.ingestion.site import Site
from service.ingestion.verdict import DropReason

NOW_MS = 20_000 * MS_PER_DAY + 12 * 3_600_000
"""A noon; its day has number 20,000."""


def test_unknown_site() -> None:
    """An unknown site is not found."""
    assert check_gate(None, NOW_MS, RateLimit()) is DropReason.NOT_FOUND


@pytest.mark.parametrize(
    ("accept_traffic_until", "expected"),
    [
        (None, None),
        (20_001, None),
        (20_000, None),
        (19_999, DropReason.PAYMENT_REQUIRED),
    ],
)
def test_traffic_end(accept_traffic_until: int | None, expected: DropReason | None) -> None:
    """Traffic is taken up to and including the last day, in UTC."""
    site = Site(id=1, domain="a.example", accept_traffic_until=accept_traffic_until)
    assert check_gate(site, NOW_MS, RateLimit()) is expected


def test_the_last_day_ends_at_midnight() -> None:
    """The first millisecond of the next day is too late."""
    site = Site(id=1, domain="a.example", accept_traffic_until=20_000)
    midnight = 20_001 * MS_PER_DAY
    assert check_gate(site, midnight - 1, RateLimit()) is None
    assert check_gate(site, midnight, RateLimit()) is DropReason.PAYMENT_REQUIRED


def test_threshold_zero_blocks() -> None:
    """A threshold of zero blocks the site."""
    site = Site(id=1, domain="a.example", ingest_rate_limit_threshold=0)
    assert check_gate(site, NOW_MS, RateLimit()) is DropReason.BLOCK


def test_no_threshold_is_unlimited() -> None:
    """A site without a threshold is not even counted."""
    rate_limit = RateLimit()
    assert check_gate(Site(id=1, domain="a.example"), NOW_MS, rate_limit) is None
    assert rate_limit.count == 0


def test_payment_comes_before_the_block() -> None:
    """The end of traffic is told before the block."""
    site = Site(id=1, domain="a.example", accept_traffic_until=1, ingest_rate_limit_threshold=0)
    assert check_gate(site, NOW_MS, RateLimit()) is DropReason.PAYMENT_REQUIRED


def test_throttle_from_the_event_after_the_threshold() -> None:
    """As many events as the threshold says come through in one window, the next does not."""
    site = Site(id=1, domain="a.example", ingest_rate_limit_threshold=3, ingest_rate_limit_scale_seconds=60)
    rate_limit = RateLimit()
    verdicts = [check_gate(site, NOW_MS, rate_limit) for _ in range(5)]
    assert verdicts == [None, None, None, DropReason.THROTTLE, DropReason.THROTTLE]


def test_count_grows_while_throttled() -> None:
    """Throttled events count too."""
    rate_limit = RateLimit()
    for _ in range(5):
        rate_limit.check(NOW_MS, 60, 1)
    assert rate_limit.count == 5


def test_windows_are_multiples_of_the_scale() -> None:
    """A new window begins on the multiple of the scale, however short the old one was in use."""
    rate_limit = RateLimit()
    assert rate_limit.check(59_999, 60, 1)
    assert not rate_limit.check(59_999, 60, 1)
    assert rate_limit.check(60_000, 60, 1)


def test_another_scale_begins_anew() -> None:
    """A change of the scale begins a new window."""
    rate_limit = RateLimit()
    rate_limit.check(NOW_MS, 60, 1)
    assert rate_limit.check(NOW_MS, 30, 1)


def test_a_great_step_back_of_the_clock_begins_anew() -> None:
    """A clock that was an hour ahead does not shut the site out for an hour."""
    rate_limit = RateLimit()
    for _ in range(9):
        rate_limit.check(NOW_MS + 3_600_000, 60, 1)
    assert rate_limit.check(NOW_MS, 60, 1)


@given(
    steps_ms=st.lists(st.integers(0, 1_500), max_size=200),
    back_ms=st.lists(st.integers(0, 999), min_size=1, max_size=5),
    scale_s=st.integers(1, 3),
    threshold=st.integers(1, 5),
)
def test_never_more_than_the_threshold_in_one_window(
    steps_ms: list[int], back_ms: list[int], scale_s: int, threshold: int
) -> None:
    """Whatever the times, also of a clock that jitters back, no window lets more than its threshold in."""
    rate_limit = RateLimit()
    allowed: Counter[int] = Counter()
    now = NOW_MS
    for number, step in enumerate(steps_ms):
        now += step
        seen = now - back_ms[number % len(back_ms)]
        if rate_limit.check(seen, scale_s, threshold):
            allowed[rate_limit.window] += 1
    assert all(count <= threshold for count in allowed.values())
