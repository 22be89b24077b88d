"""No rule can be made to take long: each is timed on texts made to tempt it.

For every rule a text that it matches is made out of its own syntax tree, with each repetition filled up;
parts that nearly match are put before and after. A rule runs only when the scanner named it, so what is timed
is the whole detection.
"""

import re
import time
from collections.abc import Iterator
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, Final

from service.ingestion.user_agent import MAX_READ_CHARS
from service.user_agents.detector import Plan
from service.user_agents.engine import UserAgentEngine
from service.user_agents.patterns import as_bytes_seen, loosen
from service.user_agents.rules import load_rules

WORST_S: Final = 0.05
"""CPU time of one detection, a quarter of its limit; measured: 0.011."""
UNBOUNDED: Final = 100
CATEGORIES: Final = {"CATEGORY_DIGIT": "1", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}


def tempting(tree: Any, fill: int) -> str:
    """Give a text that the expression matches, with open-ended repetitions of about ``fill`` characters."""
    return "".join(_part(kind, value, fill) for kind, value in tree)


def _part(kind: Any, value: Any, fill: int) -> str:
    if kind is kinds.LITERAL:
        return str(chr(value))
    if kind is kinds.NOT_LITERAL:
        return "x" if value != ord("x") else "y"
    if kind is kinds.ANY:
        return "1"
    if kind is kinds.IN:
        return _member(*value[0])
    if kind is kinds.SUBPATTERN:
        return tempting(value[3], fill)
    if kind is kinds.BRANCH:
        return tempting(value[1][-1], fill)
    if kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT):
        least, most, repeated = value
        text = tempting(repeated, fill)
        times = fill // max(1, len(text)) if most >= UNBOUNDED else 0
        return text * int(max(least, times, 1))
    return ""


def _member(kind: Any, value: Any) -> str:
    if kind is kinds.RANGE:
        return chr(value[0])
    if kind is kinds.LITERAL:
        return chr(value)
    return CATEGORIES.get(str(value), "1")


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
