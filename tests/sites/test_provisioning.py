"""The rules of making, changing and deleting sites, goals, shields and custom properties."""

import datetime
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from service.errors import GoalNotFound, ShieldRuleNotFound, SiteInvalid, SiteNotFound
from service.ingestion.shields import Shields
from service.sites.provisioning import StoreProvisioning
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
from tests.support.sites import HOUR_S, Desk, open_desk

TAKEN = "This domain cannot be registered. Perhaps one of your colleagues registered it?"


async def test_new_site_has_no_limits_and_a_tracker_of_its_own(tmp_path: Path) -> None:
    """A site is made with the reference's defaults and a random tracker id."""
    async with open_desk(tmp_path) as desk:
        site = await desk.provisioning.create_site(NewSite(domain=" https://www.Example.com/ "))
        other = await desk.provisioning.create_site(NewSite(domain="other.example"))
    assert (site.domain, site.timezone, site.limits) == ("example.com", "Etc/UTC", Limits())
    assert re.fullmatch(r"pa-[A-Za-z0-9_-]{21}", site.tracker_script_configuration.id)
    assert site.tracker_script_configuration.id != other.tracker_script_configuration.id


@pytest.mark.parametrize("domain", ["example.com", "EXAMPLE.com", "https://www.example.com/"])
async def test_domain_is_registered_once(tmp_path: Path, domain: str) -> None:
    """A domain that a site has cannot be registered again, however it is written."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        with pytest.raises(SiteInvalid, match=re.escape(TAKEN)):
            await desk.provisioning.create_site(NewSite(domain=domain))


async def test_former_domain_is_kept_for_its_site(tmp_path: Path) -> None:
    """A domain that a site gave up less than 72 hours ago can be registered by nobody else."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="old.example"))
        await desk.provisioning.update_site("old.example", SiteChange(domain="new.example"))
        with pytest.raises(SiteInvalid, match=re.escape(TAKEN)):
            await desk.provisioning.create_site(NewSite(domain="old.example"))
        desk.clock.now += 72 * HOUR_S
        assert (await desk.provisioning.create_site(NewSite(domain="old.example"))).id == 2


async def test_site_may_take_its_former_domain_back(tmp_path: Path) -> None:
    """A change can be undone at once."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="old.example"))
        await desk.provisioning.update_site("old.example", SiteChange(domain="new.example"))
        site = await desk.provisioning.update_site("new.example", SiteChange(domain="old.example"))
        assert (site.domain, site.domain_changed_from) == ("old.example", "new.example")


async def test_new_domain_must_differ(tmp_path: Path) -> None:
    """A change to the same domain is refused."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        with pytest.raises(SiteInvalid, match="New domain must be different than the current one"):
            await desk.provisioning.update_site("example.com", SiteChange(domain="www.example.com"))


async def test_site_cannot_take_the_domain_of_another(tmp_path: Path) -> None:
    """A change to another site's domain is refused."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="a.example"))
        await desk.provisioning.create_site(NewSite(domain="b.example"))
        with pytest.raises(SiteInvalid, match=re.escape(TAKEN)):
            await desk.provisioning.update_site("a.example", SiteChange(domain="b.example"))


async def test_site_is_found_by_its_former_domain(tmp_path: Path) -> None:
    """For 72 hours a site can be administered under the domain that it had."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="old.example"))
        await desk.provisioning.update_site("old.example", SiteChange(domain="new.example"))
        assert (await desk.provisioning.get_site("old.example")).domain == "new.example"
        desk.clock.now += 72 * HOUR_S
        with pytest.raises(SiteNotFound):
            await desk.provisioning.get_site("old.example")


