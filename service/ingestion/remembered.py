"""A bounded memory of the latest look-ups that counts how many it could answer."""

from typing import Final, Generic, TypeVar

import cachebox

T = TypeVar("T")

NEW_SHARE: Final = 5
"""One part in so many of the memory is for what was asked for only once."""


class Remembered(Generic[T]):
    """What was asked for once goes first, then the least recently used.

    So a flood of keys that never come again, which costs a sender nothing, drives out none that do come
    again. ``hits`` and ``misses`` are totals since the start.
    """

    __slots__ = ("_known", "_new", "hits", "misses")

    def __init__(self, capacity: int) -> None:
        """Remember so many, two at least."""
        new = max(1, capacity // NEW_SHARE)
        self._new: cachebox.LRUCache[str, T] = cachebox.LRUCache(new)
        """Asked for once."""
        self._known: cachebox.LRUCache[str, T] = cachebox.LRUCache(max(1, capacity - new))
        """Asked for again."""
        self.hits = 0
        self.misses = 0

    def get(self, key: str) -> T | None:
        """Give what is remembered, None when nothing is; counted."""
        found = self._known.get(key)
        if found is None:
            if key not in self._new:
                self.misses += 1
                return None
            found = self._known[key] = self._new.pop(key)
        self.hits += 1
        return found

    def __setitem__(self, key: str, value: T) -> None:
        """Remember a value that ``get`` did not find."""
        self._new[key] = value
