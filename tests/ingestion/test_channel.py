"""Channels keep reference 14.7 and 14.9, in their order, by the table in ``cases``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.channel import find_channel
from service.ingestion.event import Context, Tables
from service.ingestion.source import find_source, infer_medium
from tests.support.cases import read_cases
from tests.support.events import describe, make_request

CHANNELS = {
    "Cross-network",
    "Display",
    "Paid Shopping",
    "Paid Search",
    "Paid Social",
    "Paid Video",
    "Paid Other",
    "Organic Shopping",
    "Organic Social",
    "Organic Video",
    "AI Assistants",
    "Organic Search",
    "Email",
    "Affiliates",
    "Audio",
    "SMS",
    "Mobile Push Notifications",
    "Referral",
    "Direct",
}


@pytest.mark.parametrize(("query", "referrer", "channel"), read_cases("channels.txt", 3))
def test_channels(context: Context, query: str, referrer: str, channel: str) -> None:
    """The first rule that holds names the channel."""
    assert describe(context, query=query, referrer=referrer).acquisition_channel == channel


def test_every_channel_has_a_case() -> None:
    """The table of channels holds each of them, and no other."""
    assert {channel for *_, channel in read_cases("channels.txt", 3)} == CHANNELS


TEXTS = st.text() | st.sampled_from(
    ["", "cpc", "google", "fb-ads", "https://www.bing.com/", "\udcff", "a" * 5_000]
)
PARAMETERS = ["utm_source", "source", "ref", "utm_medium", "utm_campaign", "gclid", "msclkid", "x"]


@given(st.none() | TEXTS, st.dictionaries(st.sampled_from(PARAMETERS), TEXTS))
def test_any_visit_has_a_channel(tables: Tables, referrer: str | None, query: dict[str, str]) -> None:
    """Whatever the referrer and the tags are, there is a source, maybe empty, and one of the channels."""
    request = make_request(referrer=referrer, query=query)
    source = infer_medium(find_source(request, tables.sources))
    assert isinstance(source.referrer_source, str)
    assert find_channel(source, tables.sources) in CHANNELS
