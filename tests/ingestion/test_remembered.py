"""The memory of look-ups is bounded, and a flood of keys that never come again drives nothing else out."""

from collections.abc import Iterable
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.remembered import Remembered

CAPACITY = 10
"""Two of them for what was asked for once."""


def look_up(memory: Remembered[str], keys: Iterable[str]) -> None:
    """Ask for each key, and remember what was not."""
    for key in keys:
        if memory.get(key) is None:
            memory[key] = key.upper()


def remembered(memory: Remembered[str], keys: Iterable[str]) -> str:
    """Give the keys that are remembered; to ask for one makes a difference, so each is asked of a copy."""
    return "".join(key for key in keys if deepcopy(memory).get(key) is not None)


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ("", ""),
        ("a", "a"),
        ("ab", "ab"),
        ("abc", "bc"),  # of two asked for once, the older goes
        ("aabc", "abc"),  # one asked for again stays
        ("aabbccddeeffgghh", "abcdefgh"),
        ("aabbccddeeffgghhii", "efghi"),  # of those asked for again, the older generation goes
        ("aabbccddeeffgghhaii", "aefghi"),  # without the one that was just used
        ("aabbccddeeffgghhxyz", "abcdefghyz"),
    ],
)
def test_what_goes_first(asked: str, left: str) -> None:
    """Each key is asked for in turn; these are remembered in the end."""
    memory: Remembered[str] = Remembered(CAPACITY)
    look_up(memory, asked)
    assert remembered(memory, sorted(set(asked))) == left


def test_a_flood_drives_nothing_out_that_comes_again() -> None:
    """A hundred times as many keys as there is room for, each asked for once."""
    memory: Remembered[str] = Remembered(CAPACITY)
    look_up(memory, "aabbcc")
    look_up(memory, (f"flood {number}" for number in range(100 * CAPACITY)))
    assert remembered(memory, "abc") == "abc"


@given(st.lists(st.text("abcdefghijklmnop", min_size=1, max_size=1), max_size=200), st.integers(3, 12))
def test_it_is_bounded_and_right(asked: list[str], capacity: int) -> None:
    """Whatever is asked for: no more is remembered than there is room for, and what is, is right."""
    memory: Remembered[str] = Remembered(capacity)
    look_up(memory, asked)
    assert (memory.hits + memory.misses) == len(asked)
    kept = {key: deepcopy(memory).get(key) for key in set(asked)}
    assert sum(value is not None for value in kept.values()) <= capacity
    assert all(value in (None, key.upper()) for key, value in kept.items())


def test_look_ups_are_counted() -> None:
    """By whether they could be answered."""
    memory: Remembered[str] = Remembered(CAPACITY)
    look_up(memory, "abaab")
    assert (memory.hits, memory.misses) == (3, 2)
