"""A site's shields: which hostnames are let in, which pages, addresses and countries are kept out.

Source: reference section 6; IP rules are matched as addresses and may be CIDR ranges.
"""

from msgspec import Struct


class Shields(Struct, frozen=True):
    """The rules as kept: patterns, addresses or networks in canonical text, upper-case country codes."""

    hostnames: tuple[str, ...] = ()
    """Allow-list: when there is any, a hostname must match one."""
    pages: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
