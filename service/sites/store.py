"""Where sites, goals, shields and salts are kept, as an interface."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from service.ingestion.site import Site


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

    async def salts(self, *, today: int) -> dict[int, bytes]:
        """Give the salts by day (days since 1970, UTC) from yesterday on, making those of today and tomorrow.

        Older ones are deleted for good. Two processes that ask at once get the same salts.
        """

    async def close(self) -> None:
        """Close the store; safe to call twice."""
