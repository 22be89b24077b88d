"""Both stores, each on a real ClickHouse, empty or with our tables."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.clickhouse.connect import open_store
from service.clickhouse.migrations import MigratableStore, migrate


@pytest.fixture(params=["native", "embedded"])
def unopened_store(request: pytest.FixtureRequest, tmp_path: Path) -> MigratableStore:
    """A store that has not been used: over TCP, and then in the process."""
    if request.param == "embedded":
        return open_store(kind="embedded", url=None, folder=tmp_path / "clickhouse")
    return open_store(kind="native", url=request.getfixturevalue("clickhouse_url"), folder=tmp_path)


@pytest.fixture
async def empty_store(unopened_store: MigratableStore) -> AsyncIterator[MigratableStore]:
    """A store whose database has no tables."""
    yield unopened_store
    await unopened_store.close()


@pytest.fixture
async def store(empty_store: MigratableStore) -> MigratableStore:
    """A store whose database has our tables."""
    await migrate(empty_store, cluster=None)
    return empty_store


@pytest.fixture
async def native_store(clickhouse_url: str, tmp_path: Path) -> AsyncIterator[MigratableStore]:
    """A store over TCP whose database has our tables."""
    store = open_store(kind="native", url=clickhouse_url, folder=tmp_path)
    await migrate(store, cluster=None)
    yield store
    await store.close()


@pytest.fixture
async def embedded_store(tmp_path: Path) -> AsyncIterator[MigratableStore]:
    """A store in the process whose database has our tables."""
    store = open_store(kind="embedded", url=None, folder=tmp_path / "clickhouse")
    await migrate(store, cluster=None)
    yield store
    await store.close()
