"""A rule's regular expression as Matomo applies it: where a word begins, without case, byte by byte.

PHP matches the bytes of a text. Here a text is looked at as latin-1 of its UTF-8 bytes, so that one character
is one byte, and the rules are written the same way.
"""

import re
from typing import Final, Protocol

import regex

RULE: Final = r"(?:^|[^A-Z0-9_-]|[^A-Z0-9-]_|sprd-|MZ-)(?:%s)"
"""Around every rule of a list: nothing, or no letter, stands before it."""
HINT: Final = r"(?:^|[^A-Z_-])(?:%s)"
"""Around the expressions of the steps themselves; digits may stand before these."""


class Match(Protocol):
    """What ``re`` and ``regex`` give alike."""

    def group(self, group: int, /) -> str | None:
        """Give the text of a group."""

    @property
    def re(self) -> "Pattern":
        """The expression that matched."""


class Pattern(Protocol):
    """What ``re`` and ``regex`` compile to alike."""

    @property
    def groups(self) -> int:
        """How many groups there are."""

    def search(self, text: str, /) -> Match | None:
        """Look for the expression anywhere."""


def as_bytes_seen(text: str) -> str:
    """Give the text with one character for each of its UTF-8 bytes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("latin-1")


def as_text(seen: str) -> str:
    """Give back what ``as_bytes_seen`` took; bytes that are no text any more are replaced."""
    return seen if seen.isascii() else seen.encode("latin-1").decode("utf-8", "replace")


_VERSION: Final = re.compile(r"\\d\+(?=\[\\?\.\\d\][*+])")


def compile_pattern(expression: str) -> Pattern:
    r"""Compile a whole expression; ``regex`` takes the look-behinds of unequal width that ``re`` refuses.

    ``\d+[.\d]+``, the rules' way to write a version, matches what ``\d[.\d]+`` does, but on a text made of
    digits alone it takes time with the square of its length, and with the cube where ``.+`` follows.
    """
    seen = _VERSION.sub(r"\\d", as_bytes_seen(expression))
    try:
        return re.compile(seen, re.IGNORECASE | re.ASCII)
    except re.error:
        return regex.compile(seen, regex.IGNORECASE | regex.ASCII | regex.VERSION0)


_GROUP: Final = re.compile(r"\\g<(\d)>")


def fill(template: str, match: Match) -> str:
    r"""Put the groups of a match for ``\g<1>`` and the like; a group that is not there is empty."""
    if "\\g<" not in template:
        return template.strip()
    groups = match.re.groups

    def text_of(place: re.Match[str]) -> str:
        number = int(place[1])
        return (match.group(number) or "") if number <= groups else ""

    return as_text(_GROUP.sub(text_of, as_bytes_seen(template))).strip()


def fill_version(template: str, match: Match) -> str:
    """Fill the template of a version and keep its first two parts."""
    parts = fill(template, match).replace("_", ".").split(".")
    return ".".join(parts[:2]).strip(" .")


_LOOK: Final = ("(?=", "(?!", "(?<=", "(?<!")


def loosen(expression: str) -> str:
    """Give an expression that finds at least what this one finds, without look-around and inner anchors.

    The scanners take neither; what they name is confirmed with the expression itself.
    """
    kept: list[str] = []
    place, end = 0, len(expression)
    while place < end:
        if expression.startswith(_LOOK, place):
            place = _end_of_group(expression, place)
            continue
        step = _token_length(expression, place)
        if expression[place] != "^":
            kept.append(expression[place : place + step])
        place += step
    return "".join(kept)


def _token_length(expression: str, place: int) -> int:
    """Give the length of an escape, a class of characters, or one character."""
    if expression[place] == "\\":
        return 2
    if expression[place] != "[":
        return 1
    # A bracket that comes first in a class stands for itself.
    here = place + (2 if expression.startswith("[^", place) else 1)
    if expression.startswith("]", here):
        here += 1
    while here < len(expression) and expression[here] != "]":
        here += 2 if expression[here] == "\\" else 1
    return here + 1 - place


def _end_of_group(expression: str, place: int) -> int:
    depth = 0
    while place < len(expression):
        if expression[place] == "(":
            depth += 1
        elif expression[place] == ")":
            depth -= 1
            if not depth:
                return place + 1
        place += _token_length(expression, place)
    return place
