"""What lists say of an address."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.addresses import AddressList, IpVerdicts, parse_address_list

LISTS = """
dc_ip             203.0.113.0/24
dc_ip             2001:db8::/32
threat_ip         203.0.113.7
threat_ip         198.51.100.0/25
anonymous_vpn_ip  198.51.0.0/16
anonymous_vpn_ip  255.255.255.255
"""


class Asns:
    """Knows AS numbers as a database does."""

    def __init__(self, numbers: dict[str, object]) -> None:
        self.numbers = numbers

    def get_path(self, ip_address: str, path: tuple[str | int, ...]) -> object:
        """Give the number in the layout of MaxMind's databases."""
        return self.numbers.get(ip_address) if path == ("autonomous_system_number",) else None


def pack(address: str) -> bytes:
    """Give an address as bytes."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def lists() -> list[AddressList]:
    """Give the lists above, in their order."""
    pairs = [line.split() for line in LISTS.split("\n") if line]
    return [parse_address_list(entry, verdict) for verdict, entry in pairs]


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("203.0.112.255", None),
        ("203.0.113.0", "dc_ip"),
        ("203.0.113.7", "dc_ip"),
        ("203.0.113.255", "dc_ip"),
        ("203.0.114.0", None),
        ("198.51.100.127", "threat_ip"),
        ("198.51.100.128", "anonymous_vpn_ip"),
        ("198.51.99.255", "anonymous_vpn_ip"),
        ("255.255.255.255", "anonymous_vpn_ip"),
        ("255.255.255.254", None),
        ("0.0.0.0", None),
        ("2001:db8::1", "dc_ip"),
        ("2001:db9::", None),
        ("::ffff:203.0.113.7", "dc_ip"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None),
        ("", None),
        ("unknown", None),
        ("203.0.113.7:80", None),
        ("203.0.113.7\0", None),
        ("\udcff", None),
    ],
)
def test_verdicts(address: str, verdict: str | None) -> None:
    """The first list that has an address decides; what is in none, or is no address, has no verdict."""
    assert IpVerdicts(lists(), pack=pack).find(address) == verdict


def test_the_list_that_says_so_is_named() -> None:
    """A verdict comes with the name of its list, and with the AS number where that decided."""
    found = IpVerdicts(
        [
            parse_address_list("203.0.113.0/25", "dc_ip", name="near"),
            parse_address_list("203.0.113.0/24\nAS16509", "dc_ip", name="wide"),
        ],
        pack=pack,
        asn_reader=Asns({"192.0.2.1": 16509}),
    )
    assert found.match("203.0.113.127") == ("dc_ip", "near", None)
    assert found.match("203.0.113.128") == ("dc_ip", "wide", None)
    assert found.match("192.0.2.1") == ("dc_ip", "wide", 16509)
    assert found.match("192.0.2.2") is None


def test_without_lists() -> None:
    """Without lists nobody has a verdict."""
    assert IpVerdicts([], pack=pack).find("203.0.113.7") is None


@pytest.mark.parametrize(
    ("number", "verdict"), [(16509, "dc_ip"), ("AS16509", "dc_ip"), (64500, None), (None, None), ("x", None)]
)
def test_networks_by_number(number: object, verdict: str | None) -> None:
    """An AS number has a verdict where no range has one."""
    found = IpVerdicts(
        [parse_address_list("AS16509 # a cloud\n", "dc_ip"), parse_address_list("192.0.2.1", "threat_ip")],
        pack=pack,
        asn_reader=Asns({"203.0.113.7": number, "192.0.2.1": 16509}),
    )
    assert found.find("203.0.113.7") == verdict
    assert found.find("192.0.2.1") == "threat_ip"


@pytest.mark.parametrize("line", ["203.0.113.0/33", "example.com", "AS", "16509", "1.2.3", "AS99999999999"])
def test_what_is_no_list(line: str) -> None:
    """The line that holds something else is named."""
    with pytest.raises(ValueError, match="line 2 is no range"):
        parse_address_list(f"# comment\n{line}\n", "dc_ip")


networks = st.builds(
    lambda number, length: ipaddress.ip_network((number, length), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)


@given(
    st.lists(
        st.builds(
            AddressList, st.sampled_from(["dc_ip", "threat_ip"]), st.lists(networks, max_size=8).map(tuple)
        ),
        max_size=6,
    ),
    st.lists(st.ip_addresses(v=4), max_size=20),
)
def test_merged_ranges_say_what_the_lists_say(
    lists: list[AddressList], addresses: list[ipaddress.IPv4Address]
) -> None:
    """Merging changes no answer: it is that of the first list with a range around the address."""
    verdicts = IpVerdicts(lists, pack=pack)
    edges = [edge for entry in lists for net in entry.networks for edge in (net[0], net[-1])]
    for address in [*addresses, *edges]:
        expected = next((e.verdict for e in lists if any(address in net for net in e.networks)), None)
        assert verdicts.find(str(address)) == expected


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    """Whatever stands for an address, there is an answer."""
    assert IpVerdicts(lists(), pack=pack).find(text) in (None, "dc_ip", "threat_ip", "anonymous_vpn_ip")
