"""Making, changing and deleting sites, goals and shield rules: one interface for admin API and command line.

Source: reference 5.2-5.5, 6, 12 and 17.2. ``StoreProvisioning`` keeps the rules and works on a registry;
``http.client.ClientProvisioning`` asks a running service. It differs from the reference on purpose:

- A custom limit survives every change of the site; there a new domain resets it to the default (5.2).
- There is an interface for shield rules; the reference has none in any public API.
- Asking for a goal again gives the existing one, but never one with another currency.

Every method finds a site by its domain, cleaned up, or by the one that it had in the last 72 hours. It raises
SiteNotFound when there is none, SiteInvalid when a value breaks a rule, and SiteStoreUnavailable.
"""

import secrets
import string
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from msgspec import UNSET
from msgspec.structs import asdict, replace

from service.errors import GoalNotFound, ShieldRuleNotFound, SiteInvalid, SiteNotFound
from service.ingestion.shields import (
    Shields,
    check_country_rule,
    check_hostname_rule,
    check_ip_rule,
    check_page_rule,
)
from service.sites.domain import (
    TAKEN,
    UNCHANGED,
    check_domain,
    check_scale_seconds,
    check_threshold,
    check_timezone,
)
from service.sites.goals import add_property, check_goal, find_goal, goals_of_settings
from service.sites.paging import check_limit, cut_page, decode_cursor
from service.sites.records import (
    Goal,
    Limits,
    LimitsChange,
    NewGoal,
    NewSite,
    Page,
    PageRequest,
    ShieldKind,
    ShieldRule,
    SiteChange,
    SiteRecord,
    TrackerScriptChange,
    TrackerScriptConfiguration,
    shield_values,
)
from service.sites.store import SiteRegistry, SiteTables
from service.sites.text import check_text

FIRST_PAGE: Final = PageRequest()
MAX_SHIELD_CHARS: Final = 1000
"""Longer than any rule may be; the rules' own checks say more."""
MAX_GOAL_ID: Final = 2**63 - 1

_TRACKER_ID_CHARS: Final = 21
_TRACKER_ID_ALPHABET: Final = string.ascii_letters + string.digits + "-_"

_SHIELD_CHECKS: Final[dict[ShieldKind, Callable[[str, Sequence[str]], str]]] = {
    ShieldKind.HOSTNAME: check_hostname_rule,
    ShieldKind.PAGE: check_page_rule,
    ShieldKind.IP: check_ip_rule,
    ShieldKind.COUNTRY: check_country_rule,
}


class Provisioning(Protocol):
    """What can be done to sites; a change is in force for the next event when the call returns."""

    async def create_site(self, new: NewSite) -> SiteRecord:
        """Add a site."""

    async def get_site(self, domain: str) -> SiteRecord:
        """Give a site."""

    async def list_sites(self, page: PageRequest = FIRST_PAGE) -> Page[SiteRecord]:
        """Give sites in order of their domains."""

    async def update_site(self, domain: str, change: SiteChange) -> SiteRecord:
        """Change a site; after a new domain the old one is still accepted for 72 hours."""

    async def delete_site(self, domain: str) -> None:
        """Delete a site with its goals and shield rules; its rows in ClickHouse stay."""

    async def get_limits(self, domain: str) -> Limits:
        """Give a site's limits."""

    async def set_limits(self, domain: str, change: LimitsChange) -> Limits:
        """Change a site's limits and give all of them."""

    async def list_goals(self, domain: str, page: PageRequest = FIRST_PAGE) -> Page[Goal]:
        """Give a site's goals, oldest first."""

    async def put_goal(self, domain: str, new: NewGoal) -> Goal:
        """Find the goal, or make it."""

    async def delete_goal(self, domain: str, goal_id: int) -> None:
        """Delete a goal. Raises GoalNotFound."""

    async def list_shields(self, domain: str) -> Shields:
        """Give a site's shield rules."""

    async def add_shield(self, domain: str, rule: ShieldRule) -> ShieldRule:
        """Add a shield rule and give it in canonical text."""

    async def remove_shield(self, domain: str, rule: ShieldRule) -> None:
        """Remove a shield rule, however it is written. Raises ShieldRuleNotFound."""

    async def list_properties(self, domain: str) -> tuple[str, ...]:
        """Give the custom properties that reports may show."""

    async def add_property(self, domain: str, name: str) -> None:
        """Allow a custom property; allowed again is fine."""

    async def remove_property(self, domain: str, name: str) -> None:
        """Take back a custom property; taken back again is fine."""

    async def close(self) -> None:
        """Let go of what the provisioning holds; safe to call twice."""


