"""The spans of requests: which are kept, how they hang together, and what they must not tell."""

import asyncio
import gc
import json
from pathlib import Path
from typing import cast

import pytest

from service.ingestion.verdict import BUFFERED, REPEATED, Dropped, DropReason, Retry, RetryReason, Verdict
from service.tracing.records import MAX_SITES, RequestTrace, SiteTrace
from service.tracing.spans import MAX_UNSAMPLED_PER_S
from service.wire.traceparent import TraceParent
from tests.support.memory_store import MemoryStore
from tests.support.public_server import TOKEN, ScriptedSystem, public_server
from tests.support.running_system import FIREFOX, running_system
from tests.support.spans import Spans

TRACE_ID = 0x0AF7651916CD43DD8448EB211C80319C
SPAN_ID = 0xB7AD6B7169203331
TRACEPARENT = f"00-{TRACE_ID:032x}-{SPAN_ID:016x}"
PROXY = ("127.0.0.0/8",)


def pageview(domain: str = "example.com", **more: object) -> bytes:
    """A pageview as the tracker sends it."""
    return json.dumps({"n": "pageview", "u": "https://example.com/", "d": domain, **more}).encode()


class SetClockNs:
    """A clock in nanoseconds that is only moved by hand."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


async def test_one_event_is_one_tree(tmp_path: Path) -> None:
    """Request, below it the site, below that the journal's write; the block links to the request."""
    spans = Spans()
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        reply = await server.post(pageview(v=17), user_agent=FIREFOX)
        await running.system.flush()

    request, site = spans.one("POST /api/event"), spans.one("site")
    append, block, insert = spans.one("journal append"), spans.one("block"), spans.one("insert")
    assert reply.status == 202
    assert request.parent_id is None
    assert [site.parent_id, append.parent_id] == [request.span_id, site.span_id]
    assert request.trace_id == site.trace_id == append.trace_id
    assert block.parent_id is None
    assert block.trace_id != request.trace_id
    assert block.links == (request.span_id,)
    assert insert.parent_id == block.span_id
    assert [request.kind, insert.kind] == ["SERVER", "CLIENT"]
    assert not any(span.failed for span in spans.all())


async def test_times_are_in_order(tmp_path: Path) -> None:
    """What is below a span lies within it."""
    spans = Spans()
    async with running_system(tmp_path, tracing=spans.tracing) as running:
        trace = spans.tracing.begin("/api/event")
        await running.system.build_and_buffer(running.request(), trace)
        trace.finish(202)

    request, site, append = spans.one("POST /api/event"), spans.one("site"), spans.one("journal append")
    moments = [request.began, site.began, append.began, append.ended, site.ended, request.ended]
    assert moments == sorted(moments)


async def test_attributes_say_what_became_of_it(tmp_path: Path) -> None:
    """Domain, verdict, reason and script version; on the request too where it is for one domain."""
    spans = Spans()
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        await server.post(pageview(v=17), user_agent=FIREFOX)
        await server.post(pageview("nobody.example", v=18), user_agent=FIREFOX)
        await server.post(pageview("example.com,nobody.example"), user_agent=FIREFOX)

    names = ("domain", "verdict", "reason", "script_version")
    sites = [[span.attributes.get(f"gatehouse.{name}") for name in names] for span in spans.named("site")]
    good, bad, both = spans.named("POST /api/event")
    assert sites == [
        ["example.com", "buffered", None, 17],
        ["nobody.example", "dropped", "not_found", 18],
        ["example.com", "buffered", None, 0],
        ["nobody.example", "dropped", "not_found", 0],
    ]
    assert [good.attributes.get(f"gatehouse.{name}") for name in names] == sites[0]
    assert [bad.attributes.get(f"gatehouse.{name}") for name in names] == sites[1]
    assert both.attributes["gatehouse.events"] == 2
    assert "gatehouse.domain" not in both.attributes
    assert good.attributes["http.response.status_code"] == 202


