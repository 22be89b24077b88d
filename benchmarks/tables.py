"""``python -m benchmarks.tables``: what a look-up costs in the tables of addresses and of referrer spam."""

import ipaddress
import random
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Final

from service.ingestion.spam import is_spam_referrer
from service.tables.addresses import watch_addresses
from service.tables.spam import watch_spam_list

RANGES: Final = 20_000
ADDRESSES: Final = 2_000
ROUNDS: Final = 50


def main() -> None:
    """Measure and print microseconds per look-up, the best of five rounds."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "list.txt"
        ranges = [
            f"{ipaddress.IPv4Address(chance.getrandbits(32))}/{chance.randint(16, 28)}" for _ in range(RANGES)
        ]
        file.write_text("\n".join(ranges))
        verdicts = watch_addresses([f"{file}=dc_ip"], None).published.value
    print(f"{RANGES:,} ranges, {verdicts.intervals:,} intervals")
    v4 = [str(ipaddress.IPv4Address(chance.getrandbits(32))) for _ in range(ADDRESSES)]
    v6 = [str(ipaddress.IPv6Address(chance.getrandbits(128))) for _ in range(ADDRESSES)]
    spam = watch_spam_list(None, None).published.value
    referrers = [f"https://www.{name}/path" for name in sorted(spam)]
    measure("ip list, IPv4", verdicts.find, v4)
    measure("ip list, IPv6", verdicts.find, v6)
    measure("spam referrer", lambda referrer: is_spam_referrer(referrer, spam), referrers)


def measure(what: str, look_up: Callable[[str], object], texts: list[str]) -> None:
    """Print what one look-up costs."""

    def run() -> None:
        for text in texts:
            look_up(text)

    best_s = min(timeit.repeat(run, number=ROUNDS, repeat=5))
    print(f"{what:<24} {best_s / ROUNDS / len(texts) * 1e6:6.2f} µs")


if __name__ == "__main__":
    main()