class StoreProvisioning:
    """Provisioning on a registry. ``on_change`` is awaited with the site's number after each commit."""

    def __init__(self, registry: SiteRegistry, on_change: Callable[[int], Awaitable[None]]) -> None:
        self._registry = registry
        self._on_change = on_change

    async def create_site(self, new: NewSite) -> SiteRecord:
        """Add a site."""
        domain = check_domain(new.domain)
        timezone = check_timezone(new.timezone)
        tracker = _apply_tracker(
            TrackerScriptConfiguration(id=_new_tracker_id()), new.tracker_script_configuration
        )
        limits = _apply_limits(Limits(), new.limits)
        async with self._registry.change() as tables:
            if await tables.find(domain) is not None:
                raise SiteInvalid("domain", TAKEN)
            site = SiteRecord(
                id=0,
                domain=domain,
                timezone=timezone,
                limits=limits,
                tracker_script_configuration=tracker,
                created_at=tables.now,
                updated_at=tables.now,
            )
            site = replace(site, id=await tables.insert_site(site))
            await _insert_goals_of_settings(tables, site)
        await self._on_change(site.id)
        return site

    async def get_site(self, domain: str) -> SiteRecord:
        """Give a site."""
        async with self._registry.view() as tables:
            return await _find(tables, domain)

    async def list_sites(self, page: PageRequest = FIRST_PAGE) -> Page[SiteRecord]:
        """Give sites in order of their domains."""
        limit = check_limit(page.limit)
        after, before = decode_cursor("after", page.after, str), decode_cursor("before", page.before, str)
        async with self._registry.view() as tables:
            found = await tables.sites(after=after, before=before, limit=limit + 1)
        return cut_page(found, page, limit=limit, key=lambda site: site.domain)

    async def update_site(self, domain: str, change: SiteChange) -> SiteRecord:
        """Change a site; after a new domain the old one is still accepted for 72 hours."""
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            if change.domain is not UNSET:
                site = await _move(tables, site, check_domain(change.domain))
            if change.timezone is not UNSET:
                site = replace(site, timezone=check_timezone(change.timezone))
            if change.tracker_script_configuration is not UNSET:
                tracker = _apply_tracker(
                    site.tracker_script_configuration, change.tracker_script_configuration
                )
                site = replace(site, tracker_script_configuration=tracker)
            site = await _write(tables, site)
            await _insert_goals_of_settings(tables, site)
        await self._on_change(site.id)
        return site

    async def delete_site(self, domain: str) -> None:
        """Delete a site with its goals and shield rules; its rows in ClickHouse stay."""
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            await tables.delete_site(site.id)
        await self._on_change(site.id)

    async def get_limits(self, domain: str) -> Limits:
        """Give a site's limits."""
        return (await self.get_site(domain)).limits

    async def set_limits(self, domain: str, change: LimitsChange) -> Limits:
        """Change a site's limits and give all of them."""
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            site = await _write(tables, replace(site, limits=_apply_limits(site.limits, change)))
        await self._on_change(site.id)
        return site.limits

    async def list_goals(self, domain: str, page: PageRequest = FIRST_PAGE) -> Page[Goal]:
        """Give a site's goals, oldest first."""
        limit = check_limit(page.limit)
        after, before = decode_cursor("after", page.after, int), decode_cursor("before", page.before, int)
        async with self._registry.view() as tables:
            site = await _find(tables, domain)
            goals = await tables.goals(site.id)
        if before is not None:
            found = [goal for goal in goals if goal.id < before][-(limit + 1) :]
        else:
            found = [goal for goal in goals if after is None or goal.id > after][: limit + 1]
        return cut_page(found, page, limit=limit, key=lambda goal: goal.id)

    async def put_goal(self, domain: str, new: NewGoal) -> Goal:
        """Find the goal, or make it."""
        goal = check_goal(new)
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            existing = find_goal(goal, await tables.goals(site.id))
            if existing is not None:
                return existing
            goal = replace(goal, id=await tables.insert_goal(site.id, goal))
        await self._on_change(site.id)
        return goal

    async def delete_goal(self, domain: str, goal_id: int) -> None:
        """Delete a goal. Raises GoalNotFound."""
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            known = 0 < goal_id <= MAX_GOAL_ID
            if not (known and await tables.delete_goal(site.id, goal_id)):
                raise GoalNotFound("Goal could not be found")
        await self._on_change(site.id)

    async def list_shields(self, domain: str) -> Shields:
        """Give a site's shield rules."""
        async with self._registry.view() as tables:
            return await tables.shields((await _find(tables, domain)).id)

    async def add_shield(self, domain: str, rule: ShieldRule) -> ShieldRule:
        """Add a shield rule and give it in canonical text."""
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            rule = _check_shield(rule, shield_values(await tables.shields(site.id), rule.kind))
            await tables.insert_shield(site.id, rule)
        await self._on_change(site.id)
        return rule

    async def remove_shield(self, domain: str, rule: ShieldRule) -> None:
        """Remove a shield rule, however it is written. Raises ShieldRuleNotFound."""
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            if not await tables.delete_shield(site.id, _check_shield(rule, ())):
                raise ShieldRuleNotFound("Shield rule could not be found")
        await self._on_change(site.id)

    async def list_properties(self, domain: str) -> tuple[str, ...]:
        """Give the custom properties that reports may show."""
        return (await self.get_site(domain)).custom_properties

    async def add_property(self, domain: str, name: str) -> None:
        """Allow a custom property; allowed again is fine."""
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            await _write(tables, replace(site, custom_properties=add_property(name, site.custom_properties)))
        await self._on_change(site.id)

    async def remove_property(self, domain: str, name: str) -> None:
        """Take back a custom property; taken back again is fine."""
        async with self._registry.change() as tables:
            site = await _find(tables, domain)
            rest = tuple(other for other in site.custom_properties if other != name.strip())
            await _write(tables, replace(site, custom_properties=rest))
        await self._on_change(site.id)

    async def close(self) -> None:
        """Close the registry."""
        await self._registry.close()