async def test_spans_tell_nothing_of_a_visitor(tmp_path: Path) -> None:
    """Address, user agent, URL, referrer and properties are in no span, whatever becomes of the event."""
    spans = Spans()
    planted = {
        "u": "https://example.com/planted-path?planted-query=1#planted-hash",
        "r": "https://planted-referrer.example/x",
        "p": {"planted-key": "planted-value"},
    }
    agent = "Mozilla/5.0 planted-agent"
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        for domain in ("example.com", "nobody.example"):
            for address in ("203.0.113.77", "planted-address"):
                await server.post(pageview(domain, **planted), user_agent=agent, x_forwarded_for=address)
        await server.post(b"{planted-body", user_agent=agent)
        batch = [{"n": "pageview", "d": "example.com", "ip": "203.0.113.77", "ua": agent, **planted}]
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        await server.send("POST", "/api/events?planted-parameter=1", json.dumps(batch).encode(), sent)
        await running.system.flush()

    assert len(spans.all()) > 10
    assert "planted" not in spans.text()
    assert "203.0.113" not in spans.text()
    assert "127.0.0.1" not in spans.text()


async def test_domain_that_is_no_unicode_is_still_told(tmp_path: Path) -> None:
    """Text that no exporter can encode is made good: it would cost all spans that travel with it."""
    spans = Spans()
    async with running_system(tmp_path, tracing=spans.tracing) as running:
        trace = spans.tracing.begin("/api/event")
        await running.system.build_and_buffer(running.request("a\udc80" + "b" * 300), trace)
        trace.finish(202)

    assert spans.one("site").attributes["gatehouse.domain"] == "a?" + "b" * 251


async def test_batch_is_one_request_with_a_bound(tmp_path: Path) -> None:
    """A batch is one request; beyond so many sites it says how many are left out."""
    spans = Spans()
    async with running_system(tmp_path, tracing=spans.tracing) as running:
        trace = spans.tracing.begin("/api/events")
        await running.system.build_and_buffer_batch([running.request()] * (MAX_SITES + 3), trace)
        trace.finish(200)

    request = spans.one("POST /api/events")
    assert len(spans.named("site")) == MAX_SITES
    assert request.attributes["gatehouse.sites_cut"] == 3
    assert request.attributes["gatehouse.events"] == MAX_SITES + 3


async def test_without_a_reason_nothing_is_kept(tmp_path: Path) -> None:
    """With a ratio of 0, what works and is quick leaves no span."""
    spans = Spans(ratio=0.0)
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        await server.post(pageview(), user_agent=FIREFOX)
        await running.system.flush()

    assert spans.all() == []


async def test_refused_by_the_journal_is_kept(tmp_path: Path) -> None:
    """A request that gets 503 is kept whatever the ratio, with the write that failed."""
    spans = Spans(ratio=0.0)
    store = MemoryStore()
    store.away = True
    async with (
        running_system(tmp_path, store=store, journal_max_bytes=2000, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        statuses = [(await server.post(pageview(), user_agent=FIREFOX)).status for _ in range(20)]
        store.away = False
        await running.system.flush()

    refused, appends = spans.named("POST /api/event"), spans.named("journal append")
    assert len(refused) == statuses.count(503) > 0
    assert all(span.failed and span.attributes["gatehouse.kept"] == "failed" for span in refused)
    assert {span.attributes["gatehouse.reason"] for span in refused} == {"journal_unavailable"}
    assert len(appends) > 0
    assert all(span.failed for span in appends)


async def test_slow_event_is_told_whole(tmp_path: Path) -> None:
    """What was not sampled and turns out slow has its site, its write and its block, as if it had been."""
    spans = Spans(ratio=0.0, slow_s=0.0)
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        await server.post(pageview(v=17), user_agent=FIREFOX)
        await running.system.flush()

    request, site, append = spans.one("POST /api/event"), spans.one("site"), spans.one("journal append")
    assert request.attributes["gatehouse.kept"] == "slow"
    assert [site.parent_id, append.parent_id] == [request.span_id, site.span_id]
    assert site.attributes["gatehouse.verdict"] == "buffered"
    assert site.attributes["gatehouse.script_version"] == 17
    assert spans.one("block").links == (request.span_id,)
    moments = [request.began, site.began, append.began, append.ended, site.ended, request.ended]
    assert moments == sorted(moments)


async def test_late_verdicts_of_several_domains(tmp_path: Path) -> None:
    """A request that is kept at its end says of each domain what became of it, and of its write."""
    spans = Spans(ratio=0.0, slow_s=0.0)
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        await server.post(pageview("example.com,nobody.example"), user_agent=FIREFOX)

    buffered, dropped = spans.named("site")
    assert buffered.attributes["gatehouse.verdict"] == "buffered"
    assert dropped.attributes["gatehouse.verdict"] == "dropped"
    assert spans.one("journal append").parent_id == buffered.span_id


async def test_dropped_by_its_site_has_waited_for_it(tmp_path: Path) -> None:
    """An event that its site judged says how long it waited; one that reached none does not."""
    spans = Spans()
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        await server.post(pageview(), user_agent="Googlebot/2.1 (+http://www.google.com/bot.html)")
        await server.post(pageview("nobody.example"), user_agent=FIREFOX)

    judged, unknown = spans.named("site")
    assert judged.attributes["gatehouse.reason"] == "bot"
    assert 0 <= cast(float, judged.attributes["gatehouse.waited_ms"]) < 60_000
    assert "gatehouse.waited_ms" not in unknown.attributes


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 0), (1.0, 1)])
async def test_plain_event_is_drawn_at_its_end(ratio: float, kept: int, tmp_path: Path) -> None:
    """Whatever became of it."""
    spans = Spans(ratio=ratio)
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        for body in (pageview(), pageview("nobody.example"), b"{"):
            await server.post(body, user_agent=FIREFOX)

    requests = spans.named("POST /api/event")
    assert [span.attributes["gatehouse.kept"] for span in requests] == ["sampled"] * 3 * kept


