"""The engine with the databases of Hyperscan, which are built once and outlive the run."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.user_agents.engine import UserAgentEngine
from service.user_agents.scanners import hyperscan_version

BUILD_PATIENCE_S = 240.0


@pytest.fixture(scope="session")
def database_folder(request: pytest.FixtureRequest) -> Path:
    """Where they are kept between runs."""
    return request.config.cache.mkdir("user-agents")


@pytest.fixture(scope="session")
def fast_engine(database_folder: Path) -> Iterator[UserAgentEngine]:
    """The engine, after its child has built what was missing; of several test processes one builds."""
    if hyperscan_version() is None:
        pytest.skip("there is no Hyperscan for this machine")
    with (database_folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = UserAgentEngine(database_folder)
        engine.start(delay_s=0)
        engine.wait(BUILD_PATIENCE_S)
    yield engine
    engine.close()
