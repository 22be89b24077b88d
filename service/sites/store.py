"""Where sites, goals, shields and salts are kept, as an interface."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from service.ingestion.shields import Shields
from service.ingestion.site import Site
from service.sites.records import Goal, ShieldRule, SiteRecord


class SiteKey(Struct, frozen=True):
    """One name under which events of a site are taken: its domain, or for a while the one it had before."""

    domain: str
    site_id: int


class SiteStore(Protocol):
    """The reading side, which the running system needs; ``provisioning`` adds the changing side."""

    async def start(self) -> None:
        """Open the store and bring its tables up to date."""

    async def keys(self) -> Sequence[SiteKey]:
        """Give every accepted domain; an expired ``domain_changed_from`` is left out."""

    async def get(self, site_id: int) -> Site | None:
        """Load one site with its goals and shields; None when there is none."""

    async def revision(self) -> int:
        """Give a number that grows with every change, also of another process."""

    async def changed_since(self, revision: int) -> Sequence[int]:
        """Give the sites that were changed, or deleted, after the store had this revision."""

    async def salts(self, *, today: int) -> dict[int, bytes]:
        """Give the salts by day (days since 1970, UTC) from yesterday on, making those of today and tomorrow.

        Older ones are deleted for good. Two processes that ask at once get the same salts.
        """

    async def close(self) -> None:
        """Close the store; safe to call twice."""


class SiteTables(Protocol):
    """The tables inside one transaction: plain rows, no rules. The rules are ``provisioning``'s."""

    @property
    def now(self) -> int:
        """The transaction's time, UTC epoch seconds."""

    async def find(self, domain: str) -> SiteRecord | None:
        """Find a site by its domain, or by the one that it had in the last 72 hours."""

    async def sites(self, *, after: str | None, before: str | None, limit: int) -> list[SiteRecord]:
        """Give up to ``limit`` sites by domain: the first ones after, or the last ones before, a domain."""

    async def insert_site(self, site: SiteRecord) -> int:
        """Add a site and give its number; the record's own number is ignored."""

    async def update_site(self, site: SiteRecord) -> None:
        """Write every field of the site with the record's number."""

    async def delete_site(self, site_id: int) -> None:
        """Delete a site with its goals and shield rules."""

    async def goals(self, site_id: int) -> list[Goal]:
        """Give a site's goals, oldest first."""

    async def insert_goal(self, site_id: int, goal: Goal) -> int:
        """Add a goal and give its number; the goal's own number is ignored."""

    async def delete_goal(self, site_id: int, goal_id: int) -> bool:
        """Delete a goal; False when the site has none with that number."""

    async def shields(self, site_id: int) -> Shields:
        """Give a site's shield rules, each kind oldest first."""

    async def insert_shield(self, site_id: int, rule: ShieldRule) -> None:
        """Add a shield rule."""

    async def delete_shield(self, site_id: int, rule: ShieldRule) -> bool:
        """Delete a shield rule; False when the site has no such rule."""


class SiteRegistry(SiteStore, Protocol):
    """A site store that can be changed, too. After a SiteStoreUnavailable nothing is changed."""

    def view(self) -> AbstractAsyncContextManager[SiteTables]:
        """Open a consistent view of the tables for reading."""

    def change(self) -> AbstractAsyncContextManager[SiteTables]:
        """Open a transaction that is committed at the end of the block, or undone when the block raises.

        Only one is open at a time, over all processes: what was read in it is still true when it is written.
        """
