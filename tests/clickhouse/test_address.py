"""The address of ClickHouse is read from one URL, and what is wrong with it is said."""

import pytest

from service.clickhouse.address import Address, parse_address
from service.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("clickhouse://db", Address(hosts=(("db", 9000),))),
        ("clickhouse://db:9001/stats", Address(hosts=(("db", 9001),), database="stats")),
        ("clickhouses://db/", Address(hosts=(("db", 9440),), secure=True)),
        (
            "clickhouse://a,b:9001,[::1]:9002/x",
            Address(hosts=(("a", 9000), ("b", 9001), ("::1", 9002)), database="x"),
        ),
        ("clickhouse://me:p%40ss%3A@db", Address(hosts=(("db", 9000),), user="me", password="p@ss:")),
        ("clickhouse://me@db", Address(hosts=(("db", 9000),), user="me")),
        (
            "clickhouses://db/x?verify=false&ca_certs=/etc/ca.pem&compression=lz4",
            Address(
                hosts=(("db", 9440),),
                database="x",
                secure=True,
                verify=False,
                ca_certs="/etc/ca.pem",
                compression="lz4",
            ),
        ),
    ],
)
def test_address(url: str, address: Address) -> None:
    """Hosts, ports, user, password, database and options are taken from their places."""
    assert parse_address(url) == address


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://db:8123", "must begin with clickhouse:// or"),
        ("", "must begin with clickhouse:// or"),
        ("clickhouse://", "is not a host"),
        ("clickhouse://a,,b", "is not a host"),
        ("clickhouse://db:port", "is not a host or host:port"),
        ("clickhouse://db:99999", "is not a host or host:port"),
        ("clickhouse://db/my-stats", "must be letters, digits and underscores"),
        ("clickhouse://db/x?compression=zip", "is not an option"),
        ("clickhouse://db/x?verify=maybe", "is not an option"),
        ("clickhouse://db/x?user=me", "is not an option"),
        ("clickhouse://[::1", "cannot be read as a URL"),
    ],
)
def test_wrong_address(url: str, sentence: str) -> None:
    """A wrong part is named."""
    with pytest.raises(ConfigError, match=sentence):
        parse_address(url)


def test_password_is_never_shown() -> None:
    """What is wrong is said without the password."""
    with pytest.raises(ConfigError) as refusal:
        parse_address("clickhouse://me:secret@db:port/x")

    assert "secret" not in str(refusal.value)
