"""Provisioning through the admin socket does what provisioning on the store does."""

import datetime
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from service.errors import GatehouseError
from service.http.client import ClientProvisioning
from service.ingestion.shields import Shields
from service.sites.provisioning import Provisioning, StoreProvisioning
from service.sites.records import (
    GoalType,
    Limits,
    LimitsChange,
    NewGoal,
    NewSite,
    PageRequest,
    ShieldKind,
    ShieldRule,
    SiteChange,
    TrackerScriptChange,
)
from tests.support.admin_server import admin_server
from tests.support.folders import short_folder

SIGNUP = NewGoal(goal_type=GoalType.EVENT, event_name="Signup & more", currency="EUR")


class Pair:
    """Both ways to the same sites."""

    def __init__(self, client: ClientProvisioning, store: StoreProvisioning) -> None:
        self.client = client
        self.store = store


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    """A running service with the site example.com."""
    with short_folder() as folder:
        async with admin_server(tmp_path, socket=folder / "admin.sock") as server:
            client = ClientProvisioning(folder / "admin.sock")
            yield Pair(client, StoreProvisioning(server.running.sites, server.running.system.site_changed))
            await client.close()


async def test_site_is_made_and_changed_with_all_it_has(pair: Pair) -> None:
    """What the client gives back is what the store holds."""
    new = NewSite(
        domain="example.com/blog",
        timezone="Europe/Tallinn",
        tracker_script_configuration=TrackerScriptChange(outbound_links=True),
        limits=LimitsChange(threshold=5, accept_traffic_until=datetime.date(2027, 12, 31)),
    )
    created = await pair.client.create_site(new)
    assert created == await pair.store.get_site("example.com/blog")
    assert created.limits == Limits(threshold=5, accept_traffic_until=datetime.date(2027, 12, 31))
    changed = await pair.client.update_site(
        "example.com/blog", SiteChange(domain="ä.example", timezone="UTC")
    )
    assert changed == await pair.store.get_site("ä.example") == await pair.client.get_site("ä.example")
    await pair.client.delete_site("ä.example")
    assert [site.domain for site in (await pair.store.list_sites()).items] == ["example.com"]


async def test_sites_come_in_the_same_parts(pair: Pair) -> None:
    """Every part of a list is the same both ways."""
    for number in range(3):
        await pair.store.create_site(NewSite(domain=f"site{number}.example"))
    first = await pair.client.list_sites(PageRequest(limit=2))
    second = await pair.client.list_sites(PageRequest(limit=2, after=first.after))
    assert first == await pair.store.list_sites(PageRequest(limit=2))
    assert second == await pair.store.list_sites(PageRequest(limit=2, after=first.after))
    assert await pair.client.list_sites(PageRequest(limit=2, before=second.before)) == first


async def test_limits_are_set_and_taken_away(pair: Pair) -> None:
    """A limit given is set, None takes it away, and what is not named stays."""
    await pair.client.set_limits("example.com", LimitsChange(threshold=0, scale_seconds=5))
    limits = await pair.client.set_limits("example.com", LimitsChange(threshold=None))
    assert limits == await pair.store.get_limits("example.com") == Limits(scale_seconds=5)
    assert await pair.client.get_limits("example.com") == limits


async def test_goals_come_and_go(pair: Pair) -> None:
    """A goal keeps its currency and properties on the way."""
    goal = await pair.client.put_goal("example.com", SIGNUP)
    page = NewGoal(goal_type=GoalType.PAGE, page_path="/a", display_name="A", custom_props={"plan": "pro"})
    other = await pair.client.put_goal("example.com", page)
    listed = await pair.client.list_goals("example.com")
    assert listed == await pair.store.list_goals("example.com")
    assert listed.items == [goal, other]
    await pair.client.delete_goal("example.com", goal.id)
    assert (await pair.store.list_goals("example.com")).items == [other]


async def test_shields_come_and_go(pair: Pair) -> None:
    """A rule of each kind is added, listed and removed."""
    rules = [
        ShieldRule(ShieldKind.HOSTNAME, "*.example.com"),
        ShieldRule(ShieldKind.PAGE, "/a b?c=d&e#f/ä"),
        ShieldRule(ShieldKind.IP, "2001:db8::/32"),
        ShieldRule(ShieldKind.COUNTRY, "EE"),
    ]
    assert [await pair.client.add_shield("example.com", rule) for rule in rules] == rules
    assert await pair.client.list_shields("example.com") == Shields(
        hostnames=("*.example.com",), pages=("/a b?c=d&e#f/ä",), ips=("2001:db8::/32",), countries=("EE",)
    )
    for rule in rules:
        await pair.client.remove_shield("example.com", rule)
    assert await pair.store.list_shields("example.com") == Shields()


async def test_custom_properties_come_and_go(pair: Pair) -> None:
    """A property may have any name."""
    names = ("plan", "a/b?c", "ä %2F")
    for name in names:
        await pair.client.add_property("example.com", name)
    assert await pair.client.list_properties("example.com") == names
    for name in names:
        await pair.client.remove_property("example.com", name)
    assert await pair.store.list_properties("example.com") == ()


REFUSED: dict[str, Callable[[Provisioning], Awaitable[object]]] = {
    "unknown site": lambda sites: sites.get_site("nobody.example"),
    "odd site": lambda sites: sites.get_site("%2F?#\ud800"),
    "taken domain": lambda sites: sites.create_site(NewSite(domain="example.com")),
    "bad domain": lambda sites: sites.create_site(NewSite(domain="a:b")),
    "same domain": lambda sites: sites.update_site("example.com", SiteChange(domain="example.com")),
    "bad limit": lambda sites: sites.set_limits("example.com", LimitsChange(threshold=-1)),
    "unknown goal": lambda sites: sites.delete_goal("example.com", 99),
    "bad goal": lambda sites: sites.put_goal(
        "example.com", NewGoal(goal_type=GoalType.PAGE, page_path="no-slash")
    ),
    "unknown shield": lambda sites: sites.remove_shield("example.com", ShieldRule(ShieldKind.PAGE, "/x")),
    "bad shield": lambda sites: sites.add_shield("example.com", ShieldRule(ShieldKind.IP, "x")),
    "bad cursor": lambda sites: sites.list_sites(PageRequest(after="x")),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
async def test_refusals_are_the_same(pair: Pair, call: Callable[[Provisioning], Awaitable[object]]) -> None:
    """What the store refuses, the client refuses with the same error and the same words."""
    with pytest.raises(GatehouseError) as by_store:
        await call(pair.store)
    with pytest.raises(GatehouseError) as by_client:
        await call(pair.client)
    assert (type(by_client.value), str(by_client.value)) == (type(by_store.value), str(by_store.value))


async def test_nobody_at_the_socket_is_told(tmp_path: Path) -> None:
    """Without a service the client says where it looked for one."""
    client = ClientProvisioning(tmp_path / "admin.sock")
    with pytest.raises(GatehouseError, match=r"The service does not answer on .*admin\.sock"):
        await client.list_sites()
    await client.close()
    await client.close()
