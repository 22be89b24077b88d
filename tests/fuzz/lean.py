"""``python -m tests.fuzz.lean --examples 100000``: the connections' property tests for as long as you like.

Prints how many streams were played. It ends with the smallest stream that fails, if there is one.
"""

import argparse
import asyncio
import logging
import sys
from time import monotonic

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.test_lean_connection import ANY_STREAM, CUTS, NOISE, check_any_bytes


def main() -> None:
    """Play random streams."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=10_000)
    examples = parser.parse_args().examples
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # it logs each request that it refuses
    played = 0

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ANY_STREAM, st.lists(st.tuples(st.integers(0, 5000), NOISE), max_size=8), CUTS)
    def play(names: list[str], noise: list[tuple[int, bytes]], sizes: list[int]) -> None:
        nonlocal played
        played += 1
        asyncio.run(check_any_bytes(names, noise, sizes))

    began = monotonic()
    play()
    sys.stdout.write(
        f"{played:,} streams in {monotonic() - began:.0f} s: nothing raised, every connection ended\n"
    )


if __name__ == "__main__":
    main()
