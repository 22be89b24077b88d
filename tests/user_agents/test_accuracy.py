"""Every verdict is Matomo's, on all of Matomo's own examples, with the databases a service would build."""

import stat
from pathlib import Path

from service.user_agents.engine import UserAgentEngine
from tests.support.matomo import differences, examples
from tests.support.user_agents import engine as re2_engine

KNOWN = frozenset(
    {
        # Hints of Matomo's newest version, of which only the examples are known.
        ("device", "", "console"),
        ("device", "", "desktop"),
        ("device", "tv", "peripheral"),
        ("device", "tv", "wearable"),
    }
)
MAX_KNOWN = 5


def test_databases_are_built_and_kept(fast_engine: UserAgentEngine, database_folder: Path) -> None:
    """A process of its own builds them into the folder, for its owner only; the next start finds them."""
    assert fast_engine.scans_with == "Hyperscan"
    (file,) = database_folder.glob("user-agents-*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert UserAgentEngine(database_folder).scans_with == "Hyperscan"


def test_all_of_matomos_examples(fast_engine: UserAgentEngine) -> None:
    """Bot or not, client, system, versions and device are as Matomo says, but for a handful of devices."""
    wrong, count = [], 0
    for count, example in enumerate(examples(), 1):  # noqa: B007 - it is used after the loop
        found = fast_engine.take_apart(example.user_agent)
        assert found is not None
        wrong += [(field, *pair) for field, pair in differences(found, example).items()]

    assert count > 37_000
    assert set(wrong) <= KNOWN
    assert len(wrong) <= MAX_KNOWN


def test_re2_says_the_same(fast_engine: UserAgentEngine) -> None:
    """Where there is no Hyperscan, or not yet, the verdicts are the same."""
    for number, example in enumerate(examples()):
        if number % 25 == 0:
            assert re2_engine().take_apart(example.user_agent) == fast_engine.take_apart(example.user_agent)
