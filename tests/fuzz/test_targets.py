"""The targets keep their promises on the examples and on what is near them; `make fuzz` goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds

CHANGES = st.lists(st.tuples(st.integers(0, 4095), st.binary(max_size=8), st.integers(0, 8)), max_size=4)


@pytest.mark.parametrize("name", TARGETS)
def test_examples(name: str) -> None:
    """What the fuzzer begins with is good, and so is nothing at all."""
    for content in (*seeds(name), b""):
        TARGETS[name](content)


@pytest.mark.parametrize("name", TARGETS)
@given(number=st.integers(0, 7), changes=CHANGES)
def test_changed_examples(name: str, number: int, changes: list[tuple[int, bytes, int]]) -> None:
    """Bytes put in, left out and changed."""
    examples = seeds(name)
    content = bytearray(examples[number % len(examples)])
    for place, new, gone in changes:
        at = place % (len(content) + 1)
        content[at : at + gone] = new
    TARGETS[name](bytes(content))
