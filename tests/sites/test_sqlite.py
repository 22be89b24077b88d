"""The sites' store on a real SQLite file."""

import asyncio
import datetime
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import SiteStoreUnavailable
from service.ingestion.shields import Shields
from service.ingestion.site import Site
from service.sites.records import GoalType, LimitsChange, NewGoal, NewSite, ShieldKind, ShieldRule, SiteChange
from service.sites.schema import MIGRATIONS
from service.sites.sqlite import SqliteSiteStore
from service.sites.store import SiteKey
from tests.support.sites import HOUR_S, Desk, SettableClock, open_desk

TODAY = 20_775


async def test_site_is_loaded_with_limits_goals_and_shields(tmp_path: Path) -> None:
    """A site is loaded whole: limits, revenue goals in order, shields by kind."""
    async with open_desk(tmp_path) as desk:
        provisioning = desk.provisioning
        await provisioning.create_site(NewSite(domain="example.com", timezone="Europe/Tallinn"))
        change = LimitsChange(threshold=5, scale_seconds=10, accept_traffic_until=datetime.date(1970, 1, 3))
        await provisioning.set_limits("example.com", change)
        for name, currency in (("Purchase", "EUR"), ("Signup", None), ("Donation", "USD")):
            await provisioning.put_goal("example.com", _event_goal(name, currency))
        await provisioning.add_shield("example.com", ShieldRule(ShieldKind.IP, "10.0.0.1/8"))
        await provisioning.add_shield("example.com", ShieldRule(ShieldKind.COUNTRY, "ee"))
        assert await desk.store.get(1) == Site(
            id=1,
            domain="example.com",
            timezone="Europe/Tallinn",
            ingest_rate_limit_threshold=5,
            ingest_rate_limit_scale_seconds=10,
            accept_traffic_until=2,
            revenue_goals=(("Purchase", "EUR"), ("Donation", "USD")),
            shields=Shields(ips=("10.0.0.0/8",), countries=("EE",)),
        )


async def test_unknown_site_is_none(tmp_path: Path) -> None:
    """A number that no site has gives None."""
    async with open_desk(tmp_path) as desk:
        assert await desk.store.get(77) is None


async def test_former_domain_is_accepted_for_72_hours(tmp_path: Path) -> None:
    """After a change both domains are keys of the site, until 72 hours are over."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="old.example"))
        await desk.provisioning.update_site("old.example", SiteChange(domain="new.example"))
        desk.clock.now += 72 * HOUR_S - 1
        assert set(await desk.store.keys()) == {SiteKey("new.example", 1), SiteKey("old.example", 1)}
        site = await desk.store.get(1)
        assert site is not None
        assert site.domain_changed_from == "old.example"


async def test_former_domain_ends_after_72_hours(tmp_path: Path) -> None:
    """72 hours after the change the old domain is nobody's."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="old.example"))
        await desk.provisioning.update_site("old.example", SiteChange(domain="new.example"))
        desk.clock.now += 72 * HOUR_S
        assert list(await desk.store.keys()) == [SiteKey("new.example", 1)]
        site = await desk.store.get(1)
        assert site is not None
        assert site.domain_changed_from is None


async def test_100_000_sites_are_listed(tmp_path: Path) -> None:
    """The keys of 100,000 sites come from one statement."""
    async with open_desk(tmp_path) as desk:
        _insert_sites(tmp_path / "sites.sqlite3", 100_000)
        assert len(set(await desk.store.keys())) == 100_000


async def test_number_of_a_deleted_site_is_not_given_again(tmp_path: Path) -> None:
    """A new site never gets the number, and so the rows, of a deleted one."""
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="a.example"))
        await desk.provisioning.delete_site("a.example")
        assert (await desk.provisioning.create_site(NewSite(domain="b.example"))).id == 2


async def test_two_stores_asking_at_once_get_the_same_salts(tmp_path: Path) -> None:
    """Stores that ask for the day's salts at the same moment get the same ones."""
    stores = [SqliteSiteStore(tmp_path / "sites.sqlite3", clock=SettableClock()) for _ in range(4)]
    await asyncio.gather(*(store.start() for store in stores))
    try:
        first, *others = await asyncio.gather(*(store.salts(today=TODAY) for store in stores))
        assert all(salts == first for salts in others)
        assert sorted(first) == [TODAY, TODAY + 1]
        assert [len(salt) for salt in first.values()] == [16, 16]
    finally:
        for store in stores:
            await store.close()


async def test_salts_rotate_by_the_day(tmp_path: Path) -> None:
    """Tomorrow's salt is made today and stays the same when its day comes; yesterday's is kept one day."""
    async with open_desk(tmp_path) as desk:
        first = await desk.store.salts(today=TODAY)
        second = await desk.store.salts(today=TODAY + 1)
        assert sorted(second) == [TODAY, TODAY + 1, TODAY + 2]
        assert second[TODAY] == first[TODAY]
        assert second[TODAY + 1] == first[TODAY + 1]


async def test_salts_survive_a_restart(tmp_path: Path) -> None:
    """A store opened anew gives the salts that were made before."""
    async with open_desk(tmp_path) as desk:
        before = await desk.store.salts(today=TODAY)
    async with open_desk(tmp_path) as desk:
        assert await desk.store.salts(today=TODAY) == before


async def test_missed_days_are_caught_up(tmp_path: Path) -> None:
    """After a week of standstill there are salts of today and tomorrow, and none of the past."""
    async with open_desk(tmp_path) as desk:
        await desk.store.salts(today=TODAY)
        assert sorted(await desk.store.salts(today=TODAY + 7)) == [TODAY + 7, TODAY + 8]


