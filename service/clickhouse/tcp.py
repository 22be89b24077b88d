"""Connections to ClickHouse over its native TCP protocol: asynch's, mended where it falls short.

What asynch 0.4.0 lacks and this adds: an insert is over only at the server's end-of-stream packet (asynch
returns after any packet, so a later error would be lost); blocks are encoded by us, a column at a time, which
takes far less time (``native_format``); the loop gets a turn between two; a failed connection is aborted at
once; several hosts are tried in order, and one that failed is left alone for a while.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from asynch.errors import ClickHouseException, ServerException, TypeMismatchError
from asynch.proto.block import BlockInfo, ColumnOrientedBlock
from asynch.proto.connection import Connection
from asynch.proto.protocol import ClientPacket

from service.clickhouse.address import Address
from service.clickhouse.outcome import shorten
from service.errors import BlockRejected, StoreError, StoreUnavailable

CONNECT_TIMEOUT_S = 5.0
FIRST_BACKOFF_S = 1.0
LAST_BACKOFF_S = 30.0

Settings = Mapping[str, str | int]
ErrorMap = Callable[[int | None, str], StoreError]

UNREADABLE = (
    OSError,  # refused, reset, TLS; TimeoutError is one
    EOFError,
    IndexError,  # asynch, on a stream that ends in the middle of a packet
    struct.error,  # likewise
    RuntimeError,  # uvloop, on a transport that is closed already
    ClickHouseException,
)


class TcpConnection(Connection):  # type: ignore[misc]  # asynch has no type information
    """One connection to one host. Not for use by two tasks at once; dropped after any failure."""

    async def insert(self, statement: str, blocks: Sequence[bytes], *, settings: Settings) -> None:
        """Insert blocks of the Native format as one insert; when it returns, the server has stored them."""
        await self.execute(statement, list(blocks), settings=dict(settings), columnar=True)
        while self.is_query_executing:
            packet = await self._receive_packet()
            if packet.exception:
                raise packet.exception

    async def send_data(
        self,
        sample_block: Any,
        data: list[bytes],
        types_check: bool = False,  # noqa: FBT001, FBT002 - asynch's signature
        columnar: bool = True,  # noqa: FBT001, FBT002 - asynch's signature
    ) -> int:
        """Send the encoded blocks, giving the loop a turn between two; asynch calls this.

        They are of the version of the format that asynch's own blocks are of. The number of rows that it
        wants to know is not looked at.
        """
        for encoded in data:
            await self.writer.write_varint(ClientPacket.DATA)
            await self.writer.write_str("")  # no temporary table
            blocks = self.block_writer
            await BlockInfo().write(blocks.writer)
            await blocks.writer.write_bytes(encoded)
            await blocks.finalize()
            await asyncio.sleep(0)
        await self.send_block(ColumnOrientedBlock())
        return 0

    async def ping(self) -> bool:
        """Whether the server answers; asynch asks before each statement. Line limits how long it takes."""
        return bool(await self._ping())

    def abort(self) -> None:
        """Close the socket at once, whatever is under way; never waits for the other side."""
        if self.writer is not None:
            self.writer.writer.transport.abort()
        self.reset_state()


class Hosts:
    """The servers of one address: opens connections to the first that answers.

    A host that could not be reached is passed over for 1 s, then 2, 4 … up to 30; when all are, all are
    tried.
    """

    def __init__(self, address: Address, *, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        self._address = address
        self._connect_timeout_s = connect_timeout_s
        self._failures: dict[tuple[str, int], int] = {}  # in a row
        self._retry_at: dict[tuple[str, int], float] = {}  # loop time

    async def connect(self) -> TcpConnection:
        """Give an open connection. Raises StoreUnavailable naming each host and why it failed."""
        now = asyncio.get_running_loop().time()
        rested = [host for host in self._address.hosts if self._retry_at.get(host, 0.0) <= now]
        reasons = []
        for host in rested or self._address.hosts:
            try:
                connection = await self._open(*host)
            except StoreUnavailable as error:
                self._back_off(host)
                reasons.append(str(error))
            else:
                self._failures.pop(host, None)
                self._retry_at.pop(host, None)
                return connection
        raise StoreUnavailable("; ".join(reasons))

    async def _open(self, host: str, port: int) -> TcpConnection:
        address = self._address
        connection = TcpConnection(
            host=host,
            port=port,
            user=address.user,
            password=address.password,
            database=address.database,
            client_name="gatehouse",
            connect_timeout=self._connect_timeout_s,
            send_receive_timeout=None,  # Line has one limit for the whole statement
            compression=address.compression or False,
            secure=address.secure,
            verify=address.verify,
            ca_certs=address.ca_certs or None,
            settings={"strings_as_bytes": True},
        )
        try:
            await connection.connect()
        except ServerException as error:
            raise StoreUnavailable(f"{host}:{port} refuses: {shorten(error.message)}") from error
        except UNREADABLE as error:
            cause = error.__cause__ or error
            raise StoreUnavailable(f"{host}:{port} cannot be reached: {cause!r}") from error
        return connection

    def _back_off(self, host: tuple[str, int]) -> None:
        failures = self._failures.get(host, 0)
        self._failures[host] = failures + 1
        wait_s = min(FIRST_BACKOFF_S * 2**failures, LAST_BACKOFF_S)
        self._retry_at[host] = asyncio.get_running_loop().time() + wait_s


class Line:
    """At most one open connection, used by one task at a time and replaced after any failure."""

    def __init__(self, hosts: Hosts, *, timeout_s: float, errors: ErrorMap) -> None:
        self._hosts = hosts
        self._timeout_s = timeout_s
        self._errors = errors
        self._lock = asyncio.Lock()
        self._connection: TcpConnection | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[TcpConnection]:
        """Lend the connection for one statement, for at most ``timeout_s``.

        Errors come out as StoreErrors, and the connection is then dropped, as it is when the task is
        cancelled.
        """
        async with self._lock:
            finished = False
            try:
                with _no_lost_cancellation(), as_store_errors(self._errors):
                    async with asyncio.timeout(self._timeout_s):
                        if self._connection is None:
                            self._connection = await self._hosts.connect()
                        yield self._connection
                        finished = True
            finally:
                if not finished:
                    self.drop()

    def drop(self) -> None:
        """Close the connection at once, if there is one; safe to call twice."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None


@contextmanager
def _no_lost_cancellation() -> Iterator[None]:
    """Raise the CancelledError that ``asyncio.wait_for`` swallows, before Python 3.12, as its wait ends.

    asynch connects through it; a task that is cancelled at that moment would never stop.
    """
    task = asyncio.current_task()
    assert task is not None, "stores are used from tasks"
    before = task.cancelling()
    try:
        yield
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


@contextmanager
def as_store_errors(errors: ErrorMap) -> Iterator[None]:
    """Turn what asynch and the network raise into StoreErrors; ``errors`` judges the server's own answers."""
    try:
        yield
    except ServerException as error:
        raise errors(error.code, error.message) from error
    except TypeMismatchError as error:
        raise BlockRejected(f"a value does not fit its column: {error.message}") from error
    except TimeoutError as error:
        raise StoreUnavailable("ClickHouse did not answer in time.") from error
    except UNREADABLE as error:
        raise StoreUnavailable(f"The connection to ClickHouse broke: {error!r}") from error