async def test_sent_again_is_kept(tmp_path: Path) -> None:
    """An event under a key that was stored before is a retry, and says what became of it."""
    spans = Spans(ratio=0.0)
    async with (
        running_system(tmp_path, tracing=spans.tracing) as running,
        public_server(running.system, tracing=spans.tracing) as server,
    ):
        for _ in range(2):
            await server.post(pageview(), user_agent=FIREFOX, x_idempotency_key="once")

    request = spans.one("POST /api/event")
    assert request.attributes["gatehouse.kept"] == "retried"
    assert request.attributes["gatehouse.verdict"] == "repeated"
    assert not request.failed


async def test_error_of_a_handler_is_kept() -> None:
    """A bug of ours is a request with 500."""
    spans = Spans(ratio=0.0)
    system = ScriptedSystem()
    system.error = RuntimeError("a bug, as the test wants it")
    async with public_server(system, tracing=spans.tracing) as server:
        reply = await server.post(pageview())

    request = spans.one("POST /api/event")
    assert reply.status == 500
    assert request.failed
    assert request.attributes["http.response.status_code"] == 500


@pytest.mark.parametrize(
    ("verdict", "kept"),
    [
        (BUFFERED, []),
        (Dropped(DropReason.BOT), []),
        (Retry(RetryReason.OVERLOADED), ["retried"]),
        (REPEATED, ["retried"]),
    ],
)
async def test_retried_is_kept(verdict: Verdict, kept: list[str], tmp_path: Path) -> None:
    """What is to be sent again, or was, keeps its request, also where the answer is 202."""
    spans = Spans(ratio=0.0)
    async with running_system(tmp_path) as running:
        request = running.request()
    trace = spans.tracing.begin("/api/event")
    site = trace.begin_event("example.com", request)
    assert site is not None
    site.settle(verdict)
    trace.finish(202)

    assert [span.attributes["gatehouse.kept"] for span in spans.named("POST /api/event")] == kept


@pytest.mark.parametrize(("took_ms", "kept"), [(100, 0), (101, 1)])
def test_slow_is_kept(took_ms: int, kept: int) -> None:
    """What takes longer than the limit is kept with its true times."""
    clock = SetClockNs()
    spans = Spans(ratio=0.0, slow_s=0.1, clock=clock)
    trace = spans.tracing.begin("/api/event")
    clock.now += took_ms * 1_000_000
    trace.finish(202)

    assert [span.ended - span.began for span in spans.all()] == [took_ms * 1_000_000] * kept


def test_what_was_not_sampled_is_bounded() -> None:
    """When everything fails, so many a second are kept and the others counted; samples are not cut."""
    clock = SetClockNs()
    spans = Spans(ratio=0.0, clock=clock)
    for _ in range(MAX_UNSAMPLED_PER_S + 5):
        spans.tracing.begin("/api/event").finish(503)
    spans.tracing.begin("/api/event", TraceParent(TRACE_ID, SPAN_ID, sampled=True)).finish(503)
    in_one_second, cut = len(spans.all()), spans.tracing.traces_cut
    clock.now += 1_000_000_000
    spans.tracing.begin("/api/event").finish(503)

    assert (in_one_second, cut) == (MAX_UNSAMPLED_PER_S + 1, 5)
    assert len(spans.all()) == in_one_second + 1


