"""Fixtures that tests of several rooms share."""

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import settings

from tests.support.clickhouse import ClickhouseServer, execute, running_server

# How long an example takes says more about the machine than about the code.
settings.register_profile("gatehouse", deadline=None)
settings.load_profile("gatehouse")


@pytest.fixture(scope="session")
def clickhouse_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    """A ClickHouse server of this test process's own; an earlier test may have been its death."""
    with running_server(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def clickhouse_server(clickhouse_process: ClickhouseServer) -> ClickhouseServer:
    """The ClickHouse server of this test process, running; a test may kill it."""
    clickhouse_process.revive()
    return clickhouse_process


@pytest.fixture
def revive_clickhouse(request: pytest.FixtureRequest) -> Callable[[], object]:
    """What starts the ClickHouse of the tests again if it has died; does nothing for one that is given."""
    if os.environ.get("CLICKHOUSE_TEST_URL", ""):
        return lambda: None
    server: ClickhouseServer = request.getfixturevalue("clickhouse_server")
    return server.revive


@pytest.fixture
def clickhouse_address(request: pytest.FixtureRequest) -> str:
    """Where ClickHouse answers, without a database: ``CLICKHOUSE_TEST_URL`` or our own server."""
    given = os.environ.get("CLICKHOUSE_TEST_URL", "")
    if given:
        return given.rstrip("/")
    server: ClickhouseServer = request.getfixturevalue("clickhouse_server")
    return server.url


@pytest.fixture
async def clickhouse_url(
    clickhouse_address: str, revive_clickhouse: Callable[[], object]
) -> AsyncIterator[str]:
    """The URL of an empty database that is this test's alone and is dropped after it."""
    name = f"gatehouse_test_{uuid.uuid4().hex[:12]}"
    await execute(clickhouse_address, f"CREATE DATABASE IF NOT EXISTS {name}", revive_clickhouse)
    yield f"{clickhouse_address}/{name}"
    # SYNC waits for what still goes on in its tables: whoever dies of that does so here, and not in the next
    # test.
    await execute(clickhouse_address, f"DROP DATABASE IF EXISTS {name} SYNC", revive_clickhouse)
