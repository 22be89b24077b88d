"""A bounded memory of the latest look-ups that counts how many it could answer."""

from typing import Generic, TypeVar

import cachebox

T = TypeVar("T")


class Remembered(Generic[T]):
    """Least recently used goes first; ``hits`` and ``misses`` are totals since the start."""

    __slots__ = ("_cache", "hits", "misses")

    def __init__(self, capacity: int) -> None:
        self._cache: cachebox.LRUCache[str, T] = cachebox.LRUCache(capacity)
        self.hits = 0
        self.misses = 0

    def get(self, key: str) -> T | None:
        """Give what is remembered, None when nothing is; counted."""
        known = self._cache.get(key)
        if known is None:
            self.misses += 1
        else:
            self.hits += 1
        return known

    def __setitem__(self, key: str, value: T) -> None:
        self._cache[key] = value
