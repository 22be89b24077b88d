"""A site's shields: which hostnames are let in, which pages, addresses and countries are kept out.

Source: reference section 6. Two things differ on purpose: IP rules are matched as addresses, not as text, and
may be CIDR ranges. The rules are kept as text (``Shields``) and compiled once per site (``compile_shields``).
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from service.errors import SiteInvalid

MAX_IP_RULES: Final = 30
MAX_COUNTRY_RULES: Final = 30
MAX_PAGE_RULES: Final = 30
MAX_HOSTNAME_RULES: Final = 10
MAX_PATTERN_CHARS: Final = 250

UNKNOWN_COUNTRY: Final = "ZZ"
"""The country of a visitor without one; a rule may name it."""
VPN_COUNTRY: Final = "A1"
"""The country of a visitor behind an anonymous VPN; a rule may name it."""

_IPV4_MAPPED_BITS: Final = 96
_STARS: Final = re.compile(r"\*+")
_COUNTRY: Final = re.compile(r"[A-Z]{2}|A1")


class Shields(Struct, frozen=True):
    """The rules as kept: patterns, addresses or networks in canonical text, upper-case country codes."""

    hostnames: tuple[str, ...] = ()
    """Allow-list: when there is any, a hostname must match one."""
    pages: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()


class Pattern(Struct, frozen=True):
    """A pattern cut at its wildcards: literal pieces with any run of characters but newlines between them."""

    rule: str
    """As it is kept."""
    pieces: tuple[str, ...]


class NetworkGroup(Struct, frozen=True):
    """Networks of one IP version and one prefix length, each as the number that its addresses share."""

    version: int
    host_bits: int
    prefixes: frozenset[int]


class CompiledShields(Struct, frozen=True):
    """The rules made ready for matching; what is empty costs nothing."""

    hostnames: tuple[Pattern, ...] = ()
    pages: tuple[Pattern, ...] = ()
    networks: tuple[NetworkGroup, ...] = ()
    countries: frozenset[str] = frozenset()


NO_SHIELDS: Final = CompiledShields()
"""The one value of every site without rules."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def compile_shields(shields: Shields) -> CompiledShields:
    """Make the rules ready for matching. Raises ValueError when an IP rule is not in canonical text."""
    if shields == Shields():
        return NO_SHIELDS
    return CompiledShields(
        hostnames=tuple(map(_compile_pattern, shields.hostnames)),
        pages=tuple(map(_compile_pattern, shields.pages)),
        networks=_group_networks([_parse_network(rule) for rule in shields.ips]),
        countries=frozenset(shields.countries),
    )


def is_hostname_allowed(shields: CompiledShields, hostname: str) -> bool:
    """Tell whether the allow-list is empty or names the hostname (case-sensitive, without ``www.``)."""
    return not shields.hostnames or _find_pattern(shields.hostnames, hostname) is not None


def is_page_blocked(shields: CompiledShields, pathname: str) -> bool:
    """Tell whether a page rule names the pathname (decoded, case-sensitive)."""
    return _find_pattern(shields.pages, pathname) is not None


def is_ip_blocked(shields: CompiledShields, remote_ip: str) -> bool:
    """Tell whether an IP rule covers the address, however it is written; what is no address never is."""
    return bool(shields.networks) and _find_network(shields.networks, remote_ip) is not None


def is_country_blocked(shields: CompiledShields, country_code: str) -> bool:
    """Tell whether a country rule names the code; the empty code is tested as ``ZZ``."""
    return bool(shields.countries) and (country_code or UNKNOWN_COUNTRY).upper() in shields.countries


def match_hostname(shields: CompiledShields, hostname: str) -> str | None:
    """Give the rule that lets the hostname in, as it is kept; None without one."""
    return _rule_of(_find_pattern(shields.hostnames, hostname))


def match_page(shields: CompiledShields, pathname: str) -> str | None:
    """Give the rule that keeps the pathname out, as it is kept; None without one."""
    return _rule_of(_find_pattern(shields.pages, pathname))


def match_ip(shields: CompiledShields, remote_ip: str) -> str | None:
    """Give the rule that keeps the address out, as it is kept; None without one."""
    found = _find_network(shields.networks, remote_ip)
    return None if found is None else _canonical(found)


def check_ip_rule(rule: str, existing: Sequence[str]) -> str:
    """Give the rule in canonical text: an address, or a network with its host bits cleared.

    Raises SiteInvalid when it is no address or network, is there already or is one too many.
    """
    try:
        network = _parse_network(rule.strip())
    except ValueError:
        raise SiteInvalid("ip", "is invalid") from None
    return _check_new("ip", _canonical(network), existing, MAX_IP_RULES)