async def test_custom_limit_survives_a_new_domain(tmp_path: Path) -> None:
    """A change of the domain leaves the limits alone, unlike in the reference."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="old.example", limits=LimitsChange(threshold=7)))
        site = await desk.provisioning.update_site("old.example", SiteChange(domain="new.example"))
        assert site.limits.threshold == 7


async def test_limits_not_named_stay(tmp_path: Path) -> None:
    """A change of one limit leaves the others; None takes a limit away."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        day = datetime.date(2027, 12, 31)
        await desk.provisioning.set_limits("example.com", LimitsChange(threshold=0, accept_traffic_until=day))
        await desk.provisioning.set_limits("example.com", LimitsChange(scale_seconds=1))
        limits = await desk.provisioning.get_limits("example.com")
        assert limits == Limits(threshold=0, scale_seconds=1, accept_traffic_until=day)
        limits = await desk.provisioning.set_limits("example.com", LimitsChange(threshold=None))
        assert limits == Limits(threshold=None, scale_seconds=1, accept_traffic_until=day)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (LimitsChange(threshold=-1), "threshold: must be empty, zero or positive"),
        (LimitsChange(scale_seconds=0), "scale_seconds: must be at least 1 second"),
    ],
)
async def test_bad_limit_changes_nothing(tmp_path: Path, change: LimitsChange, message: str) -> None:
    """A limit that breaks a rule is refused and the old ones stay."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        with pytest.raises(SiteInvalid, match=message):
            await desk.provisioning.set_limits("example.com", change)
        assert await desk.provisioning.get_limits("example.com") == Limits()


async def test_deleted_site_is_gone_with_all_it_had(tmp_path: Path) -> None:
    """A site added anew under a deleted one's domain inherits nothing."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        await desk.provisioning.put_goal("example.com", _event("Signup"))
        await desk.provisioning.add_shield("example.com", ShieldRule(ShieldKind.PAGE, "/admin"))
        await desk.provisioning.delete_site("example.com")
        with pytest.raises(SiteNotFound):
            await desk.provisioning.get_site("example.com")
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        assert (await desk.provisioning.list_goals("example.com")).items == []
        assert await desk.provisioning.list_shields("example.com") == Shields()


async def test_sites_come_in_parts(tmp_path: Path) -> None:
    """Following the cursors forth and back gives every site once, in order of the domains."""
    async with open_desk(tmp_path) as desk:
        for number in (3, 1, 5, 2, 4):
            await desk.provisioning.create_site(NewSite(domain=f"site{number}.example"))
        parts = [await desk.provisioning.list_sites(PageRequest(limit=2))]
        assert parts[0].before is None
        while parts[-1].after is not None:
            parts.append(await desk.provisioning.list_sites(PageRequest(limit=2, after=parts[-1].after)))
        forth = [[site.domain[4] for site in part.items] for part in parts]
        assert forth == [["1", "2"], ["3", "4"], ["5"]]
        back = await desk.provisioning.list_sites(PageRequest(limit=2, before=parts[2].before))
        assert [site.domain[4] for site in back.items] == ["3", "4"]
        first = await desk.provisioning.list_sites(PageRequest(limit=2, before=back.before))
        assert [site.domain[4] for site in first.items] == ["1", "2"]
        assert first.before is None


@pytest.mark.parametrize("cursor", ["", "x", "ö", "MQ==", "Ilx1ZDgwMCI="])
async def test_bad_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    """A cursor that this list never gave is refused."""
    async with open_desk(tmp_path) as desk:
        with pytest.raises(SiteInvalid, match="after: is invalid"):
            await desk.provisioning.list_sites(PageRequest(after=cursor))


async def test_part_has_at_most_1000_items(tmp_path: Path) -> None:
    """A larger limit is lowered, one below one is refused."""
    async with open_desk(tmp_path) as desk:
        assert (await desk.provisioning.list_sites(PageRequest(limit=5000))).limit == 1000
        with pytest.raises(SiteInvalid, match="limit: must be at least 1"):
            await desk.provisioning.list_sites(PageRequest(limit=0))


async def test_tracker_settings_make_their_goals(tmp_path: Path) -> None:
    """Turning on outbound links, downloads or forms makes the goal that they report, once."""
    async with open_desk(tmp_path) as desk:
        tracker = TrackerScriptChange(outbound_links=True, file_downloads=True)
        await desk.provisioning.create_site(
            NewSite(domain="example.com", tracker_script_configuration=tracker)
        )
        change = SiteChange(tracker_script_configuration=TrackerScriptChange(form_submissions=True))
        site = await desk.provisioning.update_site("example.com", change)
        goals = (await desk.provisioning.list_goals("example.com")).items
        assert [goal.event_name for goal in goals] == [
            "Outbound Link: Click",
            "File Download",
            "Form: Submission",
        ]
        assert site.tracker_script_configuration.outbound_links


