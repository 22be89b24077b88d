"""Measures of text as the reference takes them: Unicode white space, UTF-8 bytes, graphemes (section 3)."""

from itertools import islice
from typing import Final

import regex

WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's White_Space, for ``str.strip``, which by itself takes U+001C to U+001F too (reference 21, 29)."""

MAX_BYTES_OF_CHAR: Final = 4
"""In UTF-8."""

_GRAPHEME: Final = regex.compile(r"\X")


def is_blank(text: str) -> bool:
    """Whether there is nothing but white space."""
    # Python's own notion of space holds all of it and a little more, and is told at the first character.
    return not text or (text.isspace() and not text.lstrip(WHITE_SPACE))


def has_at_most_bytes(text: str, limit: int) -> bool:
    """Whether the text's UTF-8 has at most so many bytes; counts them only when it has to."""
    length = len(text)
    if length * MAX_BYTES_OF_CHAR <= limit:
        return True
    if length > limit:
        return False
    return text.isascii() or len(text.encode("utf-8", "surrogateescape")) <= limit


def cut_graphemes(text: str, limit: int) -> str:
    """Give the first so many graphemes."""
    if len(text) <= limit:  # a grapheme has at least one code point
        return text
    if text.isascii() and "\r\n" not in text:  # the only grapheme of two ASCII characters
        return text[:limit]
    last = next(islice(_GRAPHEME.finditer(text), limit - 1, None), None)
    return text if last is None else text[: last.end()]


def has_at_most_graphemes(text: str, limit: int) -> bool:
    """Whether the text has at most so many graphemes; looks no further than it must."""
    return len(text) <= limit or len(cut_graphemes(text, limit)) == len(text)