def check_country_rule(rule: str, existing: Sequence[str]) -> str:
    """Give the rule as an upper-case code of two letters, ``ZZ`` (unknown) and ``A1`` (VPN) included.

    Raises SiteInvalid when it is not of that form, is there already or is one too many.
    """
    code = rule.strip().upper()
    if len(code) != 2:
        raise SiteInvalid("country", "should be 2 character(s)")
    if not _COUNTRY.fullmatch(code):
        raise SiteInvalid("country", "is invalid")
    return _check_new("country", code, existing, MAX_COUNTRY_RULES)


def check_page_rule(rule: str, existing: Sequence[str]) -> str:
    """Give the page pattern as it will be kept.

    Raises SiteInvalid when it does not start with a slash, is too long, is there already or is one too many.
    """
    pattern = _check_pattern("page", rule)
    if not pattern.startswith("/"):
        raise SiteInvalid("page", "must start with /")
    return _check_new("page", pattern, existing, MAX_PAGE_RULES)


def check_hostname_rule(rule: str, existing: Sequence[str]) -> str:
    """Give the hostname pattern as it will be kept.

    Raises SiteInvalid when it is empty, too long, there already or one too many.
    """
    return _check_new("hostname", _check_pattern("hostname", rule), existing, MAX_HOSTNAME_RULES)


def _check_pattern(field: str, rule: str) -> str:
    pattern = rule.strip()
    if not pattern:
        raise SiteInvalid(field, "can't be blank")
    if len(pattern) > MAX_PATTERN_CHARS:
        raise SiteInvalid(field, f"should be at most {MAX_PATTERN_CHARS} character(s)")
    return pattern


def _check_new(field: str, rule: str, existing: Sequence[str], limit: int) -> str:
    if rule in existing:
        raise SiteInvalid(field, "rule already exists")
    if len(existing) >= limit:
        raise SiteInvalid(field, "maximum reached")
    return rule


def _parse_network(rule: str) -> Network:
    network = ipaddress.ip_network(rule, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _IPV4_MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _IPV4_MAPPED_BITS))
    return network


def _canonical(network: Network) -> str:
    return str(network) if network.prefixlen < network.max_prefixlen else str(network.network_address)


def _find_network(groups: tuple[NetworkGroup, ...], remote_ip: str) -> Network | None:
    try:
        address = ipaddress.ip_address(remote_ip)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    version, number = address.version, int(address)
    for group in groups:
        if group.version == version and number >> group.host_bits in group.prefixes:
            return ipaddress.ip_network((address, address.max_prefixlen - group.host_bits), strict=False)
    return None


def _group_networks(networks: Sequence[Network]) -> tuple[NetworkGroup, ...]:
    groups: dict[tuple[int, int], set[int]] = {}
    for network in networks:
        host_bits = network.max_prefixlen - network.prefixlen
        groups.setdefault((network.version, host_bits), set()).add(int(network.network_address) >> host_bits)
    return tuple(
        NetworkGroup(version, host_bits, frozenset(prefixes))
        for (version, host_bits), prefixes in groups.items()
    )


def _compile_pattern(rule: str) -> Pattern:
    return Pattern(rule, tuple(_STARS.split(rule)))


def _rule_of(pattern: Pattern | None) -> str | None:
    return None if pattern is None else pattern.rule


def _find_pattern(patterns: tuple[Pattern, ...], text: str) -> Pattern | None:
    if not patterns:
        return None
    # The reference's anchor also holds before one trailing newline.
    texts = (text, text[:-1]) if text.endswith("\n") else (text,)
    for pattern in patterns:
        if any(_matches(pattern.pieces, candidate) for candidate in texts):
            return pattern
    return None


def _matches(pieces: tuple[str, ...], text: str) -> bool:
    """Walk the pieces from left to right, each at its first place: no backtracking, whatever the pattern.

    The first place is always as good as a later one, because it leaves a longer rest to the pieces after it
    and the gap before it is the shortest.
    """
    first, *middle = pieces
    if not middle:
        return text == first
    last = middle.pop()
    end = len(text) - len(last)
    position = len(first)
    if position > end or not text.startswith(first) or not text.endswith(last):
        return False
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0 or "\n" in text[position:found]:
            return False
        position = found + len(piece)
    return "\n" not in text[position:end]
