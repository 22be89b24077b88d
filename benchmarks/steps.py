"""The rules alone: microseconds of each pipeline step with warm caches, and their sum beside the budget.

``python -m benchmarks.steps``. The events are those of the load: 500 visitors, 17 browsers, 6 referrers.
"""

import argparse
import gc
from collections.abc import Callable
from statistics import median
from time import perf_counter_ns
from typing import Any

from benchmarks.traffic import NETWORKS, PAGES, REFERRERS, USER_AGENTS, VISITORS
from service.ingestion.event import STEPS, Context, Event, Tables
from service.ingestion.raw_event import RawEvent
from service.ingestion.request import Request, build_request
from service.ingestion.shields import NO_SHIELDS
from service.ingestion.site import Site
from service.ingestion.source_table import Referrer
from service.ingestion.spam import is_spam_referrer
from service.ingestion.user_agent import UserAgents
from service.tables import load_tables
from service.user_agents.engine import UserAgentEngine

BUDGET_US = 25.0
"""For all steps of one event together."""
NOON = 1_795_003_200
SITE = Site(id=1, domain="example.com")
REFERRERS_LOOKED_UP = (
    Referrer("", "google.com", "/"),
    Referrer("", "lm.facebook.com", "/"),
    Referrer("", "www2.google.com.br", "/search"),
    Referrer("", "de.m.wikipedia.org", "/wiki/A"),
    Referrer("android-app://", "com.reddit.frontpage", "/"),
    Referrer("", "blog.partner.example", "/weekly-links"),
    Referrer("", "a.long.host.that.nobody.has.ever.heard.of.example", "/page"),
    Referrer("", "a.made.up.name.before.google.co.uk", "/"),
)


def make_requests() -> list[Request]:
    """Give one page view of each visitor."""
    requests = []
    for visitor in range(VISITORS):
        page = visitor * 7 % PAGES
        raw = RawEvent(
            n="pageview",
            u=f"https://example.com/articles/{page}?utm_source=newsletter&page={page}"
            if visitor % 2
            else f"https://example.com/articles/{page}",
            d="example.com",
            r=REFERRERS[visitor % len(REFERRERS)],
            p={"plan": "team", "logged_in": "false"},
        )
        built = build_request(
            raw,
            timestamp=NOON,
            remote_ip=f"{NETWORKS[visitor % len(NETWORKS)]}.{1 + visitor // len(NETWORKS)}",
            user_agent=USER_AGENTS[visitor % len(USER_AGENTS)],
            ip_class=None,
        )
        assert isinstance(built, Request)
        requests.append(built)
    return requests


def measure_steps(tables: Tables, *, rounds: int) -> dict[str, float]:
    """Give the median microseconds of each step; the clock's own time is taken off."""
    context = Context(
        site=SITE,
        shields=NO_SHIELDS,
        tables=tables,
        current_salt=bytes(16),
        previous_salt=bytes(range(16)),
    )
    requests = make_requests()
    figures: dict[str, list[float]] = {"spam_referrer": [], **{step.name: [] for step in STEPS}}
    for _ in range(rounds + 1):  # the first one warms the caches
        events = [Event(domain="example.com", request=request) for request in requests]
        began = perf_counter_ns()
        for request in requests:
            is_spam_referrer(request.referrer, tables.spam.value)
        figures["spam_referrer"].append(perf_counter_ns() - began)
        for name, run, _ in STEPS:
            began = perf_counter_ns()
            for event in events:
                run(event, context)
            figures[name].append(perf_counter_ns() - began)
    return {name: median(times[1:]) / 1000 / len(requests) for name, times in figures.items()}


def measure(call: Callable[[Any], object], argument: object, *, repeats: int = 20_000) -> float:
    """Give the median microseconds of a call."""
    times = []
    for _ in range(9):
        began = perf_counter_ns()
        for _ in range(repeats // 9):
            call(argument)
        times.append((perf_counter_ns() - began) / 1000 / (repeats // 9))
    return median(times)


def main() -> None:
    """Load, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    tables = load_tables(
        user_agents=UserAgents(UserAgentEngine(None).take_apart, capacity=10_000),
        geo_database=None,
        spam_list=None,
        exchange_rates=None,
    ).tables
    gc.collect()
    gc.disable()
    figures = measure_steps(tables, rounds=options.rounds)
    for name, figure in figures.items():
        print(f"{name:32}{figure:>8.2f} µs")
    total = sum(figures.values())
    print(f"{'sum':32}{total:>8.2f} µs, {total / BUDGET_US:.0%} of the budget of {BUDGET_US:g} µs")
    print("\nsource look-ups")
    for referrer in REFERRERS_LOOKED_UP:
        figure = measure(tables.sources.find, referrer)
        print(f"{referrer.prefix + referrer.host:54}{figure:>8.2f} µs  {tables.sources.find(referrer)}")
    print("\nroot domains, remembered")
    figure = measure(tables.root_domains.root_domain, "www.blog.example.co.uk")
    print(f"{'www.blog.example.co.uk':54}{figure:>8.2f} µs")


if __name__ == "__main__":
    main()
