"""Texts made to tempt a regular expression: what it matches, with its repetitions filled up."""

from re import _constants as kinds  # type: ignore[attr-defined]
from typing import Any, Final

UNBOUNDED: Final = 100
CATEGORIES: Final = {"CATEGORY_DIGIT": "1", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}


def tempting(tree: Any, fill: int, *, branch: int = -1) -> str:
    """Give a text that the expression matches, with open-ended repetitions of about ``fill`` characters.

    Of alternatives that one is taken whose place is ``branch``.
    """
    return "".join(_part(kind, value, fill, branch) for kind, value in tree)


def _part(kind: Any, value: Any, fill: int, branch: int) -> str:
    if kind is kinds.LITERAL:
        return str(chr(value))
    if kind is kinds.NOT_LITERAL:
        return "x" if value != ord("x") else "y"
    if kind is kinds.ANY:
        return "1"
    if kind is kinds.IN:
        return _member(*value[0])
    if kind is kinds.SUBPATTERN:
        return tempting(value[3], fill, branch=branch)
    if kind is kinds.BRANCH:
        return tempting(value[1][branch], fill, branch=branch)
    if kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT):
        least, most, repeated = value
        text = tempting(repeated, fill, branch=branch)
        times = fill // max(1, len(text)) if most >= UNBOUNDED else 0
        return text * int(max(least, times, 1))
    return ""


def _member(kind: Any, value: Any) -> str:
    if kind is kinds.RANGE:
        return chr(value[0])
    if kind is kinds.LITERAL:
        return chr(value)
    return CATEGORIES.get(str(value), "1")
