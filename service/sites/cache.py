"""Sites as loaded from the store, kept for a while in aiocache so that a waking actor costs no I/O.

Only known sites are looked up, and an entry ends by itself, so the cache is bounded by the number of active
sites.
"""

from aiocache import SimpleMemoryCache

from service.ingestion.site import Site
from service.sites.store import SiteStore


class SiteCache:
    """Gives sites by id, from memory or the store."""

    def __init__(self, store: SiteStore, *, ttl_s: float) -> None:
        self._store = store
        self._ttl_s = ttl_s
        # One instance a system: aiocache's memory backend shares nothing between instances. Its own time-out
        # would cost a task a call and guard against nothing, since the backend never waits.
        self._cache = SimpleMemoryCache(timeout=None)
        self.hits = 0
        self.misses = 0
        """How often ``get`` found a site in memory, and how often not: totals since the start."""

    async def get(self, site_id: int) -> Site | None:
        """Give the site, loading it if need be; None when there is none. Raises what the store raises."""
        site: Site | None = await self._cache.get(site_id)
        if site is not None:
            self.hits += 1
            return site
        self.misses += 1
        return await self.refresh(site_id)

    async def refresh(self, site_id: int) -> Site | None:
        """Load the site anew and give it; None, and forgotten, when it is gone."""
        site = await self._store.get(site_id)
        if site is None:
            await self._cache.delete(site_id)
        else:
            await self._cache.set(site_id, site, ttl=self._ttl_s)
        return site

    async def close(self) -> None:
        """Forget everything, timers included."""
        await self._cache.clear()
