"""Fixtures that tests of several rooms share."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from asynch.proto.connection import Connection
from hypothesis import settings

from service.clickhouse.address import parse_address
from tests.support.clickhouse import ClickhouseServer, running_server

# How long an example takes says more about the machine than about the code.
settings.register_profile("gatehouse", deadline=None)
settings.load_profile("gatehouse")


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickhouseServer]:
    """A ClickHouse server of this test process's own, which a test may kill if it restarts it."""
    with running_server(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def clickhouse_address(request: pytest.FixtureRequest) -> str:
    """Where ClickHouse answers, without a database: ``CLICKHOUSE_TEST_URL`` or our own server."""
    given = os.environ.get("CLICKHOUSE_TEST_URL", "")
    if given:
        return given.rstrip("/")
    server: ClickhouseServer = request.getfixturevalue("clickhouse_server")
    if not server.running:  # the engine that stands in for a server can die of what a real one survives
        server.restart()
    return server.url


@pytest.fixture
async def clickhouse_url(clickhouse_address: str) -> AsyncIterator[str]:
    """The URL of an empty database that is this test's alone and is dropped after it."""
    name = f"gatehouse_test_{uuid.uuid4().hex[:12]}"
    await _run(clickhouse_address, f"CREATE DATABASE {name}")
    yield f"{clickhouse_address}/{name}"
    await _run(clickhouse_address, f"DROP DATABASE IF EXISTS {name}")


async def _run(address: str, statement: str) -> None:
    where = parse_address(address)
    host, port = where.hosts[0]
    connection = Connection(
        host=host, port=port, user=where.user, password=where.password, secure=where.secure
    )
    await connection.execute(statement)
    await connection.disconnect()
