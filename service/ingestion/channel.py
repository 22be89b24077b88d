"""The acquisition channel of a visit: the first of nineteen rules that holds (reference 14.7, 14.9).

The reference computes it in ClickHouse; here it is computed with the event and written as a column
(design.md, section 5). "AI Assistants", new in June 2026, has no published place in the chain: it stands
right before Organic Search, because those sources were search engines before, and after the paid, social and
video rules, so that a tag that says more keeps its say.
"""

import re
from typing import Final

from msgspec import Struct

from service.ingestion.source import NO_SOURCE, Source
from service.ingestion.source_table import Category, SourceTable

DIRECT: Final = "Direct"

_DISPLAY_MEDIA: Final = frozenset({"display", "banner", "expandable", "interstitial", "cpm"})
_SOCIAL_MEDIA: Final = frozenset(
    {"social", "social-network", "social-media", "sm", "social network", "social media"}
)
_REFERRAL_MEDIA: Final = frozenset({"referral", "app", "link"})
_PAID_MEDIA: Final = frozenset({"ppc", "retargeting"})
_PAID_CLICKS: Final = frozenset({("google", "gclid"), ("bing", "msclkid")})
_SHOPPING_CAMPAIGN: Final = re.compile(r"(?:^|[^a-df-z])shop|shopping")
_EMAIL: Final = re.compile(r"e[-_ ]?mail|newsletter")


class _Visit(Struct, frozen=True):
    """What the rules look at, in lower case."""

    source: str
    medium: str
    campaign: str
    utm_source: str
    click_id: str
    category: Category | None
    is_paid_medium: bool
    is_paid: bool
    """Paid by its medium or by its tag."""
    is_shopping: bool
    """By its source or by its campaign."""


def find_channel(source: Source, table: SourceTable) -> str:
    """Give the channel of a visit."""
    if source is NO_SOURCE:
        return DIRECT
    visit = _visit(source, table)
    return _find_paid(visit) or _find_organic(visit) or _find_by_medium(visit)


def _visit(source: Source, table: SourceTable) -> _Visit:
    name = source.referrer_source.lower()
    medium = (source.utm_medium or "").lower()
    campaign = source.utm_campaign.lower()
    utm_source = source.utm_source.lower()
    category = table.category(name)
    is_paid_medium = medium in _PAID_MEDIA or "cp" in medium or medium.startswith("paid")
    return _Visit(
        source=name,
        medium=medium,
        campaign=campaign,
        utm_source=utm_source,
        click_id=source.click_id_param,
        category=category,
        is_paid_medium=is_paid_medium,
        is_paid=is_paid_medium or table.is_paid(utm_source),
        is_shopping=category is Category.SHOPPING or _SHOPPING_CAMPAIGN.search(campaign) is not None,
    )


def _find_paid(visit: _Visit) -> str | None:
    if "cross-network" in visit.campaign:
        return "Cross-network"
    if visit.medium in _DISPLAY_MEDIA:
        return "Display"
    if visit.is_paid_medium and visit.is_shopping:
        return "Paid Shopping"
    if (visit.source, visit.click_id) in _PAID_CLICKS or (
        visit.is_paid and visit.category is Category.SEARCH
    ):
        return "Paid Search"
    if visit.is_paid and visit.category is Category.SOCIAL:
        return "Paid Social"
    if visit.is_paid and visit.category is Category.VIDEO:
        return "Paid Video"
    return "Paid Other" if visit.is_paid_medium else None


def _find_organic(visit: _Visit) -> str | None:
    if visit.is_shopping:
        return "Organic Shopping"
    if visit.category is Category.SOCIAL or visit.medium in _SOCIAL_MEDIA:
        return "Organic Social"
    if visit.category is Category.VIDEO or "video" in visit.medium:
        return "Organic Video"
    if visit.category is Category.AI_ASSISTANT:
        return "AI Assistants"
    return "Organic Search" if visit.category is Category.SEARCH else None


def _find_by_medium(visit: _Visit) -> str:
    medium = visit.medium
    if visit.category is Category.EMAIL or _EMAIL.search(visit.utm_source) or _EMAIL.search(medium):
        return "Email"
    if medium == "affiliate":
        return "Affiliates"
    if medium == "audio":
        return "Audio"
    if "sms" in (visit.utm_source, medium):
        return "SMS"
    if _is_push(medium) or visit.source == "firebase":
        return "Mobile Push Notifications"
    return "Referral" if medium in _REFERRAL_MEDIA or visit.source else DIRECT


def _is_push(medium: str) -> bool:
    return medium.endswith("push") or "mobile" in medium or "notification" in medium
