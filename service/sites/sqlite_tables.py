"""The sites' SQLite tables inside one transaction: records to rows and back, and nothing else.

JSON columns hold what ingestion never looks at. A day is ISO 8601 text, a time is UTC epoch seconds.
"""

import datetime
from typing import Final

import aiosqlite
import msgspec

from service.ingestion.shields import Shields
from service.sites.records import (
    Goal,
    GoalType,
    Limits,
    ShieldKind,
    ShieldRule,
    SiteRecord,
    TrackerScriptConfiguration,
)

DOMAIN_CHANGE_GRACE_S: Final = 72 * 3600
"""How long events are still taken under the domain that a site had before (reference 5.4)."""

_SITE_BY_ID: Final = """
    SELECT
        id, domain, domain_changed_from, domain_changed_at, timezone, ingest_rate_limit_threshold,
        ingest_rate_limit_scale_seconds, accept_traffic_until, allowed_event_props,
        tracker_script_configuration, created_at, updated_at
    FROM sites WHERE id = ?
"""
_SITE_ID_BY_DOMAIN: Final = """
    SELECT id FROM sites WHERE domain = ?
    UNION ALL
    SELECT id FROM sites WHERE domain_changed_from = ? AND domain_changed_at > ?
"""
_SITES_AFTER: Final = """
    SELECT
        id, domain, domain_changed_from, domain_changed_at, timezone, ingest_rate_limit_threshold,
        ingest_rate_limit_scale_seconds, accept_traffic_until, allowed_event_props,
        tracker_script_configuration, created_at, updated_at
    FROM sites WHERE domain > ? ORDER BY domain LIMIT ?
"""
_SITES_BEFORE: Final = """
    SELECT
        id, domain, domain_changed_from, domain_changed_at, timezone, ingest_rate_limit_threshold,
        ingest_rate_limit_scale_seconds, accept_traffic_until, allowed_event_props,
        tracker_script_configuration, created_at, updated_at
    FROM sites WHERE domain < ? ORDER BY domain DESC LIMIT ?
"""
_INSERT_SITE: Final = """
    INSERT INTO sites (
        domain, domain_changed_from, domain_changed_at, timezone, ingest_rate_limit_threshold,
        ingest_rate_limit_scale_seconds, accept_traffic_until, allowed_event_props,
        tracker_script_configuration, created_at, updated_at
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_UPDATE_SITE: Final = """
    UPDATE sites SET (
        domain, domain_changed_from, domain_changed_at, timezone, ingest_rate_limit_threshold,
        ingest_rate_limit_scale_seconds, accept_traffic_until, allowed_event_props,
        tracker_script_configuration, created_at, updated_at
    ) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?
