"""Visitor ids and root domains keep reference 7.2."""

import subprocess
import sys
import time

import pytest
import siphashc
from hypothesis import given
from hypothesis import strategies as st

from service.ingestion.event import Tables
from service.ingestion.identity import (
    MAX_CACHED_HOSTNAME_CHARS,
    PublicSuffixes,
    is_ipv4,
    root_domain,
    visitor_id,
)
from tests.support.cases import read_cases

KEY = bytes(range(16))
CHROME = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("key", "message", "expected"),
    [
        (b"0123456789ABCDEF", b"hello", 4402678656023170274),
        (KEY, bytes(range(15)), 0xA129CA6149BE45E5),
    ],
)
def test_siphash_vectors(key: bytes, message: bytes, expected: int) -> None:
    """The library computes the vectors of the SipHash paper and of the reference's library."""
    assert siphashc.siphash(key, message) == expected


@pytest.mark.parametrize(
    ("user_agent", "root", "expected"),
    [
        (CHROME, "example.com", 17582164401428981959),
        (None, "(none)", 10774086608087289346),
    ],
)
def test_visitor_id_vectors(user_agent: str | None, root: str, expected: int) -> None:
    """The visitor's number is that of the reference; no user agent counts as the empty text."""
    assert visitor_id(KEY, user_agent, "203.0.113.7", "example.com", root) == expected


def test_visitor_id_of_a_header_that_is_no_utf8() -> None:
    """Bytes of a header that are no UTF-8 are hashed as they are."""
    expected = siphashc.siphash(KEY, b"\xff1.2.3.4a.examplea.example")
    assert visitor_id(KEY, "\udcff", "1.2.3.4", "a.example", "a.example") == expected


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [*read_cases("root_domains.txt", 2), ("", ""), ("\udcff.Example.com", "example.com")],
)
def test_root_domain(tables: Tables, hostname: str, expected: str) -> None:
    """The root is the registrable domain in lower case; without one it is the hostname itself."""
    assert tables.root_domains.root_domain(hostname) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", True),
        ("127.1", True),
        ("127.0.1", True),
        ("127.0.0.1", True),
        ("0x7f000001", True),
        ("0X7f.1", True),
        ("0177.0.0.01", True),
        ("4294967295", True),
        ("4294967296", False),
        ("1.16777215", True),
        ("1.16777216", False),
        ("256.1.1.1", False),
        ("1.2.3.4.5", False),
        ("08", False),
        ("0x", False),
        ("1..2", False),
        ("1.2.3.4.", False),
        ("", False),
        ("a.example", False),
    ],
)
def test_ipv4_forms(text: str, expected: bool) -> None:
    """Every form of an IPv4 address that inet_aton takes is one, and nothing else."""
    assert is_ipv4(text) is expected


def test_root_domains_are_looked_up_once() -> None:
    """A hostname that was asked for lately is not looked up again."""
    asked: list[str] = []

    def registrable(host: str) -> str | None:
        asked.append(host)
        return None

    suffixes = PublicSuffixes(registrable, capacity=10)
    assert [suffixes.root_domain("a.example") for _ in range(3)] == ["a.example"] * 3
    assert asked == ["a.example"]


def test_long_hostnames_are_not_kept() -> None:
    """What is too long for a DNS name takes no place in memory."""
    asked: list[str] = []

    def registrable(host: str) -> str | None:
        asked.append(host)
        return None

    suffixes = PublicSuffixes(registrable, capacity=10)
    hostname = "a" * (MAX_CACHED_HOSTNAME_CHARS + 1)
    suffixes.root_domain(hostname)
    suffixes.root_domain(hostname)
    assert asked == [hostname, hostname]


def test_root_domain_of_a_public_suffix_is_itself() -> None:
    """Without a registrable domain the hostname stays as it is, in its case."""
    assert root_domain("Co.UK", lambda _: None) == "Co.UK"


NO_NETWORK = """
import sys

def refuse(event, _):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.gethost", "urllib.")):
        raise SystemExit(f"the network was asked: {event}")

sys.addaudithook(refuse)
from service.ingestion.user_agent import NoUserAgents
from service.tables import load_tables
tables = load_tables(
    user_agents=NoUserAgents(), geo_database=None, spam_list=None, exchange_rates=None
).tables
roots = tables.root_domains
print(roots.root_domain("a.foo.github.io"), roots.root_domain("a.b.unknowntld"))
"""


def test_the_network_is_never_asked() -> None:
    """Neither the import nor a look-up asks the network: the list comes with its package."""
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "foo.github.io b.unknowntld\n", "")


HOSTNAMES = st.text(max_size=300) | st.lists(
    st.sampled_from(["", "a", "COM", "co", "uk", "ck", "github", "io", "1", "0x7f", "食狮", "\udcff"]),
    max_size=9,
).map(".".join)


@given(hostname=HOSTNAMES)
def test_any_hostname_has_a_root(tables: Tables, hostname: str) -> None:
    """Whatever the hostname, its root is the hostname or an end of it, and its own root."""
    root = tables.root_domains.root_domain(hostname)
    assert root == hostname or hostname.lower().endswith(root)
    assert root.startswith(".") or tables.root_domains.root_domain(root) == root


@pytest.mark.parametrize("hostname", ["a." * 1000 + "com", "a" * 2000, "." * 2000, "1." * 1000, "0" * 2000])
def test_long_hostnames_take_no_time(tables: Tables, hostname: str) -> None:
    """The longest hostname that a URL can hold is looked up in less than a few milliseconds."""
    began = time.process_time()
    for _ in range(10):
        tables.root_domains.root_domain(hostname)
    assert time.process_time() - began < 0.5
