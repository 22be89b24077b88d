"""Referrer spam: which hosts send made-up visits, and whether a referrer is of one of them.

Source: reference section 4.1. The list is one host a line; ``#`` begins a comment.
"""

import re
from functools import lru_cache
from typing import Final

from service.ingestion.url import split

MAX_HOST_CHARS: Final = 253
MAX_REMEMBERED_REFERRERS: Final = 1024
MAX_REMEMBERED_REFERRER_CHARS: Final = 512

_HOST: Final = re.compile(r"[\w.-]+")


def is_spam_referrer(referrer: str | None, spam: frozenset[str]) -> bool:
    """Tell whether a referrer's host is on the list, exactly and in its case; an empty host counts as listed.

    Asked before any site is known: one such referrer drops the event for all its domains.
    """
    if not referrer:
        return False
    is_short = len(referrer) <= MAX_REMEMBERED_REFERRER_CHARS
    host = _find_host(referrer) if is_short else _find_new_host(referrer)
    return host is not None and (not host or host in spam)


def _find_new_host(referrer: str) -> str | None:
    host = split(referrer).host
    return None if host is None else host.removeprefix("www.")


_find_host: Final = lru_cache(MAX_REMEMBERED_REFERRERS)(_find_new_host)
"""Few pages link to a site, and each does again and again."""


def parse_spam_list(text: str) -> frozenset[str]:
    """Give the hosts of a list. Raises ValueError with the line that holds something else."""
    hosts = set()
    for number, line in enumerate(text.splitlines(), start=1):
        host = line.partition("#")[0].strip()
        if not host:
            continue
        if len(host) > MAX_HOST_CHARS or not _HOST.fullmatch(host):
            raise ValueError(f"line {number} is no host name: {host[:40]!r}")
        hosts.add(host)
    return frozenset(hosts)
