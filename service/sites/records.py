"""A site, its goals and its shield rules as they are kept and administered; ingestion sees a part of it.

Source: reference sections 5 (limits), 6 (shields), 12 (goals, custom properties), 17.2 (names and shapes).
A field that is left out of a change keeps its value; ``None`` says "no such limit".
"""

import datetime
import enum
from typing import Generic, TypeVar

from msgspec import UNSET, Struct, UnsetType, field

from service.ingestion.shields import Shields

T = TypeVar("T")

DEFAULT_PAGE_ITEMS = 100
MAX_PAGE_ITEMS = 1000


class ShieldKind(enum.StrEnum):
    """What a shield rule looks at."""

    HOSTNAME = "hostname"
    PAGE = "page"
    IP = "ip"
    COUNTRY = "country"


class GoalType(enum.StrEnum):
    """What makes a visitor reach a goal: an event of that name, or a view of that page."""

    EVENT = "event"
    PAGE = "page"


class InstallationType(enum.StrEnum):
    """How the tracker got onto the page."""

    MANUAL = "manual"
    WORDPRESS = "wordpress"
    GTM = "gtm"
    NPM = "npm"


class TrackerScriptConfiguration(Struct, frozen=True, kw_only=True):
    """What a generated tracker script does, kept for its maker. ``id`` is ``pa-`` and 21 characters."""

    id: str
    installation_type: InstallationType | None = None
    track_404_pages: bool = False
    hash_based_routing: bool = False
    outbound_links: bool = False
    file_downloads: bool = False
    revenue_tracking: bool = False
    tagged_events: bool = False
    form_submissions: bool = False
    pageview_props: bool = False


class TrackerScriptChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The parts of a tracker script configuration to change."""

    installation_type: InstallationType | UnsetType | None = UNSET
    track_404_pages: bool | UnsetType = UNSET
    hash_based_routing: bool | UnsetType = UNSET
    outbound_links: bool | UnsetType = UNSET
    file_downloads: bool | UnsetType = UNSET
    revenue_tracking: bool | UnsetType = UNSET
    tagged_events: bool | UnsetType = UNSET
    form_submissions: bool | UnsetType = UNSET
    pageview_props: bool | UnsetType = UNSET


class Limits(Struct, frozen=True, kw_only=True):
    """How much traffic of a site is taken, and until when.

    ``threshold`` is events a window (None = unlimited, 0 = blocked), ``scale_seconds`` the window's length,
    ``accept_traffic_until`` the last UTC day on which events are taken (None = no end).
    """

    threshold: int | None = None
    scale_seconds: int = 60
    accept_traffic_until: datetime.date | None = None


class LimitsChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The limits to change."""

    threshold: int | UnsetType | None = UNSET
    scale_seconds: int | UnsetType = UNSET
    accept_traffic_until: datetime.date | UnsetType | None = UNSET


class SiteRecord(Struct, frozen=True, kw_only=True):
    """One site. Times are UTC epoch seconds; ``domain_changed_from`` is None once its 72 hours are over."""

    id: int
    domain: str
    domain_changed_from: str | None = None
    domain_changed_at: int | None = None
    timezone: str
    limits: Limits = Limits()
    custom_properties: tuple[str, ...] = ()
    tracker_script_configuration: TrackerScriptConfiguration
    created_at: int
    updated_at: int


class NewSite(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A site to be made, as a person wrote it."""

    domain: str
    timezone: str = "Etc/UTC"
    tracker_script_configuration: TrackerScriptChange = TrackerScriptChange()
    limits: LimitsChange = LimitsChange()


class SiteChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to change of a site."""

    domain: str | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    tracker_script_configuration: TrackerScriptChange | UnsetType = UNSET


class Goal(Struct, frozen=True, kw_only=True):
    """One goal; ``goal_type`` says which of event name and page path is set. Only events carry a currency."""

    id: int
    display_name: str
    goal_type: GoalType
    event_name: str | None = None
    page_path: str | None = None
    custom_props: dict[str, str] = field(default_factory=dict)
    currency: str | None = None


class NewGoal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A goal to be found or made; without a display name it is called after what it counts."""

    goal_type: GoalType
    event_name: str | None = None
    page_path: str | None = None
    display_name: str | None = None
    custom_props: dict[str, str] = field(default_factory=dict)
    currency: str | None = None


class ShieldRule(Struct, frozen=True):
    """One shield rule, in canonical text."""

    kind: ShieldKind
    value: str


class PageRequest(Struct, frozen=True, kw_only=True):
    """Which part of a list is wanted: after or before a cursor of an earlier page, else from the start."""

    after: str | None = None
    before: str | None = None
    limit: int = DEFAULT_PAGE_ITEMS


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A part of a list, with the cursors of the next (``after``) and previous parts; None = there is none."""

    items: list[T]
    after: str | None
    before: str | None
    limit: int


def shield_values(shields: Shields, kind: ShieldKind) -> tuple[str, ...]:
    """Give the rules of one kind."""
    match kind:
        case ShieldKind.HOSTNAME:
            return shields.hostnames
        case ShieldKind.PAGE:
            return shields.pages
        case ShieldKind.IP:
            return shields.ips
        case ShieldKind.COUNTRY:
            return shields.countries
