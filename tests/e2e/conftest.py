"""Fixtures that the end-to-end tests share."""

import asyncio
import os
import uuid
from collections.abc import Iterator

import pytest
from asynch.proto.connection import Connection

from service.clickhouse.address import parse_address
from tests.support.clickhouse import ClickhouseServer


@pytest.fixture(scope="module")
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database for the tests of one module."""
    address = os.environ.get("CLICKHOUSE_TEST_URL", "").rstrip("/")
    if not address:
        server: ClickhouseServer = request.getfixturevalue("clickhouse_server")
        if not server.running:
            server.restart()
        address = server.url
    name = f"gatehouse_e2e_{uuid.uuid4().hex[:12]}"
    asyncio.run(_execute(address, f"CREATE DATABASE {name}"))
    yield f"{address}/{name}"
    asyncio.run(_execute(address, f"DROP DATABASE IF EXISTS {name}"))


async def _execute(address: str, statement: str) -> None:
    where = parse_address(address)
    host, port = where.hosts[0]
    connection = Connection(
        host=host, port=port, user=where.user, password=where.password, secure=where.secure
    )
    await connection.execute(statement)
    await connection.disconnect()
