"""Entries for tests: one plain one to change at will, and a strategy for any."""

import struct
import zlib

import msgspec
from hypothesis import strategies as st

from service.ingestion.rows import ClickhouseEvent, ClickhouseSession, Entry, SessionAttributes, Text
from service.journal import Journal, SegmentInfo
from service.wire import record

MAX_UINT64 = 2**64 - 1

_TEXTS = st.text(max_size=20) | st.binary(max_size=20)
_STRINGS = st.text(max_size=20)
_NUMBERS = st.integers(0, MAX_UINT64)
_AMOUNTS = st.none() | st.integers(-(2**63), 2**63 - 1)


def make_entry(*, session_id: int = 1, pathname: Text = "/", site_id: int = 1) -> Entry:
    """Give the entry of a first pageview."""
    attributes = SessionAttributes()
    event = ClickhouseEvent(
        site_id=site_id,
        user_id=7,
        session_id=session_id,
        timestamp=1_795_000_000,
        name="pageview",
        hostname="example.com",
        pathname=pathname,
        meta_keys=(),
        meta_values=(),
        scroll_depth=255,
        engagement_time=0,
        revenue_source_amount=None,
        revenue_source_currency="",
        revenue_reporting_amount=None,
        revenue_reporting_currency="",
        attributes=attributes,
    )
    session = ClickhouseSession(
        session_id=session_id,
        site_id=site_id,
        user_id=7,
        hostname="example.com",
        timestamp=1_795_000_000,
        start=1_795_000_000,
        is_bounce=True,
        entry_page=pathname,
        exit_page=pathname,
        exit_page_hostname="example.com",
        pageviews=1,
        events=1,
        duration=0,
        entry_meta_keys=(),
        entry_meta_values=(),
        attributes=attributes,
    )
    return Entry(event=event, replaced=None, session=session)


def encode_alone(entry: Entry, key: bytes | None = None) -> bytes:
    """Give the record of an entry as earlier versions wrote it."""
    payload = msgspec.msgpack.encode(entry)
    if key is None:
        return record.frame(payload)
    body = bytes([record.KEYED_VERSION]) + key + payload
    return struct.pack("<II", len(body), zlib.crc32(body, len(body))) + body


def read_segment(journal: Journal, segment: SegmentInfo) -> list[Entry]:
    """Give the entries of a closed segment in the order of their appends."""
    return [entry for piece in journal.decode(segment, journal.load(segment)) for entry in piece]


def entries() -> st.SearchStrategy[Entry]:
    """Any entry that the rows can hold."""
    return st.builds(
        Entry, event=_events(), replaced=st.none() | _sessions(), session=st.none() | _sessions()
    )


def _events() -> st.SearchStrategy[ClickhouseEvent]:
    return st.builds(
        ClickhouseEvent,
        site_id=_NUMBERS,
        user_id=_NUMBERS,
        session_id=_NUMBERS,
        timestamp=_NUMBERS,
        name=_STRINGS,
        hostname=_STRINGS,
        pathname=_TEXTS,
        meta_keys=st.lists(_STRINGS, max_size=3).map(tuple),
        meta_values=st.lists(_TEXTS, max_size=3).map(tuple),
        scroll_depth=_NUMBERS,
        engagement_time=_NUMBERS,
        revenue_source_amount=_AMOUNTS,
        revenue_source_currency=_STRINGS,
        revenue_reporting_amount=_AMOUNTS,
        revenue_reporting_currency=_STRINGS,
        attributes=_attributes(),
    )


def _sessions() -> st.SearchStrategy[ClickhouseSession]:
    return st.builds(
        ClickhouseSession,
        session_id=_NUMBERS,
        site_id=_NUMBERS,
        user_id=_NUMBERS,
        hostname=_STRINGS,
        timestamp=_NUMBERS,
        start=_NUMBERS,
        is_bounce=st.booleans(),
        entry_page=_TEXTS,
        exit_page=_TEXTS,
        exit_page_hostname=_STRINGS,
        pageviews=_NUMBERS,
        events=_NUMBERS,
        duration=_NUMBERS,
        entry_meta_keys=st.lists(_STRINGS, max_size=3).map(tuple),
        entry_meta_values=st.lists(_TEXTS, max_size=3).map(tuple),
        attributes=_attributes(),
    )


def _attributes() -> st.SearchStrategy[SessionAttributes]:
    return st.builds(
        SessionAttributes,
        referrer=_TEXTS,
        click_id_param=_STRINGS,
        utm_source=_TEXTS,
        country_code=_STRINGS,
        city_geoname_id=_NUMBERS,
        browser=_STRINGS,
        acquisition_channel=_STRINGS,
    )
