"""What the operator's lists say of an address: data centre, threat, anonymous VPN.

The ranges of all lists are merged into intervals that do not overlap, so that a look-up is one bisection. An
address in several lists has the verdict of the list that is named first. Networks (by their AS number) come
after ranges.
"""

import heapq
import ipaddress
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

_ASN: Final = re.compile(r"AS([0-9]{1,10})", re.IGNORECASE)
_ASN_PATHS: Final = (("autonomous_system_number",), ("asn",))
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""An IPv4 address in an IPv6 one begins so."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Pack = Callable[[str], bytes]
"""Gives an address as 4 or 16 bytes. Raises OSError or ValueError for what is none."""


class AddressList(Struct, frozen=True):
    """One list as it was read; the verdict is ``dc_ip``, ``threat_ip`` or ``anonymous_vpn_ip``."""

    verdict: str
    networks: tuple[Network, ...] = ()
    asns: frozenset[int] = frozenset()
    name: str = ""
    """What people call it: its file."""


class ListVerdict(NamedTuple):
    """What was said of an address, and by which list; ``asn`` where the list has it by that number."""

    verdict: str
    name: str
    asn: int | None = None


class AsnReader(Protocol):
    """An open database that knows the AS number of an address."""

    def get_path(self, ip_address: str, path: tuple[str | int, ...]) -> object:
        """Give one value of an address's record, or None. Raises ValueError for what is no address."""


class IpVerdicts:
    """All lists, ready to be asked."""

    def __init__(
        self, lists: Sequence[AddressList], *, pack: Pack, asn_reader: AsnReader | None = None
    ) -> None:
        self._pack = pack
        self._asn_reader = asn_reader
        self._by_asn: dict[int, ListVerdict] = {}
        """Verdict by AS number, of the first list that has it."""
        for entry in reversed(lists):
            self._by_asn |= {asn: ListVerdict(entry.verdict, entry.name, asn) for asn in entry.asns}
        self._ranges = {length: _merge(lists, length) for length in (4, 16)}
        """Starts of intervals and their verdicts, by the bytes of an address."""
        self.in_use = any(entry.networks or entry.asns for entry in lists)
        """Whether there is anything on the lists."""
        self.intervals = sum(len(starts) for starts, _ in self._ranges.values())

    def find(self, remote_ip: str) -> str | None:
        """Give the verdict on an address as text; None when no list has it or it is no address."""
        found = self.match(remote_ip) if self.in_use else None
        return None if found is None else found.verdict

    def match(self, remote_ip: str) -> ListVerdict | None:
        """Give the verdict and the list that says so."""
        try:
            packed = self._pack(remote_ip)
        except (OSError, ValueError):
            return None
        if packed.startswith(_MAPPED) and len(packed) == 16:
            packed = packed[12:]
        starts, verdicts = self._ranges[len(packed)]
        found = verdicts[bisect_right(starts, packed)]
        return found if found is not None or not self._by_asn else self._find_network(remote_ip)

    def _find_network(self, remote_ip: str) -> ListVerdict | None:
        assert self._asn_reader is not None, "lists with AS numbers are loaded with a database"
        try:
            for path in _ASN_PATHS:
                number = self._asn_reader.get_path(remote_ip, path)
                if number is not None:
                    return self._by_asn.get(_to_number(number))
        except (ValueError, RuntimeError):  # no address for it, or a damaged file
            pass
        return None


def parse_address_list(text: str, verdict: str, *, name: str = "") -> AddressList:
    """Read a list: a range (CIDR), an address or an AS number a line; ``#`` begins a comment.

    Raises ValueError with the line that holds something else.
    """
    networks: list[Network] = []
    asns: set[int] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        asn = _ASN.fullmatch(entry)
        if asn is not None:
            asns.add(int(asn[1]))
            continue
        try:
            networks.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            raise ValueError(f"line {number} is no range, address or AS number: {entry[:40]!r}") from None
    return AddressList(verdict, tuple(networks), frozenset(asns), name)


def _to_number(value: object) -> int:
    """Read the AS number of a record: 16509, or AS16509 in some databases; 0 for none."""
    if isinstance(value, int):
        return value
    match = _ASN.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) if match else 0


def _merge(lists: Sequence[AddressList], length: int) -> tuple[list[bytes], list[ListVerdict | None]]:
    """Give starts of intervals in order, and what holds before each and after the last."""
    end = 1 << (8 * length)
    opening: dict[int, list[tuple[int, int]]] = {}
    """Start of a range to pairs of the rank of its list and the first address after it."""
    points = set()
    for rank, network in _ranked(lists, length):
        first, after = int(network.network_address), int(network.broadcast_address) + 1
        opening.setdefault(first, []).append((rank, after))
        points |= {first, after}
    open_ranges: list[tuple[int, int]] = []
    starts: list[bytes] = []
    of_lists = [ListVerdict(entry.verdict, entry.name) for entry in lists]
    verdicts: list[ListVerdict | None] = [None]
    for point in sorted(points):
        for opened in opening.get(point, ()):
            heapq.heappush(open_ranges, opened)
        while open_ranges and open_ranges[0][1] <= point:
            heapq.heappop(open_ranges)
        verdict = of_lists[open_ranges[0][0]] if open_ranges else None
        if verdict != verdicts[-1] and point < end:
            starts.append(point.to_bytes(length, "big"))
            verdicts.append(verdict)
    return starts, verdicts


def _ranked(lists: Sequence[AddressList], length: int) -> Iterable[tuple[int, Network]]:
    version = 4 if length == 4 else 6
    for rank, entry in enumerate(lists):
        for network in entry.networks:
            if network.version == version:
                yield rank, network
