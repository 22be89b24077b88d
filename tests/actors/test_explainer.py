"""A dry run is what the pipeline then does, and leaves no trace: on a running system."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.site import SiteActor
from actors.system import SystemSettings
from service.clickhouse.shown_rows import show_event, show_session
from service.ingestion.explanation import Explanation
from service.ingestion.request import Request, Revenue
from service.ingestion.verdict import (
    BUFFERED,
    Buffered,
    Dropped,
    DropReason,
    Repeated,
    Retry,
    RetryReason,
    Verdict,
)
from service.sites.records import Limits, ShieldKind
from tests.support.running_system import NOON, RunningSystem, SetClock, running_system

Trace = dict[str, object]


def trace(running: RunningSystem, folder: Path) -> Trace:
    """Give all that an event leaves behind."""
    store, telemetry = running.store, running.telemetry
    return {
        "files": {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()},
        "statistics": dict(running.system.statistics),
        "rows": (len(store.events), len(store.sessions), len(store.counters), len(store.blocks)),
        "totals": (telemetry.buffered, dict(telemetry.dropped), dict(telemetry.refused)),
        "tally": telemetry.take_tally(),
    }


async def explain(running: RunningSystem, request: Request) -> Explanation:
    """Explain a request for one domain."""
    (explanation,) = await running.system.explain(request)
    return explanation


async def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    """Files, rows, counters and figures stay as they were, whatever the verdict; the sleeping stay asleep."""
    async with running_system(tmp_path, domains=["awake.example", "asleep.example"]) as running:
        await running.send(running.request("awake.example"))
        await running.system.flush()
        before = trace(running, tmp_path)
        for domain in ("awake.example", "asleep.example", "nobody.example"):
            for visitor, name, referrer in (
                (1, "pageview", None),
                (2, "engagement", None),
                (3, "x", "http://"),
            ):
                request = running.request(domain, visitor=visitor, name=name, referrer=referrer)
                await explain(running, request)
                await explain(running, replace(request, user_agent="Googlebot/2.1"))
        await running.system.flush()

        assert trace(running, tmp_path) == before
        assert running.system.statistics["sites_awake"] == 1


async def test_the_limit_is_not_used_up(tmp_path: Path) -> None:
    """Explaining counts nothing against the limit, and tells how full its window is."""
    async with running_system(tmp_path, domains=[]) as running:
        await running.add_site("example.com", Limits(threshold=2, scale_seconds=60))
        told = []
        for _ in range(3):
            for _ in range(3):
                told.append((await explain(running, running.request())).reason)
            verdict = await running.send(running.request())
        gate = {step.step: step for step in (await explain(running, running.request())).steps}["gate"]

        assert told == [None] * 6 + ["throttle"] * 3
        assert verdict == [Dropped(DropReason.THROTTLE)]
        assert gate.used == {"threshold": 2, "scale_seconds": 60, "count": 4}


async def test_sessions_are_joined_on_paper_only(tmp_path: Path) -> None:
    """A visitor's live session is joined in the explanation, and later rows do not know of that."""
    async with running_system(tmp_path) as running:
        opened = await explain(running, running.request())
        await running.send(running.request(pathname="/first"))
        running.clock.now += 10
        joined = await explain(running, running.request(pathname="/second"))
        again = await explain(running, running.request(pathname="/third"))
        await running.send(running.request(pathname="/last"))
        await running.system.flush()
        number = str(running.store.events[0].session_id)

        assert opened.session is not None
        assert (opened.session.does, opened.session.session_id) == ("opens", None)
        for explanation in (joined, again):
            assert explanation.session is not None
            assert (explanation.session.does, explanation.session.session_id) == ("joins", number)
            assert (explanation.session.pageviews, explanation.session.last_event) == (1, NOON)
        assert [session.pageviews for session in running.store.live_sessions()] == [2]


