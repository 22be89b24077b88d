"""Brings many events in quickly: batches from a trusted sender, one after the other on a few connections."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from benchmarks.load import ACCEPTED, BATCH_CONNECTIONS, HEAD_END, LENGTH, Totals

PATIENCE_S: Final = 0.05
"""Before a batch is sent again of which the service could not take all."""


class Filled(msgspec.Struct):
    """What became of the events."""

    acknowledged: int = 0
    dropped: int = 0


def fill(port: int, batches: Iterable[bytes]) -> Filled:
    """Send the batches and wait for all answers; one that was not taken as a whole is sent again."""
    return asyncio.run(_fill(port, iter(batches)))


async def _fill(port: int, batches: Iterator[bytes]) -> Filled:
    filled = Filled()

    async def send_all() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for batch in batches:
            while await _send(reader, writer, batch, filled):  # noqa: ASYNC110 - nobody could say when
                await asyncio.sleep(PATIENCE_S)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(BATCH_CONNECTIONS):
            group.create_task(send_all())
    return filled


async def _send(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, batch: bytes, filled: Filled
) -> bool:
    """Send one; gives whether it must be sent again."""
    writer.write(batch)
    head = (await reader.readuntil(HEAD_END)).lower()
    length = int(head[head.index(LENGTH) + len(LENGTH) :].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    if int(head[9:12]) != ACCEPTED:
        return True
    totals = msgspec.json.decode(body, type=Totals)
    filled.acknowledged += totals.buffered
    filled.dropped += totals.dropped
    return totals.retry > 0
