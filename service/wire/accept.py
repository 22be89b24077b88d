"""Which form of answer a sender takes, by its ``Accept`` header and ``_format`` parameter.

Source: reference sections 1.2 (406) and 1.4 (JSON or HTML).
"""

import re
from collections.abc import Sequence
from typing import Final

_MEDIA_TYPES: Final = {"json": ("application", "json"), "html": ("text", "html")}
_QUALITY: Final = re.compile(r";\s*q=([01](?:\.[0-9]{0,3})?)\s*(?:;|\Z)", re.IGNORECASE)


def choose_format(offered: Sequence[str], accept: str | None, wanted: object = None) -> str | None:
    """Give the one of the offered formats (``json``, ``html``) that the sender takes best; None when none.

    ``wanted`` is the ``_format`` parameter and has priority. A header that is absent or takes everything gets
    the first one offered, else the sender's own order of preference counts.
    """
    if wanted is not None:
        return next((name for name in offered if name == wanted), None)
    if not accept or "*/*" in accept:
        return offered[0]
    for media_range in sorted(accept.split(","), key=_quality, reverse=True):
        kind, _, subtype = media_range.partition(";")[0].strip().lower().partition("/")
        for name in offered:
            if _matches(kind, subtype, name):
                return name
    return None


def _matches(kind: str, subtype: str, name: str) -> bool:
    offered_kind, offered_subtype = _MEDIA_TYPES[name]
    return kind == offered_kind and (
        subtype in ("*", offered_subtype) or subtype.endswith(f"+{offered_subtype}")
    )


def _quality(media_range: str) -> float:
    match = _QUALITY.search(media_range)
    return float(match[1]) if match else 1.0
