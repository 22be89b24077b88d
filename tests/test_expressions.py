"""No regular expression of ours can be made to take long: each is timed on texts made to tempt it.

They are found by looking into the modules, so that a new one is tried without anybody's thinking of it. Each
is used in the way its module uses it, on texts as long as any that reaches it. CPU time is measured, against
a bound far above what a search takes that looks at each character a few times: what exceeds it goes with the
square of the length.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Iterator
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any, Final, NamedTuple

import pytest
import regex

import actors
import service
from service.http.app import MAX_LINE_BYTES
from service.ingestion.money import MAX_AMOUNT_CHARS
from service.ingestion.request import MAX_EVENT_NAME_GRAPHEMES, MAX_REFERRER_GRAPHEMES
from service.ingestion.shields import MAX_PATTERN_CHARS
from service.ingestion.spam import MAX_HOST_CHARS
from service.ingestion.text import cut_graphemes
from service.ingestion.user_agent import MAX_READ_CHARS
from service.wire.event_api import MAX_RAW_BYTES
from service.wire.form import MAX_PART_HEADER_BYTES
from tests.support.tempting import tempting

ROOMS: Final = (service, actors)
WORST_S: Final = 0.05
LINEAR_S: Final = 1e-7
"""What each character may take besides."""
TRIES: Final = 3
METHODS: Final = frozenset({"match", "fullmatch", "search", "findall", "finditer", "sub", "split"})

MAX_SETTING_CHARS: Final = 4_096
"""Of one setting: somebody wrote it, who may stop the service anyway."""
LONGEST: Final = MAX_RAW_BYTES
"""The length of a text without a limit of its own: it may fill a whole body."""
LIMITS: Final = {
    "service.config.PASSWORD_IN_URL": MAX_SETTING_CHARS,
    "service.ingestion.money._NUMBER_PREFIX": MAX_AMOUNT_CHARS,
    "service.ingestion.shields._STARS": MAX_PATTERN_CHARS,
    "service.ingestion.spam._HOST": MAX_HOST_CHARS,
    "service.ingestion.text._GRAPHEME": MAX_REFERRER_GRAPHEMES,  # of longer ones see the test of its own
    "service.user_agents.detector._LETTER": MAX_READ_CHARS,
    "service.user_agents.device._NUMBER": MAX_READ_CHARS,
    "service.wire.accept._QUALITY": MAX_LINE_BYTES,
    "service.wire.form._BOUNDARY": MAX_LINE_BYTES,
    "service.wire.form._FILE_NAME": MAX_PART_HEADER_BYTES,
    "service.wire.form._NAME": MAX_PART_HEADER_BYTES,
    "service.wire.forwarded._FOR": MAX_LINE_BYTES,
    "service.wire.forwarded._IPV4": MAX_LINE_BYTES,
    "service.wire.forwarded._PORT": MAX_LINE_BYTES,
    "service.wire.traceparent._TRACEPARENT": MAX_LINE_BYTES,
}
"""How long a text gets that the module lets through to the expression."""


class Expression(NamedTuple):
    """A compiled expression, where it was found, and how it is used there."""

    name: str
    pattern: "re.Pattern[str] | regex.Pattern[str]"
    methods: tuple[str, ...]


def modules() -> Iterator[ModuleType]:
    """Give all modules of the rooms."""
    for room in ROOMS:
        for found in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
            yield importlib.import_module(found.name)


def expressions() -> Iterator[Expression]:
    """Give every compiled expression that a module, or a class or a collection in it, holds."""
    for module in modules():
        used = uses(module)
        for name, value in vars(module).items():
            if isinstance(value, type) and value.__module__ != module.__name__:
                continue
            for place, pattern in patterns(name, value):
                methods = used.get(place.rpartition(".")[2], METHODS)
                yield Expression(f"{module.__name__}.{place}", pattern, tuple(sorted(methods)))


def patterns(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Give the expressions in a value."""
    if isinstance(value, re.Pattern | regex.Pattern):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from patterns(f"{name}[{key!r}]", item)
    elif isinstance(value, tuple | list | frozenset | set):
        for place, item in enumerate(value):
            yield from patterns(f"{name}[{place}]", item)
    elif isinstance(value, type):
        for key, item in vars(value).items():
            yield from patterns(f"{name}.{key}", item)


def uses(module: ModuleType) -> dict[str, set[str]]:
    """Give the methods that the module calls, by the name of what they are called on."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr=method) if (
                method in METHODS
            ):
                found.setdefault(name, set()).add(method)
    return found


def texts(pattern: str | bytes, flags: int, size: int) -> Iterator[str]:
    """Give texts of that length."""
    if isinstance(pattern, bytes):
        pattern = pattern.decode("latin-1")
    parts = {*' \t\n.,;:=/@-_"\\%#?[](){}+*0aAZz\u0301\ud800é😀', "\r\n", "%41", "a.", "0.", "a@", '\\"'}
    try:
        tree = parser.parse(pattern, flags)
    except re.error:
        pass  # of the other module
    else:
        whole, filled = tempting(tree, 0), tempting(tree, size // 2)
        parts |= {
            whole,
            whole[:-1],
            whole[:-1] + " ",
            whole + " ",
            whole + '\\"',
            whole[: len(whole) // 2],
        } - {""}
        yield filled[: size - 1] + "\0"
        yield (filled[: size // 2] + whole[:-1]) * 2
    for part in sorted(parts):
        text = part * (size // len(part))
        yield text
        yield text[:-1] + "\0"


ALL: Final = {expression.name: expression for expression in expressions()}


def test_they_are_found() -> None:
    """The list of limits names what is there."""
    assert not LIMITS.keys() - ALL.keys()
    assert len(ALL) > len(LIMITS)


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_expression_takes_long(name: str) -> None:
    """Whatever the text is."""
    expression = ALL[name]
    pattern = expression.pattern
    for text in texts(pattern.pattern, pattern.flags, LIMITS.get(name, LONGEST)):
        for method in expression.methods:
            assert spent_s(pattern, method, text) < limit_s(text), (method, text[:100])


@pytest.mark.parametrize("limit", [MAX_EVENT_NAME_GRAPHEMES, MAX_REFERRER_GRAPHEMES])
@pytest.mark.parametrize("part", ["a", "e\u0301", "\u0301", "\r\n", "👩\u200d", "🇩", "한", "\ud800"])
def test_no_cut_takes_long(part: str, limit: int) -> None:
    """Graphemes are counted no further than the cut; one of them may be the whole body."""
    text = part * (LONGEST // len(part))
    assert least_s(lambda: cut_graphemes(text, limit)) < limit_s(text)


def limit_s(text: str) -> float:
    """Give the CPU time that one use on the text may take."""
    return WORST_S + LINEAR_S * len(text)


def spent_s(pattern: Any, method: str, text: str) -> float:
    """Give the CPU time of one use."""
    use = getattr(pattern, method)
    if isinstance(pattern.pattern, bytes):
        data = text.encode("utf-8", "surrogatepass")
        return least_s(lambda: use(data))
    if method == "sub":
        return least_s(lambda: use("", text))
    if method == "finditer":
        return least_s(lambda: sum(1 for _ in use(text)))
    return least_s(lambda: use(text))


def least_s(work: Any) -> float:
    """Give the least CPU time of a few tries; one that is quick need not be repeated."""
    least = float("inf")
    for _ in range(TRIES):
        began = time.thread_time()
        work()
        least = min(least, time.thread_time() - began)
        if least < WORST_S:
            break
    return least
