"""What the tests of the rules share: the real tables, loaded once."""

import pytest

from service.ingestion.event import Context, Tables
from tests.support.events import make_context, make_tables


@pytest.fixture(scope="session")
def tables() -> Tables:
    """The real tables without any of the operator's files."""
    return make_tables()


@pytest.fixture(scope="session")
def context(tables: Tables) -> Context:
    """The surroundings of a site without rules, on its first day."""
    return make_context(tables)