@pytest.mark.parametrize(
    ("new", "display_name"),
    [
        (NewGoal(goal_type=GoalType.EVENT, event_name=" Signup "), "Signup"),
        (NewGoal(goal_type=GoalType.PAGE, page_path="/thanks*"), "Visit /thanks*"),
        (NewGoal(goal_type=GoalType.EVENT, event_name="Signup", display_name="Joined"), "Joined"),
    ],
)
async def test_goal_has_a_name(tmp_path: Path, new: NewGoal, display_name: str) -> None:
    """A goal is called after what it counts unless a name is given."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        assert (await desk.provisioning.put_goal("example.com", new)).display_name == display_name


async def test_goal_asked_for_again_is_found(tmp_path: Path) -> None:
    """The same goal twice is one goal, and with other properties it is another."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        goal = await desk.provisioning.put_goal("example.com", _event("Signup", currency="EUR"))
        assert await desk.provisioning.put_goal("example.com", _event("Signup")) == goal
        assert await desk.provisioning.put_goal("example.com", _event("Signup", currency="EUR")) == goal
        narrow = NewGoal(
            goal_type=GoalType.EVENT, event_name="Signup", display_name="Pro", custom_props={"plan": "pro"}
        )
        assert (await desk.provisioning.put_goal("example.com", narrow)).id == goal.id + 1


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (NewGoal(goal_type=GoalType.EVENT), "event_name: can't be blank"),
        (
            NewGoal(goal_type=GoalType.EVENT, event_name="x" * 121),
            "event_name: should be at most 120 character(s)",
        ),
        (NewGoal(goal_type=GoalType.EVENT, event_name="\ud800"), "event_name: is invalid"),
        (NewGoal(goal_type=GoalType.EVENT, event_name="a\0b"), "event_name: is invalid"),
        (NewGoal(goal_type=GoalType.PAGE), "page_path: can't be blank"),
        (NewGoal(goal_type=GoalType.PAGE, page_path="thanks"), "page_path: must start with /"),
        (
            NewGoal(goal_type=GoalType.PAGE, page_path="/", currency="EUR"),
            "currency: only an event goal can have a currency",
        ),
        (NewGoal(goal_type=GoalType.EVENT, event_name="Buy", currency="eur"), "currency: is invalid"),
        (NewGoal(goal_type=GoalType.EVENT, event_name="Buy", currency="XXY"), "currency: is invalid"),
        (
            NewGoal(goal_type=GoalType.EVENT, event_name="Purchase", currency="USD"),
            "event_name: 'Purchase' (with currency: EUR) has already been taken",
        ),
        (
            NewGoal(goal_type=GoalType.EVENT, event_name="Signup", currency="EUR"),
            "currency: cannot change currency of existing goal",
        ),
        (
            NewGoal(goal_type=GoalType.EVENT, event_name="Other", display_name="Signup"),
            "display_name: has already been taken",
        ),
    ],
)
async def test_bad_goal_is_refused(tmp_path: Path, new: NewGoal, message: str) -> None:
    """A goal that breaks a rule, or contradicts Purchase (EUR) or Signup (no currency), is refused."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        await desk.provisioning.put_goal("example.com", _event("Purchase", currency="EUR"))
        await desk.provisioning.put_goal("example.com", _event("Signup"))
        with pytest.raises(SiteInvalid) as refused:
            await desk.provisioning.put_goal("example.com", new)
        assert str(refused.value) == message


@pytest.mark.parametrize("goal_id", [0, -1, 2, 2**63, 10**30])
async def test_unknown_goal_cannot_be_deleted(tmp_path: Path, goal_id: int) -> None:
    """Only a goal of the site's own can be deleted."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        await desk.provisioning.put_goal("example.com", _event("Signup"))
        with pytest.raises(GoalNotFound, match="Goal could not be found"):
            await desk.provisioning.delete_goal("example.com", goal_id)