async def test_explanations_do_not_evict(tmp_path: Path) -> None:
    """With the budget for sessions spent, an explained visitor costs nobody a session."""
    async with running_system(tmp_path, settings=SystemSettings(max_sessions=2)) as running:
        for visitor in (1, 2):
            await running.send(running.request(visitor=visitor))
        await explain(running, running.request(visitor=3))
        joined = await explain(running, running.request(visitor=1))

        assert joined.session is not None
        assert joined.session.does == "joins"
        assert running.system.statistics["sessions_evicted"] == 0


async def test_an_engagement_needs_a_session(tmp_path: Path) -> None:
    """An engagement keeps a session alive and writes no session row; without one it is dropped."""
    async with running_system(tmp_path) as running:
        alone = await explain(running, running.request(name="engagement"))
        await running.send(running.request())
        kept = await explain(running, running.request(name="engagement"))

        assert (alone.verdict, alone.reason) == ("dropped", "no_session_for_engagement")
        assert alone.steps[-1].step == "register_session"
        assert kept.session is not None
        assert kept.session.does == "keeps alive"
        assert kept.rows.sessions_v2 == []


async def test_what_a_sleeping_site_remembers_counts(tmp_path: Path) -> None:
    """After a restart a site that still sleeps has its sessions and its limit in the explanation, too."""
    clock = SetClock(NOON)
    async with running_system(tmp_path, domains=[], clock=clock) as running:
        await running.add_site("example.com", Limits(threshold=1, scale_seconds=3600))
        await running.add_site("other.example")
        await running.send(running.request())
        await running.send(running.request("other.example"))
    async with running_system(tmp_path, domains=[], clock=clock) as running:
        full = await explain(running, running.request())
        joined = await explain(running, running.request("other.example"))

        assert running.system.statistics["sites_awake"] == 0
        assert full.reason == "throttle"
        assert joined.session is not None
        assert joined.session.does == "joins"
        assert await running.send(running.request()) == [Dropped(DropReason.THROTTLE)]


@pytest.mark.parametrize(
    ("changes", "reason", "last_step"),
    [
        ({"domains": ("nobody.example",)}, "not_found", "find_site"),
        ({"referrer": "http://"}, "spam_referrer", "drop_spam_referrer"),
        ({"user_agent": "Googlebot/2.1"}, "bot", "put_user_agent"),
        ({"pathname": "/admin/x"}, "site_page_blocklist", "drop_shield_rule_page"),
        ({"timestamp": -1}, "invalid", "validate_clickhouse_event"),
        ({}, None, "register_session"),
    ],
)
async def test_verdicts(tmp_path: Path, changes: dict[str, Any], reason: str | None, last_step: str) -> None:
    """The last step tells the reason, which is the one that the event itself then meets."""
    async with running_system(tmp_path, domains=[]) as running:
        site_id = await running.add_site("example.com")
        await running.add_shield(site_id, ShieldKind.PAGE, "/admin/*")
        request = replace(running.request(), **changes)
        asleep = await explain(running, request)
        verdict = await running.send(request)
        awake = await explain(running, request)

    for explanation in (asleep, awake):
        assert (explanation.reason, explanation.steps[-1].step) == (reason, last_step)
        assert explanation.steps[-1].reason == reason
    assert verdict == [BUFFERED if reason is None else Dropped(DropReason(reason))]


async def test_each_domain_is_explained(tmp_path: Path) -> None:
    """A request for several domains has an explanation for each, in their order."""
    async with running_system(tmp_path, domains=["a.example", "b.example"]) as running:
        found = await running.system.explain(running.request("b.example", "nobody.example", "a.example"))
        assert [(explanation.domain, explanation.verdict) for explanation in found] == [
            ("b.example", "buffered"),
            ("nobody.example", "dropped"),
            ("a.example", "buffered"),
        ]


async def test_without_a_salt_it_is_tried_again(tmp_path: Path) -> None:
    """Where the pipeline would answer 503, the explanation says so."""
    async with running_system(tmp_path) as running:
        running.clock.now += 400 * 86_400
        explanation = await explain(running, running.request())
        assert (explanation.verdict, explanation.reason) == ("retry", "not_ready")


