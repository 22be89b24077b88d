"""The spans of blocks and inserts: which are kept, what they link to, and that ClickHouse joins them."""

import asyncio
import logging
from pathlib import Path

import pytest
from opentelemetry import trace as otel_trace

from service.clickhouse.connect import open_store
from service.clickhouse.migrations import migrate
from service.clickhouse.store import Block
from service.ingestion.rows import ClickhouseEvent
from service.tracing.records import MAX_LINKS, BlockResult, Write
from service.tracing.spans import Tracing, current_traceparent
from tests.support.memory_store import MemoryStore
from tests.support.running_system import RunningSystem, running_system
from tests.support.span_log import spans_below
from tests.support.spans import Spans


async def send(running: RunningSystem, tracing: Tracing) -> None:
    """Send one event as the listener does."""
    trace = tracing.begin("/api/event")
    await running.system.build_and_buffer(running.request(), trace)
    trace.finish(202)


async def test_block_tells_its_size_and_why_it_was_closed(tmp_path: Path) -> None:
    """Id, trigger, events, tries and why it is kept."""
    spans = Spans()
    async with running_system(tmp_path, tracing=spans.tracing) as running:
        await send(running, spans.tracing)
        await send(running, spans.tracing)
        await running.system.flush()
        (block,) = running.store.blocks

    span = spans.one("block")
    assert span.attributes == {
        "gatehouse.block.id": block.id,
        "gatehouse.block.trigger": "flush",
        "gatehouse.block.events": 2,
        "gatehouse.block.tries": 1,
        "gatehouse.block.refused": 0,
        "gatehouse.kept": "linked",
    }
    assert len(span.links) == 2


async def test_several_events_of_a_request_are_one_link(tmp_path: Path) -> None:
    """A request for two domains is linked once."""
    spans = Spans()
    domains = ("example.com", "second.example")
    async with running_system(tmp_path, tracing=spans.tracing, domains=domains) as running:
        trace = spans.tracing.begin("/api/event")
        await running.system.build_and_buffer(running.request(*domains), trace)
        trace.finish(202)
        await running.system.flush()

    assert spans.one("block").links == (spans.one("POST /api/event").span_id,)


async def test_each_try_is_a_span_and_what_failed_is_kept(tmp_path: Path) -> None:
    """A block that needed two tries is kept whatever the ratio, with the kind of error and not its text."""
    spans = Spans(ratio=0.0)
    store = MemoryStore()
    store.loses_answers = 1
    async with running_system(tmp_path, store=store, tracing=spans.tracing) as running:
        await send(running, spans.tracing)
        await running.system.flush()

    block, (first, second) = spans.one("block"), spans.named("insert")
    assert [first.failed, second.failed, block.failed] == [True, False, False]
    assert first.attributes["error.type"] == "StoreUnavailable"
    assert [first.attributes["gatehouse.block.try"], second.attributes["gatehouse.block.try"]] == [1, 2]
    assert [block.attributes["gatehouse.block.tries"], block.attributes["gatehouse.kept"]] == [2, "failed"]
    assert block.links == ()
    assert "as the test wants it" not in spans.text()


async def test_block_with_refused_rows_has_failed(tmp_path: Path) -> None:
    """Rows that ClickHouse will never take keep the span of their block, and of the try that found them."""
    spans = Spans(ratio=0.0)
    store = MemoryStore()
    store.refuses = lambda row: isinstance(row, ClickhouseEvent)
    async with running_system(tmp_path, store=store, tracing=spans.tracing) as running:
        await send(running, spans.tracing)
        await running.system.flush()

    block = spans.one("block")
    assert [block.attributes["gatehouse.block.refused"], block.attributes["error.type"]] == [
        1,
        "rows_refused",
    ]
    assert spans.one("insert").parent_id == block.span_id
    assert "as the test wants it" not in spans.text()


async def test_block_of_an_earlier_life_has_a_span(tmp_path: Path) -> None:
    """What the journal held at the start is followed from there on, without links."""
    spans = Spans(ratio=0.0, slow_s=0.0)
    store = MemoryStore()
    store.away = True
    async with running_system(tmp_path, store=store) as running:
        await running.send(running.request())
    store.away = False
    async with running_system(tmp_path, store=store, tracing=spans.tracing) as running:
        await running.system.flush()

    block = spans.one("block")
    assert block.attributes["gatehouse.block.trigger"] == "replay"
    assert block.links == ()


