"""Channels keep reference 14.7, in its order."""

import pytest

from service.ingestion.channel import find_channel
from service.ingestion.event import Tables
from service.ingestion.source import NO_SOURCE, Source


@pytest.mark.parametrize(
    ("channel", "source"),
    [
        ("Cross-network", Source(utm_campaign="My-Cross-Network-Thing", utm_medium="display")),
        ("Display", Source(utm_medium="Display")),
        ("Display", Source(utm_medium="cpm", referrer_source="Google")),
        ("Paid Shopping", Source(utm_medium="cpc", utm_campaign="shopping")),
        ("Paid Shopping", Source(utm_medium="ppc", referrer_source="Amazon")),
        ("Paid Search", Source(utm_medium="cpc", referrer_source="Google")),
        ("Paid Search", Source(utm_source="adwords", referrer_source="Google")),
        ("Paid Search", Source(referrer_source="Google", click_id_param="gclid")),
        ("Paid Search", Source(referrer_source="Bing", click_id_param="msclkid")),
        ("Paid Social", Source(utm_medium="paid-social", referrer_source="Facebook")),
        ("Paid Social", Source(utm_source="FB-Ads", referrer_source="Facebook")),
        ("Paid Video", Source(utm_source="yt-ads", referrer_source="Youtube")),
        ("Paid Other", Source(utm_medium="retargeting")),
        ("Paid Other", Source(utm_medium="cpc", referrer_source="ChatGPT")),
        ("Organic Shopping", Source(referrer_source="eBay")),
        ("Organic Shopping", Source(utm_campaign="eshop")),
        ("Organic Shopping", Source(utm_campaign="my shop")),
        ("Organic Social", Source(referrer_source="X (Twitter)")),
        ("Organic Social", Source(referrer_source="Bluesky")),
        ("Organic Social", Source(utm_medium="social network")),
        ("Organic Video", Source(referrer_source="Vimeo")),
        ("Organic Video", Source(utm_medium="in-video")),
        ("AI Assistants", Source(referrer_source="Perplexity")),
        ("AI Assistants", Source(referrer_source="Claude")),
        ("Organic Search", Source(referrer_source="DuckDuckGo")),
        ("Organic Search", Source(referrer_source="Kagi")),
        ("Organic Search", Source(referrer_source="Bing", click_id_param="gclid")),
        ("Email", Source(referrer_source="Gmail")),
        ("Email", Source(utm_source="E-Mail")),
        ("Email", Source(utm_medium="e mail")),
        ("Email", Source(utm_source="weekly newsletter")),
        ("Affiliates", Source(utm_medium="affiliate")),
        ("Audio", Source(utm_medium="audio")),
        ("SMS", Source(utm_source="sms")),
        ("SMS", Source(utm_medium="sms")),
        ("Mobile Push Notifications", Source(utm_medium="webpush")),
        ("Mobile Push Notifications", Source(utm_medium="mobile-web")),
        ("Mobile Push Notifications", Source(utm_medium="notifications")),
        ("Mobile Push Notifications", Source(referrer_source="firebase")),
        ("Referral", Source(utm_medium="referral")),
        ("Referral", Source(referrer_source="blog.example.org")),
        ("Direct", Source(utm_campaign="workshop")),
        ("Direct", Source(utm_medium="(none)")),
        ("Direct", Source(click_id_param="gclid")),
        ("Direct", NO_SOURCE),
    ],
)
def test_channels(tables: Tables, channel: str, source: Source) -> None:
    """The first rule that holds names the channel, whatever the case of the tags."""
    assert find_channel(source, tables.sources) == channel
