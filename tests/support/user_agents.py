"""User agents taken apart as the service does, without a folder for built databases."""

import functools

from service.ingestion.user_agent import UserAgents
from service.user_agents.engine import UserAgentEngine


@functools.cache
def engine() -> UserAgentEngine:
    """Give the engine that scans with RE2, loaded once a test process."""
    return UserAgentEngine(None)


def user_agents() -> UserAgents:
    """Give a parser that remembers nothing of other tests."""
    return UserAgents(engine().take_apart, capacity=100, explain=engine().explain)
