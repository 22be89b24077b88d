"""Fixtures that the end-to-end tests share."""

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.support.clickhouse import ClickhouseServer, execute


@pytest.fixture(scope="module")
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database for the tests of one module."""
    address = os.environ.get("CLICKHOUSE_TEST_URL", "").rstrip("/")
    revive: Callable[[], object] = lambda: None  # noqa: E731
    if not address:
        server: ClickhouseServer = request.getfixturevalue("clickhouse_process")
        address, revive = server.url, server.revive
        revive()
    name = f"gatehouse_e2e_{uuid.uuid4().hex[:12]}"
    asyncio.run(execute(address, f"CREATE DATABASE IF NOT EXISTS {name}", revive))
    yield f"{address}/{name}"
    asyncio.run(execute(address, f"DROP DATABASE IF EXISTS {name} SYNC", revive))
