"""Rows for tests of the stores: one with every field filled in, and blocks of any rows."""

from hypothesis import strategies as st

from service.clickhouse.store import Block, BlockTrigger
from service.ingestion.rows import ClickhouseEvent, ClickhouseSession, SessionAttributes

MAX_AMOUNT = 10**18 - 1
MINUTE = 1_795_000_020

FULL_ATTRIBUTES = SessionAttributes(
    referrer="https://search.example/?q=ä",
    referrer_source="Search",
    click_id_param="gclid",
    utm_medium="medium",
    utm_source=b"sou\xffrce",
    utm_campaign="campaign",
    utm_content="content",
    utm_term="term",
    country_code="EE",
    subdivision1_code="EE-37",
    subdivision2_code="EE-784",
    city_geoname_id=588_409,
    screen_size="Mobile",
    operating_system="iOS",
    operating_system_version="17.1",
    browser="Safari",
    browser_version="17",
    acquisition_channel="Paid Search",
)

FULL_EVENT = ClickhouseEvent(
    site_id=2**64 - 1,
    user_id=2**63,
    session_id=3,
    timestamp=1_795_000_000,
    name="Purchase",
    hostname="shop.example.com",
    pathname=b"/caf\xe9\x00",
    meta_keys=("plan", "größe"),
    meta_values=("business", b"\xff\xfe"),
    scroll_depth=255,
    engagement_time=2**32 - 1,
    revenue_source_amount=MAX_AMOUNT,
    revenue_source_currency="EUR",
    revenue_reporting_amount=-1,
    revenue_reporting_currency="USD",
    attributes=FULL_ATTRIBUTES,
)

EMPTY_EVENT = ClickhouseEvent(
    site_id=1,
    user_id=1,
    session_id=1,
    timestamp=1_795_000_000,
    name="pageview",
    hostname="",
    pathname="",
    meta_keys=(),
    meta_values=(),
    scroll_depth=0,
    engagement_time=0,
    revenue_source_amount=None,
    revenue_source_currency="",
    revenue_reporting_amount=None,
    revenue_reporting_currency="",
    attributes=SessionAttributes(),
)

FULL_SESSION = ClickhouseSession(
    session_id=3,
    site_id=2**64 - 1,
    user_id=2**63,
    hostname="shop.example.com",
    timestamp=1_795_000_060,
    start=1_795_000_000,
    is_bounce=False,
    entry_page=b"/caf\xe9",
    exit_page="/danke schön",
    exit_page_hostname="pay.example.com",
    pageviews=2,
    events=3,
    duration=60,
    entry_meta_keys=("plan",),
    entry_meta_values=(b"\xff",),
    attributes=FULL_ATTRIBUTES,
)


def make_block(
    *events: ClickhouseEvent,
    sessions: tuple[tuple[int, ClickhouseSession], ...] = (),
    block_id: str = "block",
) -> Block:
    """Give a block of these rows."""
    return Block(id=block_id, trigger=BlockTrigger.SIZE, events=events, sessions=sessions)


_TEXTS = st.text(max_size=8) | st.binary(max_size=8)
_STRINGS = st.text(max_size=8)
_UINT64 = st.integers(0, 2**64 - 1)
_UINT32 = st.integers(0, 2**32 - 1)
_TIMES = st.integers(1_700_000_000, 1_800_000_000)
_AMOUNTS = st.none() | st.integers(-MAX_AMOUNT, MAX_AMOUNT)
_CURRENCIES = st.sampled_from(["", "EUR", "USD", "JPY"])


def attributes() -> st.SearchStrategy[SessionAttributes]:
    """Any attributes that the tables can hold."""
    return st.builds(
        SessionAttributes,
        referrer=_TEXTS,
        utm_source=_TEXTS,
        country_code=st.sampled_from(["", "EE", "DE"]),
        city_geoname_id=_UINT32,
        browser=_STRINGS,
        acquisition_channel=_STRINGS,
    )


@st.composite
def events(draw: st.DrawFn) -> ClickhouseEvent:
    """Any event that the table can hold."""
    props = draw(st.lists(st.tuples(_STRINGS, _TEXTS), max_size=3))
    return ClickhouseEvent(
        site_id=draw(_UINT64),
        user_id=draw(_UINT64),
        session_id=draw(_UINT64),
        timestamp=draw(_TIMES),
        name=draw(_STRINGS),
        hostname=draw(_STRINGS),
        pathname=draw(_TEXTS),
        meta_keys=tuple(key for key, _ in props),
        meta_values=tuple(value for _, value in props),
        scroll_depth=draw(st.integers(0, 255)),
        engagement_time=draw(_UINT32),
        revenue_source_amount=draw(_AMOUNTS),
        revenue_source_currency=draw(_CURRENCIES),
        revenue_reporting_amount=draw(_AMOUNTS),
        revenue_reporting_currency=draw(_CURRENCIES),
        attributes=draw(attributes()),
    )