async def test_shield_rules_are_kept_in_canonical_text(tmp_path: Path) -> None:
    """A rule is kept in one form, and found in any other when it is removed."""
    async with open_desk(tmp_path) as desk:
        provisioning = desk.provisioning
        await provisioning.create_site(NewSite(domain="example.com"))
        rule = await provisioning.add_shield("example.com", ShieldRule(ShieldKind.IP, "2001:DB8:0::1"))
        assert rule == ShieldRule(ShieldKind.IP, "2001:db8::1")
        await provisioning.add_shield("example.com", ShieldRule(ShieldKind.HOSTNAME, "*.example.com"))
        await provisioning.remove_shield("example.com", ShieldRule(ShieldKind.IP, "2001:db8:0:0::1"))
        assert await provisioning.list_shields("example.com") == Shields(hostnames=("*.example.com",))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (ShieldRule(ShieldKind.IP, "10.0.0.0/8"), "ip: rule already exists"),
        (ShieldRule(ShieldKind.IP, "10.9.9.9/8"), "ip: rule already exists"),
        (ShieldRule(ShieldKind.IP, "nonsense"), "ip: is invalid"),
        (ShieldRule(ShieldKind.PAGE, "admin"), "page: must start with /"),
        (ShieldRule(ShieldKind.PAGE, ""), "page: can't be blank"),
        (ShieldRule(ShieldKind.PAGE, "/\ud800"), "page: is invalid"),
        (ShieldRule(ShieldKind.COUNTRY, "EST"), "country: should be 2 character(s)"),
    ],
)
async def test_bad_shield_rule_is_refused(tmp_path: Path, rule: ShieldRule, message: str) -> None:
    """A rule that breaks the rules, or is there already, is refused."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        await desk.provisioning.add_shield("example.com", ShieldRule(ShieldKind.IP, "10.0.0.0/8"))
        with pytest.raises(SiteInvalid) as refused:
            await desk.provisioning.add_shield("example.com", rule)
        assert str(refused.value) == message


@pytest.mark.parametrize(
    ("kind", "pattern", "most"),
    [(ShieldKind.PAGE, "/{}", 30), (ShieldKind.IP, "10.0.0.{}", 30), (ShieldKind.HOSTNAME, "h{}", 10)],
)
async def test_shield_rules_are_bounded(tmp_path: Path, kind: ShieldKind, pattern: str, most: int) -> None:
    """Each kind of rule has its maximum."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        for number in range(most):
            await desk.provisioning.add_shield("example.com", ShieldRule(kind, pattern.format(number)))
        with pytest.raises(SiteInvalid, match="maximum reached"):
            await desk.provisioning.add_shield("example.com", ShieldRule(kind, pattern.format(most)))


