"""Where connections go, and when an insert is over."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asynch.errors import ServerException
from asynch.proto.protocol import ServerPacket

from service.clickhouse.address import Address, parse_address
from service.clickhouse.migrations import migrate
from service.clickhouse.native import NativeStore
from service.clickhouse.tcp import Hosts, TcpConnection
from service.errors import StoreUnavailable
from tests.support.rows import FULL_EVENT, make_block
from tests.support.span_log import spans_below


@asynccontextmanager
async def _refusing_host() -> AsyncIterator[tuple[tuple[str, int], list[int]]]:
    """A host that takes connections and closes them, with a list that grows by one each time."""
    calls: list[int] = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[:2], calls
    server.close()
    await server.wait_closed()


async def test_failed_host_is_left_alone(clickhouse_address: str) -> None:
    """A host that has just failed is passed over while another one is there."""
    async with _refusing_host() as (bad, calls):
        hosts = Hosts(Address(hosts=(bad, *parse_address(clickhouse_address).hosts)))

        for _ in range(3):
            (await hosts.connect()).abort()

    assert len(calls) == 1


async def test_when_all_are_left_alone_all_are_tried() -> None:
    """A call never fails untried: with every host resting, each is tried all the same."""
    async with _refusing_host() as (bad, calls):
        hosts = Hosts(Address(hosts=(bad,)))

        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await hosts.connect()

    assert len(calls) == 3


async def test_trace_goes_along(clickhouse_url: str) -> None:
    """ClickHouse's spans of an insert carry the trace id and the parent that were current here."""
    trace_id = uuid.uuid4().hex
    store = NativeStore(clickhouse_url, current_traceparent=lambda: f"00-{trace_id}-b7ad6b7169203331-01")
    await migrate(store, cluster=None)
    await store.insert_block(make_block(FULL_EVENT))

    assert await spans_below(store, trace_id=trace_id, span_id=0xB7AD6B7169203331, at_least=1)
    await store.close()


class _Packet:
    """A packet from the server, as asynch gives it."""

    def __init__(self, kind: int, exception: Exception | None = None) -> None:
        self.type = kind
        self.exception = exception


class _Answering(TcpConnection):
    """A connection on which asynch takes the first packet for the end of the insert, as 0.4.0 does."""

    def __init__(self, *packets: _Packet) -> None:
        super().__init__()
        self.packets = list(packets)

    async def execute(self, *_: Any, **__: Any) -> None:
        self.is_query_executing = True
        await self._receive_packet()

    async def _receive_packet(self) -> _Packet:
        packet = self.packets.pop(0)
        self.is_query_executing = packet.type not in {ServerPacket.END_OF_STREAM, ServerPacket.EXCEPTION}
        return packet


async def test_insert_is_over_at_the_end_of_the_stream() -> None:
    """Progress is not the end: everything up to the end of the stream is read."""
    connection = _Answering(
        _Packet(ServerPacket.PROGRESS),
        _Packet(ServerPacket.PROFILE_EVENTS),
        _Packet(ServerPacket.END_OF_STREAM),
    )

    await connection.insert("INSERT", [], settings={})

    assert connection.packets == []


async def test_error_after_progress() -> None:
    """An error that follows progress is an error of the insert."""
    refusal = ServerException("too late", 1)
    connection = _Answering(_Packet(ServerPacket.PROGRESS), _Packet(ServerPacket.EXCEPTION, refusal))

    with pytest.raises(ServerException, match="too late"):
        await connection.insert("INSERT", [], settings={})
