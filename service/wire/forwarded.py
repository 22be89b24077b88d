"""The visitor's address out of forwarding headers, believed only when a trusted proxy sends them.

Headers and their order are the reference's (section 2): ``x-plausible-ip``, ``cf-connecting-ip``,
``b-forwarded-for``, ``x-forwarded-for``, ``forwarded``, then the peer. Different from it, on purpose:

- they count only from a trusted proxy; from anybody else the peer is the visitor;
- a value must be an address. In a list the first item that is one counts, otherwise the next header;
- ``for=`` may be written in any case;
- addresses come out in one spelling: IPv6 compressed and in lower case, IPv4 in IPv6 as IPv4.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

PEER: Final = "peer"
"""The name in place of a header's, when the connection's own address was taken."""

LOCAL_ADDRESS: Final = "127.0.0.1"
"""The address of a peer on a Unix socket, which has none."""

MAX_ITEMS: Final = 32
"""Security limit: how many items of one header are looked at."""

MAX_CACHED_PEERS: Final = 4096
"""How many peers are remembered; when they are more, all are forgotten at once."""

IP_TYPE_HEADER: Final = "x-plausible-ip-type"
IP_TYPES: Final = frozenset({"dc_ip", "threat_ip", "anonymous_vpn_ip"})

Lookup = Callable[[str], str | None]
"""Gives the first value of a header by its lower-case name, None when it is absent."""

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_PORT: Final = re.compile(r"(\.[0-9]+|\]):[0-9]+\Z")
_FOR: Final = re.compile(r'for=("[^"]*"|[^;,]*)', re.IGNORECASE)


class Peer(NamedTuple):
    """The other end of a connection: its address in one spelling, and whether its headers are believed."""

    address: str
    is_trusted: bool


class TrustedProxies:
    """The networks whose forwarding headers are believed; remembers what it found for each peer."""

    def __init__(self, networks: Iterable[str]) -> None:
        # Kept apart by version, because an address of one is never in a network of the other.
        parsed = [ipaddress.ip_network(network, strict=False) for network in networks]
        self._ipv4 = tuple(network for network in parsed if isinstance(network, ipaddress.IPv4Network))
        self._ipv6 = tuple(network for network in parsed if isinstance(network, ipaddress.IPv6Network))
        # Peer as the socket names it -> what we found; cleared when MAX_CACHED_PEERS is reached.
        self._peers: dict[str, Peer] = {}

    def find_peer(self, peer: str) -> Peer:
        """Judge a peer by its address as the socket names it.

        A peer on a Unix socket has none; it is on this machine, and trusted.
        """
        found = self._peers.get(peer)
        if found is None:
            if len(self._peers) >= MAX_CACHED_PEERS:
                self._peers.clear()
            found = self._peers[peer] = self._judge(peer)
        return found

    def _judge(self, peer: str) -> Peer:
        if not peer:
            return Peer(LOCAL_ADDRESS, is_trusted=True)
        text = parse_address(peer.partition("%")[0])
        if text is None:
            return Peer(peer, is_trusted=False)
        address = ipaddress.ip_address(text)
        networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]
        networks = self._ipv4 if address.version == 4 else self._ipv6
        return Peer(text, is_trusted=any(address in network for network in networks))


def resolve_remote_ip(header: Lookup, peer: str, trusted: TrustedProxies) -> tuple[str, str]:
    """Give the visitor's address and the name of the header it was taken from, or ``peer``. Never raises."""
    found = trusted.find_peer(peer)
    if found.is_trusted:
        for name, read_items in _HEADERS:
            value = header(name)
            if not value:
                continue
            # One address and nothing else, as nearly all come.
            address = value if _IPV4.fullmatch(value) else _first_address(read_items(value))
            if address is not None:
                return address, name
    return found.address, PEER


def resolve_ip_class(header: Lookup, peer: str, trusted: TrustedProxies) -> str | None:
    """Give the class of the visitor's address that a trusted proxy tells, None when it tells none."""
    if not trusted.find_peer(peer).is_trusted:
        return None
    value = header(IP_TYPE_HEADER)
    return value if value in IP_TYPES else None


def parse_address(text: str) -> str | None:
    """Give an address in its one spelling; None when the text is none. Zones (``%eth0``) are refused."""
    if _IPV4.fullmatch(text):
        return text
    if ":" not in text or "%" in text:
        return None
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped
    return str(address if mapped is None else mapped)


def _first_address(items: Sequence[str]) -> str | None:
    for item in items:
        address = parse_address(item) or parse_address(_clean(item))
        if address is not None:
            return address
    return None


def _clean(text: str) -> str:
    """Take a port off ``1.2.3.4:80`` and ``[::1]:80``, then the brackets; a bare IPv6 address has no port."""
    return _PORT.sub(r"\1", text).lstrip("[").rstrip("]")


def _whole(value: str) -> Sequence[str]:
    return (value.strip(),)


def _comma_items(value: str) -> Sequence[str]:
    return [item.strip() for item in value.split(",", MAX_ITEMS)[:MAX_ITEMS]]


def _forwarded_items(value: str) -> Sequence[str]:
    return [match[1].strip('" ') for match in _FOR.finditer(value)][:MAX_ITEMS]


_HEADERS: Final[Sequence[tuple[str, Callable[[str], Sequence[str]]]]] = (
    ("x-plausible-ip", _whole),
    ("cf-connecting-ip", _whole),
    ("b-forwarded-for", _comma_items),
    ("x-forwarded-for", _comma_items),
    ("forwarded", _forwarded_items),
)