"""
_INSERT_GOAL: Final = """
    INSERT INTO goals (site_id, display_name, event_name, page_path, custom_props, currency, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id
"""

_Row = tuple[object, ...]


class SqliteSiteTables:
    """The tables in the transaction open on ``connection``, which began at ``now`` (UTC epoch seconds)."""

    def __init__(self, connection: aiosqlite.Connection, now: int) -> None:
        self._connection = connection
        self.now = now

    async def find(self, domain: str) -> SiteRecord | None:
        """Find a site by its domain, or by the one that it had in the last 72 hours."""
        ids = await self._run(_SITE_ID_BY_DOMAIN, domain, domain, self.now - DOMAIN_CHANGE_GRACE_S)
        if not ids:
            return None
        (row,) = await self._run(_SITE_BY_ID, *ids[0])
        return self._decode_site(row)

    async def sites(self, *, after: str | None, before: str | None, limit: int) -> list[SiteRecord]:
        """Give up to ``limit`` sites by domain: the first ones after, or the last ones before, a domain."""
        if before is not None:
            rows = (await self._run(_SITES_BEFORE, before, limit))[::-1]
        else:
            rows = await self._run(_SITES_AFTER, after or "", limit)
        return [self._decode_site(row) for row in rows]

    async def insert_site(self, site: SiteRecord) -> int:
        """Add a site and give its number; the record's own number is ignored."""
        rows = await self._run(_INSERT_SITE, *_encode_site(site))
        return msgspec.convert(rows[0][0], int)

    async def update_site(self, site: SiteRecord) -> None:
        """Write every field of the site with the record's number."""
        await self._run(_UPDATE_SITE, *_encode_site(site), site.id)

    async def delete_site(self, site_id: int) -> None:
        """Delete a site with its goals and shield rules."""
        await self._run("DELETE FROM sites WHERE id = ?", site_id)

    async def goals(self, site_id: int) -> list[Goal]:
        """Give a site's goals, oldest first."""
        rows = await self._run(
            "SELECT id, display_name, event_name, page_path, custom_props, currency"
            " FROM goals WHERE site_id = ? ORDER BY id",
            site_id,
        )
        return [_decode_goal(row) for row in rows]

    async def insert_goal(self, site_id: int, goal: Goal) -> int:
        """Add a goal and give its number; the goal's own number is ignored."""
        rows = await self._run(
            _INSERT_GOAL,
            site_id,
            goal.display_name,
            goal.event_name,
            goal.page_path,
            _encode_json(goal.custom_props),
            goal.currency,
            self.now,
        )
        return msgspec.convert(rows[0][0], int)

    async def delete_goal(self, site_id: int, goal_id: int) -> bool:
        """Delete a goal; False when the site has none with that number."""
        rows = await self._run(
            "DELETE FROM goals WHERE site_id = ? AND id = ? RETURNING id", site_id, goal_id
        )
        return bool(rows)

    async def shields(self, site_id: int) -> Shields:
        """Give a site's shield rules, each kind oldest first."""
        rows = await self._run("SELECT kind, value FROM shield_rules WHERE site_id = ? ORDER BY id", site_id)
        return build_shields(msgspec.convert(rows, list[tuple[ShieldKind, str]]))

    async def insert_shield(self, site_id: int, rule: ShieldRule) -> None:
        """Add a shield rule."""
        await self._run(
            "INSERT INTO shield_rules (site_id, kind, value, created_at) VALUES (?, ?, ?, ?)",
            site_id,
            rule.kind.value,
            rule.value,
            self.now,
        )

    async def delete_shield(self, site_id: int, rule: ShieldRule) -> bool:
        """Delete a shield rule; False when the site has no such rule."""
        rows = await self._run(
            "DELETE FROM shield_rules WHERE site_id = ? AND kind = ? AND value = ? RETURNING id",
            site_id,
            rule.kind.value,
            rule.value,
        )
        return bool(rows)

    async def _run(self, sql: str, *parameters: object) -> list[_Row]:
        return [tuple(row) for row in await self._connection.execute_fetchall(sql, parameters)]

    def _decode_site(self, row: _Row) -> SiteRecord:
        site = msgspec.convert(row, _SiteRow)
        in_grace = (
            site.domain_changed_at is not None and site.domain_changed_at > self.now - DOMAIN_CHANGE_GRACE_S
        )
        return SiteRecord(
            id=site.id,
            domain=site.domain,
            domain_changed_from=site.domain_changed_from if in_grace else None,
            domain_changed_at=site.domain_changed_at if in_grace else None,
            timezone=site.timezone,
            limits=Limits(
                threshold=site.ingest_rate_limit_threshold,
                scale_seconds=site.ingest_rate_limit_scale_seconds,
                accept_traffic_until=site.accept_traffic_until,
            ),
            custom_properties=msgspec.json.decode(site.allowed_event_props, type=tuple[str, ...]),
            tracker_script_configuration=msgspec.json.decode(
                site.tracker_script_configuration, type=TrackerScriptConfiguration
            ),
            created_at=site.created_at,
            updated_at=site.updated_at,
        )


class _SiteRow(msgspec.Struct, array_like=True):
    """A row of ``sites`` in the order of the SELECTs above."""

    id: int
    domain: str
    domain_changed_from: str | None
    domain_changed_at: int | None
    timezone: str
    ingest_rate_limit_threshold: int | None
    ingest_rate_limit_scale_seconds: int
    accept_traffic_until: datetime.date | None
    allowed_event_props: str
    tracker_script_configuration: str
    created_at: int
    updated_at: int


def build_shields(rules: list[tuple[ShieldKind, str]]) -> Shields:
    """Group rules by kind, keeping their order."""
    kinds: dict[ShieldKind, list[str]] = {kind: [] for kind in ShieldKind}
    for kind, value in rules:
        kinds[kind].append(value)
    return Shields(
        hostnames=tuple(kinds[ShieldKind.HOSTNAME]),
        pages=tuple(kinds[ShieldKind.PAGE]),
        ips=tuple(kinds[ShieldKind.IP]),
        countries=tuple(kinds[ShieldKind.COUNTRY]),
    )


def _encode_site(site: SiteRecord) -> _Row:
    until = site.limits.accept_traffic_until
    return (
        site.domain,
        site.domain_changed_from,
        site.domain_changed_at,
        site.timezone,
        site.limits.threshold,
        site.limits.scale_seconds,
        until.isoformat() if until is not None else None,
        _encode_json(site.custom_properties),
        _encode_json(site.tracker_script_configuration),
        site.created_at,
        site.updated_at,
    )


def _decode_goal(row: _Row) -> Goal:
    goal_id, display_name, event_name, page_path, custom_props, currency = row
    return msgspec.convert(
        {
            "id": goal_id,
            "display_name": display_name,
            "goal_type": GoalType.EVENT if event_name is not None else GoalType.PAGE,
            "event_name": event_name,
            "page_path": page_path,
            "custom_props": msgspec.json.decode(str(custom_props)),
            "currency": currency,
        },
        Goal,
    )


def _encode_json(value: object) -> str:
    return msgspec.json.encode(value).decode()
