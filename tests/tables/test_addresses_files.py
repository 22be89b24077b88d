"""Lists of addresses in files: loaded, followed, and refused with a sentence."""

from pathlib import Path

import mmdb_writer
import pytest
from netaddr import IPSet

from service.config import IP_VERDICTS, load_config
from service.errors import ConfigError
from service.ingestion.geolocation import Location
from service.ingestion.verdict import DropReason
from service.tables.addresses import watch_addresses
from service.wire.forwarded import IP_TYPES
from tests.support.events import build_event, make_context, make_tables


def write(path: Path, text: str) -> Path:
    """Write a list."""
    path.write_text(text, encoding="utf-8")
    return path


def test_verdicts_have_one_set_of_names() -> None:
    """A list says what a trusted proxy may say."""
    assert set(IP_VERDICTS) == IP_TYPES


@pytest.mark.parametrize(
    ("verdict", "reason", "location"),
    [
        ("dc_ip", DropReason.DC_IP, ""),
        ("threat_ip", DropReason.THREAT_IP, ""),
        ("anonymous_vpn_ip", None, "A1"),
    ],
)
def test_an_event_meets_a_list(
    tmp_path: Path, verdict: str, reason: DropReason | None, location: str
) -> None:
    """Listed addresses are dropped with their reason or get their country; what a proxy says goes first."""
    file = write(tmp_path / "list.txt", "203.0.113.0/24\n")
    tables = make_tables(ip_lists=(f"{file}={verdict}",))
    event = build_event(make_context(tables), remote_ip="203.0.113.7")
    assert (event.drop_reason, event.location) == (reason, Location(location))
    told = build_event(make_context(tables), remote_ip="203.0.113.7", ip_class="anonymous_vpn_ip")
    assert (told.drop_reason, told.location) == (None, Location("A1"))


async def test_a_changed_list_is_followed(tmp_path: Path) -> None:
    """A new list is in force without a restart; a wrong one changes nothing and is a problem."""
    file = write(tmp_path / "list.txt", "203.0.113.7\n")
    watched = watch_addresses([f"{file}=dc_ip"], None)
    for text, found, problem in (
        ("198.51.100.0/24\n", None, False),
        ("203.0.113.0/33\n", None, True),
        ("203.0.113.0/25", "dc_ip", False),
    ):
        write(file, text)
        await watched.refresh(0)
        await watched.refresh(0)
        assert watched.published.value.find("203.0.113.7") == found
        assert (watched.problem is not None) == problem


def test_as_numbers_need_their_database(tmp_path: Path) -> None:
    """With the database they are found; without it the start is refused."""
    file = write(tmp_path / "list.txt", "AS64500\n")
    writer = mmdb_writer.MMDBWriter(6, "GeoLite2-ASN", ipv4_compatible=True)
    writer.insert_network(IPSet(["203.0.113.0/24"]), {"autonomous_system_number": 64500})
    writer.to_db_file(str(tmp_path / "asn.mmdb"))
    watched = watch_addresses([f"{file}=dc_ip"], tmp_path / "asn.mmdb")

    assert watched.published.value.find("203.0.113.7") == "dc_ip"
    assert watched.published.value.find("198.51.100.7") is None
    with pytest.raises(ConfigError, match="AS numbers, which need asn_database"):
        watch_addresses([f"{file}=dc_ip"], None)


@pytest.mark.parametrize("value", ["list.txt", "list.txt=bot", "=dc_ip", "a=dc_ip,b"])
def test_a_wrong_setting(value: str, tmp_path: Path) -> None:
    """A list without a verdict, or with an unknown one, stops the start."""
    with pytest.raises(ConfigError, match="file=verdict"):
        load_config(file=None, environ={"GATEHOUSE_IP_LISTS": value}, flags={})


def test_the_setting_in_a_variable() -> None:
    """Commas stand between lists; a file's name may hold an equals sign."""
    config = load_config(file=None, environ={"GATEHOUSE_IP_LISTS": "a=b.txt=dc_ip, c=threat_ip"}, flags={})
    assert config.ip_lists == ("a=b.txt=dc_ip", "c=threat_ip")
