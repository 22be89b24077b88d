"""What a person may write as a site's domain, timezone and limits, and what is kept of it.

Source: reference 5.5 (domain, timezone) and 5.2 (limits), with its messages. One thing differs on purpose:
the clean-up is repeated until nothing changes, so that ``www./shop`` becomes ``shop`` and a domain as kept
always cleans up to itself. Bounds that the reference's database columns imply are checked with a message.
"""

import importlib.resources
from typing import Final

from service.errors import SiteInvalid

MAX_DOMAIN_CHARS: Final = 255
MAX_SCALE_SECONDS: Final = 2**31 - 1
MAX_THRESHOLD: Final = 2**31 - 1

TAKEN: Final = "This domain cannot be registered. Perhaps one of your colleagues registered it?"
UNCHANGED: Final = "New domain must be different than the current one"

_RESERVED: Final = ": ? # [ ] @ ! $ & ' ( ) * + , ; ="
_PUNCTUATION: Final = frozenset("-.\\/_:")


def clean_domain(text: str) -> str:
    """Give the domain that a person meant: lower case, no scheme, no ``www.``, no slashes around it."""
    cleaned = text
    while True:
        before = cleaned
        cleaned = cleaned.lower().strip()
        cleaned = _remove_prefixes(cleaned, "http://")
        cleaned = _remove_prefixes(cleaned, "https://")
        cleaned = _remove_prefixes(cleaned.strip("/"), "www.")
        if cleaned == before:
            return cleaned


def check_domain(text: str) -> str:
    """Give the domain as it will be kept. Raises SiteInvalid when it cannot be one."""
    domain = clean_domain(text)
    if not domain:
        raise SiteInvalid("domain", "can't be blank")
    if len(domain) > MAX_DOMAIN_CHARS:
        raise SiteInvalid("domain", f"should be at most {MAX_DOMAIN_CHARS} character(s)")
    if not all(char.isalpha() or char.isdecimal() or char in _PUNCTUATION for char in domain):
        raise SiteInvalid("domain", "only letters, numbers, slashes, underscores and period allowed")
    # Of the reserved characters only the colon gets this far.
    if ":" in domain:
        raise SiteInvalid("domain", f"must not contain URI reserved characters {_RESERVED}")
    return domain


def check_timezone(name: str) -> str:
    """Give the name back. Raises SiteInvalid when IANA's database, as installed with us, does not know it."""
    zones = importlib.resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    if name not in zones.splitlines():
        raise SiteInvalid("timezone", "is invalid")
    return name


def check_threshold(threshold: int | None) -> int | None:
    """Give the events a window back; None = unlimited, 0 = blocked. Raises SiteInvalid."""
    if threshold is not None and threshold < 0:
        raise SiteInvalid("threshold", "must be empty, zero or positive")
    if threshold is not None and threshold > MAX_THRESHOLD:
        raise SiteInvalid("threshold", f"must be at most {MAX_THRESHOLD}")
    return threshold


def check_scale_seconds(seconds: int) -> int:
    """Give the window's length in seconds back. Raises SiteInvalid."""
    if seconds < 1:
        raise SiteInvalid("scale_seconds", "must be at least 1 second")
    if seconds > MAX_SCALE_SECONDS:
        raise SiteInvalid("scale_seconds", f"must be at most {MAX_SCALE_SECONDS} seconds")
    return seconds


def _remove_prefixes(text: str, prefix: str) -> str:
    while text.startswith(prefix):
        text = text.removeprefix(prefix)
    return text
