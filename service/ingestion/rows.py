"""The rows of ClickHouse as values: an event, a session, and the attributes that both share.

Source: reference sections 9 and 10.2. A text is ``str`` where it is valid Unicode; percent-decoding can yield
other bytes (reference 3.4), which are stored as they are, hence ``Text``.

Rows hold texts, numbers and each other, and never themselves: the garbage collector need not look at them.
"""

from msgspec import Struct

Text = str | bytes
"""A ``str`` of valid Unicode, or the raw bytes where they are not valid UTF-8."""


def to_text(value: str) -> Text:
    """Give the text as it is stored: lone surrogates become the bytes that they stand for."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")
    return value


class SessionAttributes(Struct, frozen=True, array_like=True, gc=False):
    """What a session takes from its first event, and each of its events repeats (reference 8.7)."""

    referrer: Text = ""
    referrer_source: Text = ""
    click_id_param: str = ""
    utm_medium: Text = ""
    utm_source: Text = ""
    utm_campaign: Text = ""
    utm_content: Text = ""
    utm_term: Text = ""
    country_code: str = ""
    subdivision1_code: str = ""
    subdivision2_code: str = ""
    city_geoname_id: int = 0
    screen_size: str = ""
    operating_system: str = ""
    operating_system_version: str = ""
    browser: str = ""
    browser_version: str = ""
    acquisition_channel: str = ""


class ClickhouseEvent(Struct, frozen=True, array_like=True, gc=False):
    """One row of ``events_v2``. Times are UTC epoch seconds; revenue amounts are thousandths, None = NULL."""

    site_id: int
    user_id: int
    session_id: int
    timestamp: int
    name: str
    hostname: str
    pathname: Text
    meta_keys: tuple[str, ...]
    meta_values: tuple[Text, ...]
    scroll_depth: int
    engagement_time: int
    revenue_source_amount: int | None
    revenue_source_currency: str
    revenue_reporting_amount: int | None
    revenue_reporting_currency: str
    attributes: SessionAttributes


class ClickhouseSession(Struct, frozen=True, array_like=True, gc=False):
    """One state of a session; ``sessions_v2`` holds it with sign +1, and −1 once a later state replaced it.

    Times are UTC epoch seconds, ``duration`` is seconds.
    """

    session_id: int
    site_id: int
    user_id: int
    hostname: str
    timestamp: int
    start: int
    is_bounce: bool
    entry_page: Text
    exit_page: Text
    exit_page_hostname: str
    pageviews: int
    events: int
    duration: int
    entry_meta_keys: tuple[str, ...]
    entry_meta_values: tuple[Text, ...]
    attributes: SessionAttributes


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """All that one accepted event writes: the unit of the journal.

    ``replaced`` is the session state to cancel (sign −1), ``session`` the new one (sign +1). Both are None
    for an engagement, which writes no session row (reference 8.4).
    """

    event: ClickhouseEvent
    replaced: ClickhouseSession | None
    session: ClickhouseSession | None
