"""The rule for every free text that a person enters: not empty, not too long, and possible to keep."""

import re
from typing import Final

from service.errors import SiteInvalid

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
"""NUL ends a text early for some readers; a lone surrogate has no UTF-8 form."""


def check_text(field: str, text: str, *, max_chars: int) -> str:
    """Give the text back. Raises SiteInvalid, which names ``field``."""
    if not text:
        raise SiteInvalid(field, "can't be blank")
    if len(text) > max_chars:
        raise SiteInvalid(field, f"should be at most {max_chars} character(s)")
    if _UNSTORABLE.search(text):
        raise SiteInvalid(field, "is invalid")
    return text