async def _find(tables: SiteTables, text: str) -> SiteRecord:
    try:
        site = await tables.find(check_domain(text))
    except SiteInvalid:
        site = None
    if site is None:
        raise SiteNotFound("Site could not be found")
    return site


async def _write(tables: SiteTables, site: SiteRecord) -> SiteRecord:
    site = replace(site, updated_at=tables.now)
    await tables.update_site(site)
    return site


async def _move(tables: SiteTables, site: SiteRecord, domain: str) -> SiteRecord:
    if domain == site.domain:
        raise SiteInvalid("domain", UNCHANGED)
    owner = await tables.find(domain)
    # Its own former domain a site may take back.
    if owner is not None and owner.id != site.id:
        raise SiteInvalid("domain", TAKEN)
    return replace(site, domain=domain, domain_changed_from=site.domain, domain_changed_at=tables.now)


async def _insert_goals_of_settings(tables: SiteTables, site: SiteRecord) -> None:
    for goal in goals_of_settings(site.tracker_script_configuration, await tables.goals(site.id)):
        await tables.insert_goal(site.id, goal)


def _check_shield(rule: ShieldRule, existing: Sequence[str]) -> ShieldRule:
    text = check_text(rule.kind.value, rule.value, max_chars=MAX_SHIELD_CHARS)
    return ShieldRule(rule.kind, _SHIELD_CHECKS[rule.kind](text, existing))


def _apply_limits(limits: Limits, change: LimitsChange) -> Limits:
    if change.threshold is not UNSET:
        limits = replace(limits, threshold=check_threshold(change.threshold))
    if change.scale_seconds is not UNSET:
        limits = replace(limits, scale_seconds=check_scale_seconds(change.scale_seconds))
    if change.accept_traffic_until is not UNSET:
        limits = replace(limits, accept_traffic_until=change.accept_traffic_until)
    return limits


def _apply_tracker(
    tracker: TrackerScriptConfiguration, change: TrackerScriptChange
) -> TrackerScriptConfiguration:
    given = {name: value for name, value in asdict(change).items() if value is not UNSET}
    return replace(tracker, **given)


def _new_tracker_id() -> str:
    return "pa-" + "".join(secrets.choice(_TRACKER_ID_ALPHABET) for _ in range(_TRACKER_ID_CHARS))
