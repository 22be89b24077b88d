"""The operator's lists of addresses, and the database of AS numbers that some of them need."""

import socket
from collections.abc import Sequence
from pathlib import Path

from service.errors import ConfigError
from service.ingestion.addresses import AddressList, IpVerdicts, parse_address_list
from service.tables.files import read_text
from service.tables.mmdb import open_mmdb
from service.tables.watched import Watched


def watch_addresses(ip_lists: Sequence[str], asn_database: Path | None) -> Watched[IpVerdicts]:
    """Load the lists, each given as ``file=verdict``, and follow their files. Raises ConfigError."""
    pairs = [(Path(file), verdict) for file, _, verdict in (entry.rpartition("=") for entry in ip_lists)]
    files = [file for file, _ in pairs]
    if asn_database is not None:
        files.append(asn_database)
    return Watched("ip lists", files, lambda: _load(pairs, asn_database))


def _load(pairs: Sequence[tuple[Path, str]], asn_database: Path | None) -> IpVerdicts:
    lists = [_read(file, verdict) for file, verdict in pairs]
    with_asns = next((file for (file, _), entry in zip(pairs, lists, strict=True) if entry.asns), None)
    if with_asns is not None and asn_database is None:
        raise ConfigError(f"the ip list {with_asns} holds AS numbers, which need asn_database")
    reader = None if asn_database is None else open_mmdb("ASN database", asn_database)
    return IpVerdicts(lists, pack=_pack, asn_reader=reader)


def _read(file: Path, verdict: str) -> AddressList:
    text = read_text("ip list", file)
    try:
        return parse_address_list(text, verdict, name=str(file))
    except ValueError as error:
        raise ConfigError(f"the ip list {file} cannot be used: {error}") from None


def _pack(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
