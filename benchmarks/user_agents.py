"""Measures the user-agent engine: how often it agrees with Matomo, field by field, and what a parse costs.

    python -m benchmarks.user_agents [FOLDER]

FOLDER keeps the built databases (default: a temporary one, which takes half a minute more).
"""

import gc
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.traffic import USER_AGENTS
from service.ingestion.user_agent import Detection, UserAgents, describe
from service.user_agents.engine import UserAgentEngine
from tests.support.matomo import Example, differences, examples

SEED = 20261123
TIMED = 10_000
CACHED_ROUNDS = 200_000
BUILD_PATIENCE_S = 300.0


def main() -> None:
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder))


def measure(folder: Path) -> None:
    known = list(examples())
    # As the service does: else the collector's look at all the examples would count as somebody's parse.
    gc.collect()
    gc.freeze()
    began = time.perf_counter()
    engine = UserAgentEngine(folder)
    print(f"ready after {time.perf_counter() - began:.2f} s, scanning with {engine.scans_with}")
    if engine.scans_with == "RE2":
        report_times("RE2, ", engine, known)
        began = time.perf_counter()
        engine.start(delay_s=0)
        engine.wait(BUILD_PATIENCE_S)
        print(f"\n{engine.scans_with} after {time.perf_counter() - began:.0f} s of building")
    fresh = UserAgentEngine(folder)
    report_times("in the first seconds, ", fresh, known)
    fresh.compile(pause_s=0)
    report_times("", fresh, known)
    report_cached(engine)
    report_accuracy(engine, known)
    engine.close()


def report_accuracy(engine: UserAgentEngine, known: list[Example]) -> None:
    wrong: Counter[str] = Counter()
    for example in known:
        found = engine.take_apart(example.user_agent) or Detection()
        wrong.update(list(differences(found, example)))
        wrong["the six stored values"] += describe(found) != describe(example.expected) and bool(
            example.expected.client_type or example.expected.is_bot
        )
    print(f"\n| field | of {len(known):,} examples as Matomo |\n|---|---|")
    for field in (*Detection.__struct_fields__, "the six stored values"):
        print(f"| {field} | {1 - wrong[field] / len(known):.4%} ({wrong[field]} differ) |")


def report_times(what: str, engine: UserAgentEngine, known: list[Example]) -> None:
    chosen = random.Random(SEED).sample([example.user_agent for example in known], TIMED)
    traffic = [f"{agent} x/{number}" for number in range(TIMED // len(USER_AGENTS)) for agent in USER_AGENTS]
    print("\n| parse | median µs | p99 µs | worst µs |\n|---|---|---|---|")
    for name, agents in (
        (f"{what}Matomo's examples, never seen", chosen),
        (f"{what}common browsers, never the same text", traffic),
    ):
        spent = sorted(time_one(engine, agent) for agent in agents)
        median, p99 = spent[len(spent) // 2], spent[len(spent) * 99 // 100]
        print(f"| {name} | {median * 1e6:.0f} | {p99 * 1e6:.0f} | {spent[-1] * 1e6:.0f} |")


def time_one(engine: UserAgentEngine, user_agent: str) -> float:
    began = time.perf_counter()
    engine.take_apart(user_agent)
    return time.perf_counter() - began


def report_cached(engine: UserAgentEngine) -> None:
    parser = UserAgents(engine.take_apart, capacity=10_000)
    agents = list(USER_AGENTS)
    for agent in agents:
        parser.parse(agent)
    began = time.perf_counter()
    for _ in range(CACHED_ROUNDS // len(agents)):
        for agent in agents:
            parser.parse(agent)
    print(f"| remembered | {(time.perf_counter() - began) / CACHED_ROUNDS * 1e6:.3f} | | |")


if __name__ == "__main__":
    main()
