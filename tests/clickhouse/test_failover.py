"""Several servers: when one goes the next one takes over, and nothing that was acknowledged is missing."""

from pathlib import Path

from service.clickhouse.migrations import migrate
from service.clickhouse.native import NativeStore
from service.ingestion.verdict import BUFFERED
from tests.support.clickhouse import ClickhouseServer, running_server
from tests.support.running_system import RunningSystem, running_system

DATABASE = "failover"


async def test_one_server_goes_and_then_the_other(tmp_path: Path) -> None:
    """The second takes what comes while the first is away, and the first again while the second is."""
    with running_server(tmp_path / "one") as one, running_server(tmp_path / "two") as two:
        for server in (one, two):
            await _migrate(server)
        hosts = ",".join(f"127.0.0.1:{server.tcp_port}" for server in (one, two))
        store = NativeStore(f"clickhouse://{hosts}/{DATABASE}")
        async with running_system(tmp_path, store=store) as running:
            await _send(running, "/both")
            one.kill()
            await _send(running, "/two-alone")
            one.restart()
            two.kill()
            await _send(running, "/one-alone")
            assert _paths(one) == ["/both", "/one-alone"]
            assert running.system.statistics["events_waiting"] == 0
        await store.close()
        two.restart()
        assert _paths(two) == ["/two-alone"]


async def _migrate(server: ClickhouseServer) -> None:
    store = NativeStore(f"{server.url}/{DATABASE}")
    await migrate(store, cluster=None)
    await store.close()


async def _send(running: RunningSystem, pathname: str) -> None:
    """Send an event, and return when a server has it."""
    assert await running.send(running.request(pathname=pathname)) == [BUFFERED]
    await running.system.flush()


def _paths(server: ClickhouseServer) -> list[str]:
    return server.query(
        "SELECT pathname FROM events_v2 ORDER BY timestamp, pathname", database=DATABASE
    ).split("\n")
