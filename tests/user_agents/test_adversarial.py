"""No rule can be made to take long: each is timed on texts made to tempt it.

For every rule a text that it matches is made out of its own syntax tree, with each repetition filled up;
parts that nearly match are put before and after. A rule runs only when the scanner named it, so what is timed
is the whole detection.
"""

import re
import time
from collections.abc import Iterator
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Final

from service.ingestion.user_agent import MAX_READ_CHARS
from service.user_agents.detector import Plan
from service.user_agents.engine import UserAgentEngine
from service.user_agents.patterns import as_bytes_seen, loosen
from service.user_agents.rules import load_rules
from tests.support.tempting import tempting

WORST_S: Final = 0.05
"""CPU time of one detection, a quarter of its limit; measured: 0.011."""


def texts(expression: str) -> Iterator[str]:
    """Give the texts for one rule, each as long as is read."""
    tree = parser.parse(as_bytes_seen(loosen(expression)), re.IGNORECASE | re.ASCII)
    short = tempting(tree, 0)
    size = MAX_READ_CHARS - len(short) - 2
    yield (short[:-1] + " ") * (size // max(1, len(short))) + " " + short
    yield short[:-1] * (size // max(1, len(short))) + " " + short
    for fill in (30, 900):
        long = tempting(tree, fill)[:size]
        yield long + "\x00"
        yield long + " ;" + short
        yield short + " " + long


def test_no_rule_takes_long(fast_engine: UserAgentEngine) -> None:
    """The slowest detection is far from the limit."""
    plan = Plan(load_rules())
    slowest = (0.0, "")
    for _, rule in (*plan.expressions, *plan.models):
        for text in texts(rule):
            slowest = max(slowest, (_time(fast_engine, ("A " + text)[:MAX_READ_CHARS]), rule))
    assert slowest < (WORST_S, ""), slowest


def _time(engine: UserAgentEngine, text: str) -> float:
    for _ in range(2):
        began = time.thread_time()
        engine.take_apart(text)
        took = time.thread_time() - began
        if took < WORST_S / 10:
            break  # the second time is without the compiling at first use, which is not the rule's fault
    return took
