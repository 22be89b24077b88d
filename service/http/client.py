"""Provisioning through a running service's admin socket: what the command line uses while the service runs.

So a change takes effect in the service at once, and one process writes. Errors become the same exceptions
that ``StoreProvisioning`` raises.
"""

from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from service.errors import (
    GatehouseError,
    GoalNotFound,
    ShieldRuleNotFound,
    SiteInvalid,
    SiteNotFound,
    SiteStoreUnavailable,
)
from service.ingestion.shields import Shields
from service.sites.provisioning import FIRST_PAGE
from service.sites.records import (
    Goal,
    Limits,
    LimitsChange,
    NewGoal,
    NewSite,
    Page,
    PageRequest,
    ShieldRule,
    SiteChange,
    SiteRecord,
)

ANSWER_TIMEOUT_S: Final = 30.0

_SITES: Final = "http://gatehouse/api/v1/sites"
_DETAILS: Final = {"details": "true"}
_NOT_FOUND: Final = (
    ("Goal", GoalNotFound),
    ("Shield rule", ShieldRuleNotFound),
    ("Site", SiteNotFound),
)

T = TypeVar("T")


class _Meta(Struct):
    after: str | None
    before: str | None
    limit: int


class _Sites(Struct):
    sites: list[SiteRecord]
    meta: _Meta


class _Goals(Struct):
    goals: list[Goal]
    meta: _Meta


class _Property(Struct):
    property: str


class _Properties(Struct):
    custom_properties: list[_Property]


class _Done(Struct):
    deleted: bool = False
    created: bool = False


class _Refusal(Struct):
    error: str


class ClientProvisioning:
    """Provisioning over the admin socket at ``socket_path``. Raises GatehouseError when nobody answers."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        # Made with the first question, because a session belongs to a running loop.
        self._session: aiohttp.ClientSession | None = None

    async def create_site(self, new: NewSite) -> SiteRecord:
        """Add a site."""
        return await self._ask("POST", "", SiteRecord, body=new, query=_DETAILS)

    async def get_site(self, domain: str) -> SiteRecord:
        """Give a site."""
        return await self._ask("GET", _site(domain), SiteRecord, query=_DETAILS)

    async def list_sites(self, page: PageRequest = FIRST_PAGE) -> Page[SiteRecord]:
        """Give sites in order of their domains."""
        found = await self._ask("GET", "", _Sites, query=_DETAILS | _page(page))
        meta = found.meta
        return Page(items=found.sites, after=meta.after, before=meta.before, limit=meta.limit)

    async def update_site(self, domain: str, change: SiteChange) -> SiteRecord:
        """Change a site; after a new domain the old one is still accepted for 72 hours."""
        return await self._ask("PUT", _site(domain), SiteRecord, body=change, query=_DETAILS)

    async def delete_site(self, domain: str) -> None:
        """Delete a site with its goals and shield rules; its rows in ClickHouse stay."""
        await self._ask("DELETE", _site(domain), _Done)

    async def get_limits(self, domain: str) -> Limits:
        """Give a site's limits."""
        return await self._ask("GET", f"{_site(domain)}/limits", Limits)

    async def set_limits(self, domain: str, change: LimitsChange) -> Limits:
        """Change a site's limits and give all of them."""
        return await self._ask("PUT", f"{_site(domain)}/limits", Limits, body=change)

    async def list_goals(self, domain: str, page: PageRequest = FIRST_PAGE) -> Page[Goal]:
        """Give a site's goals, oldest first."""
        query = _DETAILS | _page(page) | {"site_id": domain}
        found = await self._ask("GET", "/goals", _Goals, query=query)
        meta = found.meta
        return Page(items=found.goals, after=meta.after, before=meta.before, limit=meta.limit)

    async def put_goal(self, domain: str, new: NewGoal) -> Goal:
        """Find the goal, or make it."""
        return await self._ask("PUT", "/goals", Goal, body=new, query=_DETAILS | {"site_id": domain})

    async def delete_goal(self, domain: str, goal_id: int) -> None:
        """Delete a goal. Raises GoalNotFound."""
        await self._ask("DELETE", f"/goals/{goal_id}", _Done, query={"site_id": domain})

    async def list_shields(self, domain: str) -> Shields:
        """Give a site's shield rules."""
        return await self._ask("GET", f"{_site(domain)}/shields", Shields)

    async def add_shield(self, domain: str, rule: ShieldRule) -> ShieldRule:
        """Add a shield rule and give it in canonical text."""
        return await self._ask("PUT", f"{_site(domain)}/shields", ShieldRule, body=rule)

    async def remove_shield(self, domain: str, rule: ShieldRule) -> None:
        """Remove a shield rule, however it is written. Raises ShieldRuleNotFound."""
        await self._ask("DELETE", f"{_site(domain)}/shields", _Done, body=rule)

    async def list_properties(self, domain: str) -> tuple[str, ...]:
        """Give the custom properties that reports may show."""
        found = await self._ask("GET", "/custom-props", _Properties, query={"site_id": domain})
        return tuple(custom.property for custom in found.custom_properties)

    async def add_property(self, domain: str, name: str) -> None:
        """Allow a custom property; allowed again is fine."""
        await self._ask("PUT", "/custom-props", _Done, body=_Property(name), query={"site_id": domain})

    async def remove_property(self, domain: str, name: str) -> None:
        """Take back a custom property; taken back again is fine."""
        await self._ask("DELETE", f"/custom-props{_site(name)}", _Done, query={"site_id": domain})

    async def close(self) -> None:
        """Close the connection; safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(
        self,
        method: str,
        path: str,
        type_: type[T],
        *,
        body: Struct | None = None,
        query: dict[str, str] | None = None,
    ) -> T:
        if self._session is None:
            connector = aiohttp.UnixConnector(str(self._socket_path))
            timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        try:
            # The query is escaped by yarl; a path that holds escapes must not be escaped again.
            url = URL(_SITES + path, encoded=True).with_query(query)
            async with self._session.request(
                method,
                url,
                data=None if body is None else msgspec.json.encode(body),
                headers={"Content-Type": "application/json"},
            ) as response:
                text = await response.read()
                if response.status != 200:
                    raise _build_error(response.status, text)
                return msgspec.json.decode(text, type=type_)
        except UnicodeEncodeError as error:
            raise SiteInvalid("parameter", "is not valid Unicode") from error
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            reason = str(error) or type(error).__name__
            raise GatehouseError(f"The service does not answer on {self._socket_path}: {reason}") from error


def _site(domain: str) -> str:
    # What is no Unicode becomes a question mark, which no name holds, so nothing is found.
    return "/" + quote(domain, safe="", errors="replace")


def _page(page: PageRequest) -> dict[str, str]:
    given = {"after": page.after, "before": page.before, "limit": str(page.limit)}
    return {name: value for name, value in given.items() if value is not None}


def _build_error(status: int, body: bytes) -> GatehouseError:
    message = msgspec.json.decode(body, type=_Refusal).error
    if status == 404:
        for start, kind in _NOT_FOUND:
            if message.startswith(start):
                return kind(message)
    if status == 400:
        field, separator, rule = message.partition(": ")
        return SiteInvalid(field, rule) if separator else GatehouseError(message)
    return SiteStoreUnavailable(message) if status == 503 else GatehouseError(message)
