"""The address of ClickHouse servers, read from one URL.

``clickhouse://user:password@host:9000,host2:9000/database?compression=lz4``; ``clickhouses://`` means TLS.
Hosts are tried in the order given. A wrong part raises ConfigError with a sentence that never shows the
password.
"""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from service.errors import ConfigError

DEFAULT_PORT = 9000
DEFAULT_TLS_PORT = 9440
DEFAULT_DATABASE = "default"
_SCHEMES = {"clickhouse": False, "clickhouses": True}
_DATABASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_YES_NO = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Address(Struct, frozen=True):
    """Where and as whom to connect.

    ``compression`` is "lz4" or empty; ``ca_certs`` names a file, empty means the system's.
    """

    hosts: tuple[tuple[str, int], ...]
    user: str = "default"
    password: str = ""
    database: str = DEFAULT_DATABASE
    secure: bool = False
    verify: bool = True
    ca_certs: str = ""
    compression: str = ""


def parse_address(url: str) -> Address:
    """Read the URL; raises ConfigError when a part is missing, unknown or not allowed."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"The ClickHouse address cannot be read as a URL: {error}.") from None
    secure = _SCHEMES.get(parts.scheme)
    if secure is None:
        raise ConfigError("The ClickHouse address must begin with clickhouse:// or, for TLS, clickhouses://.")
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    database = unquote(parts.path.strip("/")) or DEFAULT_DATABASE
    if _DATABASE_NAME.fullmatch(database) is None:
        raise ConfigError(f"The database name {database!r} must be letters, digits and underscores.")
    options = _parse_options(parts.query)
    return Address(
        hosts=tuple(_parse_host(host, secure=secure) for host in hosts.split(",")),
        user=unquote(user) or "default",
        password=unquote(password),
        database=database,
        secure=secure,
        verify=_YES_NO[options.get("verify", "true").lower()],
        ca_certs=options.get("ca_certs", ""),
        compression=options.get("compression", ""),
    )


def _parse_host(text: str, *, secure: bool) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ConfigError(f"{text!r} in the ClickHouse address is not a host or host:port.")
    return host, port or (DEFAULT_TLS_PORT if secure else DEFAULT_PORT)


def _parse_options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        allowed = {"verify": value.lower() in _YES_NO, "ca_certs": True, "compression": value == "lz4"}
        if not allowed.get(name, False):
            raise ConfigError(
                f"{name}={value} is not an option of the ClickHouse address; "
                "it takes verify=true|false, ca_certs=FILE and compression=lz4."
            )
    return options
