"""Who a visitor is, for one day: a keyed hash of user agent, address and site. Source: reference section 7.

The key is a salt that is thrown away, so the number says nothing once its salt is gone.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

import siphashc
from msgspec import Struct

from service.ingestion.remembered import Remembered
from service.ingestion.user_agent import UserAgent

NO_HOSTNAME: Final = "(none)"
MAX_CACHED_HOSTNAME_CHARS: Final = 253
"""Longer names are no DNS names; they are looked up each time, so that they cannot fill the memory."""

_IPV4_PART: Final = re.compile(r"0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]{0,9})")
_IPV4_PARTS_MAX: Final = 4
_DIGITS: Final = frozenset("0123456789")


class RootDomains(Protocol):
    """Where root domains are looked up."""

    def root_domain(self, hostname: str) -> str:
        """Give the root domain of a hostname as ``root_domain`` does."""


class PublicSuffixes:
    """Root domains by the Public Suffix List, the latest ones remembered."""

    def __init__(self, registrable: Callable[[str], str | None], *, capacity: int) -> None:
        self._registrable = registrable
        """Gives the registrable domain of a lower-case host, None when there is none."""
        self.cache: Remembered[str] = Remembered(capacity)

    def root_domain(self, hostname: str) -> str:
        """Give the root domain of a hostname, from memory where it was asked for lately."""
        root = self.cache.get(hostname)
        if root is None:
            root = root_domain(hostname, self._registrable)
            if len(hostname) <= MAX_CACHED_HOSTNAME_CHARS:
                self.cache[hostname] = root
        return root


def visitor_id(salt: bytes, user_agent: str | None, remote_ip: str, domain: str, root_domain: str) -> int:
    """Give the visitor's number, 0 to 2^64 − 1: SipHash-2-4 of the four texts joined, under a 16-byte salt.

    ``domain`` is the domain as sent, not the site's; an absent user agent counts as the empty text.
    """
    return hash_visitor(salt, join_visitor(user_agent, remote_ip, domain, root_domain))


def join_visitor(user_agent: str | None, remote_ip: str, domain: str, root_domain: str) -> bytes:
    """Give what is hashed of a visitor, the same under every salt."""
    # Headers may hold bytes that are no UTF-8; they come as lone surrogates and are hashed as those bytes.
    return f"{user_agent or ''}{remote_ip}{domain}{root_domain}".encode("utf-8", "surrogateescape")


hash_visitor: Final[Callable[[bytes, bytes], int]] = siphashc.siphash
"""Gives the number of a visitor under a salt."""


class KnownVisitor(Struct, frozen=True, gc=False):
    """What was found of a visitor with an event, and for which events it holds."""

    under: object
    """Whose salts the numbers were made with."""
    domain: str
    hostname: str
    user_id: int
    previous_user_id: int | None
    user_agent: UserAgent
    """This one holds for all events."""


class VisitorMemo(Struct, gc=False):
    """What was found of a sender last, so that its next event is not hashed and taken apart again.

    It lives as long as the HTTP layer remembers the head that the events came in: two minutes at most.
    """

    known: KnownVisitor | None = None


def root_domain(hostname: str, registrable: Callable[[str], str | None]) -> str:
    """Give the part of a hostname that one owner registered, lower-case; else the hostname as it is.

    As it is: ``(none)``, IPv4 addresses in every form of inet_aton, and what has no registrable domain
    (single labels, IPv6 addresses, public suffixes). A trailing dot counts as an empty last label (reference
    7.2).
    """
    if hostname == NO_HOSTNAME or hostname.startswith(".") or ":" in hostname or is_ipv4(hostname):
        return hostname
    host = hostname.lower()
    if host.endswith("."):
        return ".".join(host.rsplit(".", 2)[-2:])
    # The list knows no empty labels; those in front of what counts do not matter.
    return registrable(host.rpartition("..")[2]) or hostname


def is_ipv4(text: str) -> bool:
    """Tell whether inet_aton would take the text: one to four parts, each decimal, octal or hexadecimal."""
    if text[:1] not in _DIGITS:  # most hostnames
        return False
    parts = text.split(".")
    if len(parts) > _IPV4_PARTS_MAX:
        return False
    numbers = [_ipv4_number(part) for part in parts]
    *octets, rest = numbers
    if any(octet is None or octet > 0xFF for octet in octets):
        return False
    return rest is not None and rest < 256 ** (_IPV4_PARTS_MAX + 1 - len(parts))


def _ipv4_number(part: str) -> int | None:
    match = _IPV4_PART.fullmatch(part)
    if match is None:
        return None
    hexadecimal, octal, decimal = match.groups()
    if hexadecimal is not None:
        return int(hexadecimal, 16)
    return int(octal, 8) if octal is not None else int(decimal)