async def test_unknown_shield_rule_cannot_be_removed(tmp_path: Path) -> None:
    """Removing a rule that is not there is an error."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        with pytest.raises(ShieldRuleNotFound, match="Shield rule could not be found"):
            await desk.provisioning.remove_shield("example.com", ShieldRule(ShieldKind.PAGE, "/admin"))


async def test_custom_properties_are_a_set_in_order(tmp_path: Path) -> None:
    """A property is allowed once, and taken back without complaint."""
    async with open_desk(tmp_path) as desk:
        provisioning = desk.provisioning
        await provisioning.create_site(NewSite(domain="example.com"))
        for name in ("author", "plan", "author"):
            await provisioning.add_property("example.com", name)
        assert await provisioning.list_properties("example.com") == ("author", "plan")
        for name in ("author", "never there"):
            await provisioning.remove_property("example.com", name)
        assert await provisioning.list_properties("example.com") == ("plan",)


async def test_custom_properties_are_bounded(tmp_path: Path) -> None:
    """A site has at most 300 properties, each of at most 300 characters."""
    async with open_desk(tmp_path) as desk:
        provisioning = desk.provisioning
        await provisioning.create_site(NewSite(domain="example.com"))
        with pytest.raises(SiteInvalid, match=re.escape("property: should be at most 300 character(s)")):
            await provisioning.add_property("example.com", "x" * 301)
        for number in range(300):
            await provisioning.add_property("example.com", f"p{number}")
        with pytest.raises(SiteInvalid, match="property: at most 300 are allowed"):
            await provisioning.add_property("example.com", "one more")


async def test_each_change_is_reported_after_it_is_kept(tmp_path: Path) -> None:
    """Whoever runs the sites hears of each change, and finds it in the store when he hears of it."""
    async with open_desk(tmp_path) as desk:
        heard: list[int | None] = []

        async def on_change(site_id: int) -> None:
            site = await desk.store.get(site_id)
            heard.append(site.ingest_rate_limit_threshold if site is not None else -1)

        provisioning = StoreProvisioning(desk.store, on_change)
        await provisioning.create_site(NewSite(domain="example.com"))
        await provisioning.set_limits("example.com", LimitsChange(threshold=5))
        await provisioning.delete_site("example.com")
        assert heard == [None, 5, -1]


CHANGES: dict[str, Callable[[StoreProvisioning], Awaitable[object]]] = {
    "limits": lambda sites: sites.set_limits("example.com", LimitsChange(threshold=1)),
    "domain": lambda sites: sites.update_site("example.com", SiteChange(domain="new.example")),
    "new goal": lambda sites: sites.put_goal("example.com", _event("Buy", currency="EUR")),
    "deleted goal": lambda sites: sites.delete_goal("example.com", 1),
    "new shield": lambda sites: sites.add_shield("example.com", ShieldRule(ShieldKind.PAGE, "/new")),
    "removed shield": lambda sites: sites.remove_shield("example.com", ShieldRule(ShieldKind.PAGE, "/old")),
    "deleted site": lambda sites: sites.delete_site("example.com"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_change_names_its_site(
    tmp_path: Path, change: Callable[[StoreProvisioning], Awaitable[object]]
) -> None:
    """Every kind of change reports the site that it concerns, once."""
    async with open_desk(tmp_path) as desk:
        await _furnish(desk)
        await change(desk.provisioning)
        assert desk.changed == [2]


UNKNOWN: dict[str, Callable[[StoreProvisioning], Awaitable[object]]] = {
    "get": lambda sites: sites.get_site("nobody.example"),
    "not a domain": lambda sites: sites.get_site("\ud800?"),
    "update": lambda sites: sites.update_site("nobody.example", SiteChange(timezone="UTC")),
    "delete": lambda sites: sites.delete_site("nobody.example"),
    "limits": lambda sites: sites.get_limits("nobody.example"),
    "set limits": lambda sites: sites.set_limits("nobody.example", LimitsChange(threshold=1)),
    "goals": lambda sites: sites.list_goals("nobody.example"),
    "new goal": lambda sites: sites.put_goal("nobody.example", _event("Buy")),
    "delete goal": lambda sites: sites.delete_goal("nobody.example", 1),
    "shields": lambda sites: sites.list_shields("nobody.example"),
    "new shield": lambda sites: sites.add_shield("nobody.example", ShieldRule(ShieldKind.PAGE, "/")),
    "remove shield": lambda sites: sites.remove_shield("nobody.example", ShieldRule(ShieldKind.PAGE, "/")),
    "properties": lambda sites: sites.list_properties("nobody.example"),
    "new property": lambda sites: sites.add_property("nobody.example", "plan"),
    "remove property": lambda sites: sites.remove_property("nobody.example", "plan"),
}


@pytest.mark.parametrize("call", UNKNOWN.values(), ids=UNKNOWN.keys())
async def test_unknown_site_is_not_found(
    tmp_path: Path, call: Callable[[StoreProvisioning], Awaitable[object]]
) -> None:
    """Whatever is asked of a domain that no site has is answered alike."""
    async with open_desk(tmp_path) as desk:
        with pytest.raises(SiteNotFound, match="Site could not be found"):
            await call(desk.provisioning)
        assert desk.changed == []


async def _furnish(desk: Desk) -> None:
    """Make a site with the number 2, a goal and a shield rule, and forget that it was reported."""
    await desk.provisioning.create_site(NewSite(domain="other.example"))
    await desk.provisioning.create_site(NewSite(domain="example.com"))
    await desk.provisioning.put_goal("example.com", _event("Signup"))
    await desk.provisioning.add_shield("example.com", ShieldRule(ShieldKind.PAGE, "/old"))
    desk.changed.clear()


def _event(name: str, *, currency: str | None = None) -> NewGoal:
    return NewGoal(goal_type=GoalType.EVENT, event_name=name, currency=currency)