def test_without_room_no_span_is_made() -> None:
    """A trace that finds no room on the way to the collector is counted, and not made."""
    spans = Spans(room=False)
    spans.tracing.begin("/api/event").finish(202)

    assert spans.all() == []
    assert spans.tracing.traces_cut == 1


@pytest.mark.parametrize(
    ("header", "trusted", "kept"),
    [
        (f"{TRACEPARENT}-01", PROXY, 1),
        (f"{TRACEPARENT}-00", PROXY, 0),
        (f"{TRACEPARENT}-01", ("203.0.113.0/24",), 0),
        (f"{TRACEPARENT}-zz", PROXY, 0),
    ],
)
async def test_trusted_sender_decides(header: str, trusted: tuple[str, ...], kept: int) -> None:
    """A trusted proxy's trace is continued and its word on sampling holds; a stranger has no say."""
    spans = Spans(ratio=0.0)
    async with public_server(ScriptedSystem(), tracing=spans.tracing, trusted=trusted) as server:
        await server.post(pageview(), traceparent=header)

    assert [(span.trace_id, span.parent_id) for span in spans.all()] == [(TRACE_ID, SPAN_ID)] * kept


async def test_stranger_begins_a_trace_of_our_own() -> None:
    """The ids that a stranger sends are in no span."""
    spans = Spans()
    async with public_server(ScriptedSystem(), tracing=spans.tracing, trusted=()) as server:
        await server.post(pageview(), traceparent=f"{TRACEPARENT}-01")

    assert spans.one("POST /api/event").parent_id is None
    assert spans.one("POST /api/event").trace_id != TRACE_ID


@pytest.mark.parametrize(("token", "kept"), [(TOKEN, 1), ("another", 0)])
async def test_sender_of_batches_decides(token: str, kept: int) -> None:
    """Who knows the senders' token is believed wherever he is."""
    spans = Spans(ratio=0.0)
    batch = json.dumps([{"n": "pageview", "u": "https://example.com/", "d": "example.com"}]).encode()
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {token}",
        "Traceparent": f"{TRACEPARENT}-01",
    }
    async with public_server(ScriptedSystem(), tracing=spans.tracing, trusted=()) as server:
        await server.send("POST", "/api/events", batch, headers)

    assert [(span.trace_id, span.parent_id) for span in spans.all()] == [(TRACE_ID, SPAN_ID)] * kept


async def test_unsampled_parent_is_continued_when_it_fails() -> None:
    """A failure is kept in the sender's trace even if the sender does not sample it."""
    spans = Spans()
    system = ScriptedSystem({"example.com": Retry(RetryReason.OVERLOADED)})
    async with public_server(system, tracing=spans.tracing) as server:
        await server.post(pageview(), traceparent=f"{TRACEPARENT}-00")

    assert [(span.trace_id, span.parent_id) for span in spans.all()] == [(TRACE_ID, SPAN_ID)]


async def test_two_traceparents_are_none() -> None:
    """Headers that contradict each other begin a trace of our own."""
    spans = Spans()
    async with public_server(ScriptedSystem(), tracing=spans.tracing) as server:
        body = pageview()
        head = (
            "POST /api/event HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"traceparent: {TRACEPARENT}-01\r\ntraceparent: {TRACEPARENT}-00\r\n\r\n"
        )
        await server.exchange(head.encode() + body, then_close=False)

    assert spans.one("POST /api/event").parent_id is None


async def test_what_is_over_is_freed_at_once(tmp_path: Path) -> None:
    """A request leaves no circle of objects behind, for which this service looks rarely."""
    spans = Spans(ratio=0.0)
    async with running_system(tmp_path, tracing=spans.tracing) as running:
        gc.collect()
        gc.disable()
        try:
            trace = spans.tracing.begin("/api/event")
            await running.system.build_and_buffer(running.request("example.com", "nobody.example"), trace)
            trace.finish(202)
            del trace
            for _ in range(200):  # the front lets go of what it offered with its next tick
                if not [found for found in gc.get_objects() if isinstance(found, (RequestTrace, SiteTrace))]:
                    break
                await asyncio.sleep(0.05)
            else:
                pytest.fail("what was remembered of a request is still there")
        finally:
            gc.enable()