async def test_old_salt_leaves_no_bytes(tmp_path: Path) -> None:
    """A deleted salt is in no file any more, although the store is open."""
    async with open_desk(tmp_path) as desk:
        old = (await desk.store.salts(today=TODAY))[TODAY]
        assert old in _all_bytes(tmp_path)
        await desk.store.salts(today=TODAY + 2)
        assert old not in _all_bytes(tmp_path)


@settings(max_examples=10)
@given(days=st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_salt_of_a_day_never_changes_while_kept(
    tmp_path_factory: pytest.TempPathFactory, days: list[int]
) -> None:
    """Whatever days are asked for in time's order, the salt of a day that is given twice is the same."""

    async def ask() -> None:
        seen: dict[int, bytes] = {}
        async with open_desk(tmp_path_factory.mktemp("salts")) as desk:
            for day in sorted(days):
                salts = await desk.store.salts(today=TODAY + day)
                assert (
                    {TODAY + day, TODAY + day + 1}
                    <= set(salts)
                    <= set(range(TODAY + day - 1, TODAY + day + 2))
                )
                assert all(seen.setdefault(number, salt) == salt for number, salt in salts.items())

    asyncio.run(ask())


async def test_revision_grows_with_every_change(tmp_path: Path) -> None:
    """Sites, goals and shields count, also when another program changes them; salts do not."""
    async with open_desk(tmp_path) as desk:
        revisions = [await desk.store.revision()]
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        revisions.append(await desk.store.revision())
        await desk.provisioning.put_goal("example.com", _event_goal("Signup", None))
        revisions.append(await desk.store.revision())
        with sqlite3.connect(tmp_path / "sites.sqlite3") as other:
            other.execute("UPDATE sites SET ingest_rate_limit_threshold = 0")
        other.close()
        revisions.append(await desk.store.revision())
        assert revisions == sorted(set(revisions))
        await desk.store.salts(today=TODAY)
        assert await desk.store.revision() == revisions[-1]


async def test_changed_sites_are_named(tmp_path: Path) -> None:
    """The sites changed since a revision are named, a deleted one too, and no others."""
    async with open_desk(tmp_path) as desk:
        for name in ("a", "b", "c"):
            await desk.provisioning.create_site(NewSite(domain=f"{name}.example"))
        before = await desk.store.revision()
        assert await desk.store.changed_since(before) == []
        await desk.provisioning.add_shield("c.example", ShieldRule(ShieldKind.PAGE, "/admin"))
        await desk.provisioning.delete_site("a.example")
        assert await desk.store.changed_since(before) == [3, 1]


async def test_failed_change_leaves_nothing(tmp_path: Path) -> None:
    """A change that raises before its end is undone as a whole."""
    async with open_desk(tmp_path) as desk:
        site = await desk.provisioning.create_site(NewSite(domain="example.com"))
        with pytest.raises(RuntimeError):
            await _delete_and_fail(desk, site.id)
        assert await desk.provisioning.get_site("example.com") == site


async def test_changes_of_two_stores_take_turns(tmp_path: Path) -> None:
    """Two processes that add the same domain at once: one succeeds, the other is told that it is taken."""
    async with open_desk(tmp_path) as one, open_desk(tmp_path) as two:
        results = await asyncio.gather(
            *(desk.provisioning.create_site(NewSite(domain="example.com")) for desk in (one, two)),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in results) == ["SiteInvalid", "SiteRecord"]


async def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    """The database and its log can be read by their owner only, even if the file was open to all before."""
    (tmp_path / "sites.sqlite3").touch(mode=0o666)
    async with open_desk(tmp_path) as desk:
        await desk.provisioning.create_site(NewSite(domain="example.com"))
        assert _all_modes(tmp_path) == {0o600}


async def test_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """Tables of a version that this program does not know are left alone."""
    path = tmp_path / "sites.sqlite3"
    with sqlite3.connect(path) as file:
        file.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    file.close()
    store = SqliteSiteStore(path)
    with pytest.raises(SiteStoreUnavailable, match="made by a newer Gatehouse"):
        await store.start()


async def test_broken_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """A file that is no database is refused and not overwritten."""
    path = tmp_path / "sites.sqlite3"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(SiteStoreUnavailable, match="file is not a database"):
        await SqliteSiteStore(path).start()
    assert path.read_bytes() == b"no database" * 1000


async def test_missing_folder_is_told(tmp_path: Path) -> None:
    """A store in a folder that does not exist is refused with a sentence."""
    with pytest.raises(SiteStoreUnavailable, match="No such file"):
        await SqliteSiteStore(tmp_path / "nowhere" / "sites.sqlite3").start()


async def test_closed_store_says_so(tmp_path: Path) -> None:
    """A closed store can be closed again, and refuses to answer."""
    async with open_desk(tmp_path) as desk:
        await desk.store.close()
        await desk.store.close()
        with pytest.raises(SiteStoreUnavailable, match="is not open"):
            await desk.store.keys()
        with pytest.raises(SiteStoreUnavailable, match="is not open"):
            await desk.store.salts(today=TODAY)


def _event_goal(name: str, currency: str | None) -> NewGoal:
    return NewGoal(goal_type=GoalType.EVENT, event_name=name, currency=currency)


async def _delete_and_fail(desk: Desk, site_id: int) -> None:
    async with desk.store.change() as tables:
        await tables.delete_site(site_id)
        raise RuntimeError


def _all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


def _all_modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


def _insert_sites(path: Path, count: int) -> None:
    with sqlite3.connect(path) as file:
        file.executemany(
            "INSERT INTO sites (domain, timezone, ingest_rate_limit_scale_seconds, allowed_event_props,"
            " tracker_script_configuration, created_at, updated_at)"
            " VALUES (?, 'Etc/UTC', 60, '[]', '{}', 0, 0)",
            ((f"site{number}.example",) for number in range(count)),
        )
    file.close()
