"""The DirectoryActor: which domains are known, and to which site each belongs.

The only writer of the directory; the front reads it for every event. A domain that is not in it gets no
actor, so a flood of made-up domains costs a dictionary look-up each and no memory (design.md section 3). A
change made through the admin API is in force before that call is answered; one made by another process is
noticed by the store's revision.
"""

import logging
from collections.abc import Callable
from typing import ClassVar, Final

from actors.messages import Reload, SiteChanged, Tick
from actors.runtime import Actor, Envelope, Ref
from service.errors import GatehouseError
from service.ingestion.site import Site
from service.sites.cache import SiteCache
from service.sites.store import SiteStore

log = logging.getLogger(__name__)

FULL_RELOAD_CHANGES: Final = 200
"""With more sites changed at once, reading the whole list is cheaper than looking through it for each."""


class Directory:
    """Domain to site id; about 0.2 KB a known site."""

    __slots__ = ("by_domain", "loaded")

    def __init__(self) -> None:
        self.by_domain: dict[str, int] = {}
        self.loaded = False
        """Set once the first list is in: before that nothing can be judged."""

    def find(self, domain: str) -> int | None:
        """Give the id of the site that takes this domain's events.

        Exact and case-sensitive (reference 5.1).
        """
        return self.by_domain.get(domain)


class DirectoryActor(Actor):
    """Keeps the directory, and the sites of awake actors, up to date."""

    kind: ClassVar[str] = "directory"
    mailbox_bound: ClassVar[int] = 1000

    def __init__(
        self,
        store: SiteStore,
        cache: SiteCache,
        directory: Directory,
        *,
        find_awake: Callable[[int], Ref[SiteChanged] | None],
        refresh_s: float,
    ) -> None:
        self._store = store
        self._cache = cache
        self._directory = directory
        self._find_awake = find_awake
        self._refresh_s = refresh_s
        self._revision = 0
        """The store's revision that the directory is known to hold."""
        self._loaded_at: float | None = None
        """When the whole list was last read, UTC epoch seconds."""

    async def on_start(self) -> None:
        """Load the list; an error here stops the start."""
        await self._load_all()

    async def receive(self, envelope: Envelope) -> None:
        """Bring one site, or everything that changed behind our back, up to date."""
        match envelope.message:
            case Reload(site_id=site_id):
                try:
                    await self._reload(site_id)
                except GatehouseError as error:
                    envelope.fail(error)
                else:
                    envelope.reply(None)
            case Tick(now=now):
                try:
                    await self._refresh(now)
                except GatehouseError as error:
                    log.warning("The sites could not be read again, the known ones stay in force: %s", error)

    async def _refresh(self, now: float) -> None:
        if self._loaded_at is None:
            self._loaded_at = now
        revision = await self._store.revision()
        if revision != self._revision:
            changed = await self._store.changed_since(self._revision)
            if len(changed) > FULL_RELOAD_CHANGES:
                await self._load_all()
                changed = [site_id for site_id in changed if self._find_awake(site_id) is not None]
            for site_id in changed:
                await self._reload(site_id)
            self._revision = revision
        if now - self._loaded_at >= self._refresh_s:
            # Time alone changes the list, too: a former domain is taken for 72 hours (reference 5.4).
            await self._load_all()
            self._loaded_at = now

    async def _load_all(self) -> None:
        # The revision is read first: a change between the two reads makes one reload too many, never one too
        # few.
        revision = await self._store.revision()
        self._directory.by_domain = {key.domain: key.site_id for key in await self._store.keys()}
        self._directory.loaded = True
        self._revision = revision

    async def _reload(self, site_id: int) -> None:
        site = await self._cache.refresh(site_id)
        self._list(site_id, site)
        awake = self._find_awake(site_id)
        if awake is not None:
            awake.tell_control(SiteChanged(site))

    def _list(self, site_id: int, site: Site | None) -> None:
        domains: set[str | None] = set() if site is None else {site.domain, site.domain_changed_from}
        by_domain = self._directory.by_domain
        outdated = [known for known, owner in by_domain.items() if owner == site_id and known not in domains]
        for known in outdated:
            del by_domain[known]
        for domain in domains:
            if domain is not None:
                by_domain[domain] = site_id
