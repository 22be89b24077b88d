"""A bounded memory of the latest look-ups that counts how many it could answer."""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

T = TypeVar("T")

NEW_SHARE: Final = 5
"""One part in so many of the memory is for what was asked for only once."""


class Remembered(Generic[T]):
    """What was asked for once goes first, then what was not asked for lately.

    So a flood of keys that never come again, which costs a sender nothing, drives out none that do come
    again. Those are kept in two generations: a look-up is one of a plain dictionary, nothing is moved for it.
    ``hits`` and ``misses`` are totals since the start.
    """

    __slots__ = ("_generation", "_new", "_new_room", "_old", "_young", "hits", "misses")

    def __init__(self, capacity: int) -> None:
        """Remember so many at most, three at least."""
        self._new_room = max(1, capacity // NEW_SHARE)
        self._generation = max(1, (capacity - self._new_room) // 2)
        self._new: OrderedDict[str, T] = OrderedDict()
        """Asked for once, the latest last."""
        self._young: dict[str, T] = {}
        """Asked for again since the last generation was full."""
        self._old: dict[str, T] = {}
        """Asked for again before, and not since."""
        self.hits = 0
        self.misses = 0

    def get(self, key: str) -> T | None:
        """Give what is remembered, None when nothing is; counted."""
        found = self._young.get(key)
        if found is None and (found := self._rejuvenate(key)) is None:
            self.misses += 1
            return None
        self.hits += 1
        return found

    def __setitem__(self, key: str, value: T) -> None:
        """Remember a value that ``get`` did not find."""
        if len(self._new) >= self._new_room:
            self._new.popitem(last=False)
        self._new[key] = value

    def _rejuvenate(self, key: str) -> T | None:
        found = self._old.pop(key, None)
        if found is None and (found := self._new.pop(key, None)) is None:
            return None
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        self._young[key] = found
        return found