async def test_a_site_that_is_down_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a site that crashed too often is not tried, the explanation is the 503 that senders get."""

    def crash(*_: object) -> None:
        raise ZeroDivisionError

    async with running_system(tmp_path) as running:
        monkeypatch.setattr(SiteActor, "_judge", crash)
        for _ in range(10):
            await running.send(running.request())
        monkeypatch.undo()
        down = await explain(running, running.request())
        verdict = await running.send(running.request())
        running.clock.now += 60
        up = await explain(running, running.request())

        assert (down.verdict, down.reason) == ("retry", "site_unavailable")
        assert verdict == [Retry(RetryReason.SITE_UNAVAILABLE)]
        assert (up.verdict, running.system.statistics["sites_awake"]) == ("buffered", 0)


events = st.fixed_dictionaries(
    {
        "wait_s": st.sampled_from([0, 1, 600, 1799, 1801, 3600, 86_400]),
        "back_s": st.sampled_from([None, None, None, 5, 900, 7200]),
        "visitor": st.integers(1, 2),
        "name": st.sampled_from(["pageview", "pageview", "engagement", "Purchase", "x"]),
        "domain": st.sampled_from(["a.example", "b.example", "nobody.example"]),
        "hostname": st.sampled_from(["a.example", "www.b.example", "other.example"]),
        "pathname": st.sampled_from(["/", "/admin/x", "/b\udcff"]),
        "referrer": st.sampled_from([None, "https://www.google.com/", "https://spam.example/", "http://"]),
        "query": st.sampled_from([None, {"utm_source": "ü", "gclid": "1"}]),
        "user_agent": st.sampled_from([None, "Googlebot/2.1", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0)"]),
        "props": st.sampled_from([(), (("plan", "pro"), ("z", "\udc80"))]),
        "revenue": st.sampled_from([None, Revenue(9_990, "EUR")]),
        "interactive": st.booleans(),
    }
)


@settings(max_examples=25)
@given(st.lists(events, min_size=1, max_size=12))
def test_rows_are_those_that_the_pipeline_writes(script: list[dict[str, Any]]) -> None:
    """Whatever visitors do, verdict and rows of each dry run are those of the event that follows it."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_follow(Path(folder), script))


async def _follow(folder: Path, script: list[dict[str, Any]]) -> None:
    async with running_system(folder, domains=["b.example"]) as running:
        site_id = await running.add_site("a.example", Limits(threshold=3, scale_seconds=3600))
        await running.add_shield(site_id, ShieldKind.PAGE, "/admin/*")
        for event in script:
            changes = dict(event)
            running.clock.now += changes.pop("wait_s")
            back_s, visitor = changes.pop("back_s"), changes.pop("visitor")
            at = None if back_s is None else int(running.clock.now) - back_s
            base = running.request(changes.pop("domain"), visitor=visitor, name=changes.pop("name"), at=at)
            request = replace(base, **changes)
            told = await explain(running, request)
            (verdict,) = await running.send(request)
            await running.system.flush()
            assert (told.verdict, told.reason) == _words(verdict)
            if isinstance(verdict, Buffered):
                _compare(told, running)
            else:
                assert (told.rows.events_v2, told.rows.sessions_v2) == ([], [])


def _words(verdict: Verdict) -> tuple[str, str | None]:
    match verdict:
        case Buffered():
            return "buffered", None
        case Dropped(reason=reason):
            return "dropped", reason.value
        case Retry(reason=reason):
            return "retry", reason.value
        case Repeated():
            pytest.fail("no event has a key here")


def _compare(told: Explanation, running: RunningSystem) -> None:
    block = running.store.blocks[-1]
    event = show_event(block.events[-1])
    sessions = [show_session(sign, state) for sign, state in block.sessions]
    assert len(block.events) == 1
    assert told.session is not None
    if told.session.does == "opens":
        event["session_id"] = sessions[0]["session_id"] = None
    assert told.rows.events_v2 == [event]
    assert told.rows.sessions_v2 == sessions
