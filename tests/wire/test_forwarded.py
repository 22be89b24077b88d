"""The visitor's address comes from trusted proxies' headers, or is the peer's."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.wire.forwarded import (
    MAX_CACHED_PEERS,
    TrustedProxies,
    parse_address,
    resolve_ip_class,
    resolve_remote_ip,
)

PROXY = "127.0.0.1"
STRANGER = "203.0.113.9"
TRUSTED = TrustedProxies(["127.0.0.0/8", "10.0.0.0/8", "::1/128", "fc00::/7"])


def resolve(headers: dict[str, str], peer: str = PROXY) -> tuple[str, str]:
    """Resolve with these headers."""
    return resolve_remote_ip(headers.get, peer, TRUSTED)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:80", "1.2.3.4"),
        ("[::1]:80", "::1"),
        ("[::1]", "::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4:80", "1.2.3.4"),
        ("::FFFF:0102:0304", "1.2.3.4"),
        ("  1.2.3.4  ", "1.2.3.4"),
    ],
)
@pytest.mark.parametrize(
    "header", ["x-plausible-ip", "cf-connecting-ip", "b-forwarded-for", "x-forwarded-for"]
)
def test_a_header_gives_an_address_in_its_one_spelling(header: str, value: str, address: str) -> None:
    """Ports and brackets go, IPv6 is compressed, IPv4 in IPv6 is IPv4."""
    assert resolve({header: value}) == (address, header)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.04",
        "1.2.3.256",
        "1.2.3.4.5",
        "::1%eth0",
        ":::",
        "é",
        "1.2.3.4 x",
    ],
)
@pytest.mark.parametrize(
    "header", ["x-plausible-ip", "cf-connecting-ip", "b-forwarded-for", "x-forwarded-for", "forwarded"]
)
def test_a_value_that_is_no_address_is_passed_over(header: str, value: str) -> None:
    """The peer is taken when no header gives an address."""
    assert resolve({header: value}) == (PROXY, "peer")


def test_the_headers_have_an_order() -> None:
    """The first that gives an address wins."""
    headers = {
        "x-plausible-ip": "192.0.2.1",
        "cf-connecting-ip": "192.0.2.2",
        "b-forwarded-for": "192.0.2.3",
        "x-forwarded-for": "192.0.2.4",
        "forwarded": "for=192.0.2.5",
    }

    for name in list(headers):
        address = headers[name].removeprefix("for=")
        assert resolve(headers) == (address, name)
        headers[name] = "nonsense"
    assert resolve(headers) == (PROXY, "peer")


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("192.0.2.1, 10.0.0.1", "192.0.2.1"),
        ("10.0.1.1, 192.0.2.1", "10.0.1.1"),
        ("unknown, 192.0.2.1", "192.0.2.1"),
        (" ,192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:5000,192.0.2.2", "192.0.2.1"),
    ],
)
def test_the_first_item_that_is_an_address_counts(value: str, address: str) -> None:
    """Also a private one; what is no address is skipped."""
    assert resolve({"x-forwarded-for": value}) == (address, "x-forwarded-for")


def test_only_so_many_items_are_looked_at() -> None:
    """A list of nonsense does not keep the service busy."""
    assert resolve({"x-forwarded-for": "x," * 31 + "192.0.2.1"})[0] == "192.0.2.1"
    assert resolve({"x-forwarded-for": "x," * 32 + "192.0.2.1"})[0] == PROXY


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1", "192.0.2.1"),
        ("proto=https;for=192.0.2.1;by=10.0.0.1", "192.0.2.1"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=192.0.2.1, for=192.0.2.2", "192.0.2.1"),
        ("for=_hidden, for=192.0.2.2", "192.0.2.2"),
        ('for="192.0.2.1:80";proto=http', "192.0.2.1"),
    ],
)
def test_forwarded_names_the_address_after_for(value: str, address: str) -> None:
    """In any case, with or without quotes."""
    assert resolve({"forwarded": value}) == (address, "forwarded")


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (STRANGER, STRANGER),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("no address", "no address"),
    ],
)
def test_a_stranger_is_not_believed(peer: str, address: str) -> None:
    """The peer is the visitor, whatever its headers say."""
    assert resolve({"x-forwarded-for": "192.0.2.1"}, peer) == (address, "peer")


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.9.8.7", "::ffff:10.0.0.1", "::1", "fd00::7", ""])
def test_a_trusted_proxy_is_believed(peer: str) -> None:
    """By its network, by IPv4 in IPv6 too; a Unix socket always."""
    assert resolve({"x-forwarded-for": "192.0.2.1"}, peer) == ("192.0.2.1", "x-forwarded-for")


def test_a_unix_socket_without_headers_is_this_machine() -> None:
    """There is always an address."""
    assert resolve({}, "") == ("127.0.0.1", "peer")


@pytest.mark.parametrize(
    ("value", "peer", "ip_class"),
    [
        ("dc_ip", PROXY, "dc_ip"),
        ("threat_ip", PROXY, "threat_ip"),
        ("anonymous_vpn_ip", PROXY, "anonymous_vpn_ip"),
        ("residential", PROXY, None),
        ("", PROXY, None),
        ("dc_ip", STRANGER, None),
        ("dc_ip", "", "dc_ip"),
    ],
)
def test_the_class_of_an_address_is_believed_like_the_address(
    value: str, peer: str, ip_class: str | None
) -> None:
    """Three values, from trusted proxies only."""
    assert resolve_ip_class({"x-plausible-ip-type": value}.get, peer, TRUSTED) == ip_class


def test_no_header_no_class() -> None:
    """A proxy that tells none leaves it open."""
    assert resolve_ip_class(dict[str, str]().get, PROXY, TRUSTED) is None


def test_the_memory_of_peers_is_bounded() -> None:
    """Many peers do not grow it without end, and are judged the same before and after it is cleared."""
    trusted = TrustedProxies(["10.0.0.0/8"])

    for number in range(MAX_CACHED_PEERS + 10):
        assert trusted.find_peer(str(ipaddress.IPv4Address((10 << 24) + number))).is_trusted
    assert len(trusted._peers) <= MAX_CACHED_PEERS  # the bound has no other witness


HEADER_NAMES = st.sampled_from(
    ["x-plausible-ip", "cf-connecting-ip", "b-forwarded-for", "x-forwarded-for", "forwarded"]
)
HEADER_TEXT = st.text() | st.text(alphabet='0123456789abcdef.:[]%,;="for ', max_size=60)


@given(st.dictionaries(HEADER_NAMES, HEADER_TEXT))
def test_no_header_raises_and_an_address_always_comes_out(headers: dict[str, str]) -> None:
    """The result can be parsed and is already in its one spelling."""
    address, _ = resolve(headers)

    assert str(ipaddress.ip_address(address)) == address


@given(st.ip_addresses())
def test_every_address_is_read(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Text of an address gives that address, mapped ones as IPv4."""
    expected = address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address

    assert parse_address(str(address)) == str(expected)
    assert parse_address(address.exploded) == str(expected)