async def test_links_are_bounded(tmp_path: Path) -> None:
    """Beyond so many links, the span says how many are left out."""
    spans = Spans()
    async with running_system(tmp_path) as running:
        event = running.request()
    block = spans.tracing.begin_block()
    requests = [spans.tracing.begin("/api/event") for _ in range(MAX_LINKS + 72)]
    sites = [site for request in requests if (site := request.begin_event("example.com", event)) is not None]
    block.note_write(sites, Write(0, 0, block))
    block.finish(BlockResult("id", "size", 200, refused=0, postponed=False))

    span = spans.one("block")
    assert len(span.links) == MAX_LINKS
    assert span.attributes["gatehouse.links_cut"] == 72
    assert spans.tracing.links_cut == 72


@pytest.mark.parametrize("room", [True, False])
async def test_links_to_events_drawn_at_their_end_are_bounded(*, room: bool, tmp_path: Path) -> None:
    """As many as of those that were followed; none to what found no room on its way to the collector."""
    spans = Spans(room=room)
    async with running_system(tmp_path) as running:
        request = running.request()
    block = spans.tracing.begin_block()
    spans.tracing.answering = Write(1, 2, block)
    for _ in range(MAX_LINKS + 72):
        spans.tracing.keep_buffered("/api/event", began=0, ended=3, status=202, request=request)

    assert spans.tracing.links_cut == 72
    assert spans.tracing.traces_cut == (0 if room else MAX_LINKS + 72)
    spans.room = True
    block.finish(BlockResult("id", "size", 200, refused=0, postponed=False))
    linked = [span.span_id for span in spans.named("POST /api/event")[:MAX_LINKS]]
    assert list(spans.one("block").links) == linked
    assert len(linked) == (MAX_LINKS if room else 0)


async def test_slow_so_far_is_linked(tmp_path: Path) -> None:
    """A request that was too slow when it became durable is kept, and its block links to it."""
    spans = Spans(ratio=0.0, slow_s=0.0)
    async with running_system(tmp_path, tracing=spans.tracing) as running:
        await send(running, spans.tracing)
        await running.system.flush()

    request = spans.one("POST /api/event")
    assert request.attributes["gatehouse.kept"] == "slow"
    assert spans.one("block").links == (request.span_id,)


async def test_what_is_logged_meanwhile_names_the_trace(tmp_path: Path) -> None:
    """A line about a failed insert is logged while its block is the current trace."""
    spans = Spans(ratio=0.0)
    store = MemoryStore()
    store.loses_answers = 1
    seen: list[int] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(otel_trace.get_current_span().get_span_context().trace_id)

    noting, log = Noting(), logging.getLogger("actors.inserter")
    log.addHandler(noting)
    try:
        async with running_system(tmp_path, store=store, tracing=spans.tracing) as running:
            await send(running, spans.tracing)
            await running.system.flush()
    finally:
        log.removeHandler(noting)

    assert seen
    assert set(seen) == {spans.one("block").trace_id}


@pytest.mark.parametrize(("ratio", "told"), [(1.0, True), (0.0, False)])
def test_clickhouse_is_told_of_what_is_kept(ratio: float, *, told: bool, tmp_path: Path) -> None:
    """The insert's own context goes along with it; a block that is not kept costs ClickHouse nothing."""

    class Asking(MemoryStore):
        async def insert_block(self, block: Block) -> None:
            asked.append(current_traceparent())

    asked: list[str | None] = []
    spans = Spans(ratio=ratio)

    async def run() -> None:
        async with running_system(tmp_path, store=Asking(), tracing=spans.tracing) as running:
            await send(running, spans.tracing)
            await running.system.flush()

    asyncio.run(run())
    expected = [f"00-{span.trace_id:032x}-{span.span_id:016x}-01" for span in spans.named("insert")]
    assert asked == (expected if told else [None])
    assert current_traceparent() is None


async def test_clickhouse_joins_the_trace(clickhouse_url: str, tmp_path: Path) -> None:
    """A real server's span log holds the block's trace, right below the insert."""
    spans = Spans()
    store = open_store(
        kind="native", url=clickhouse_url, folder=tmp_path, current_traceparent=current_traceparent
    )
    await migrate(store, cluster=None)
    async with running_system(tmp_path, store=store, tracing=spans.tracing) as running:
        await send(running, spans.tracing)
        await running.system.flush()
    insert = spans.one("insert")
    one_a_table = 2
    await spans_below(store, trace_id=f"{insert.trace_id:032x}", span_id=insert.span_id, at_least=one_a_table)
    await store.close()

    assert insert.trace_id == spans.one("block").trace_id
