"""A short soak, and the model that it is held to; ``.ci/run`` runs longer ones, also from a fresh seed."""

from pathlib import Path

from tests.faults.ledger import Comparison, Fate, Ledger
from tests.faults.soak import Soak

SECONDS = 10
SEED = 5


def test_short_soak(tmp_path: Path) -> None:
    """What was acknowledged is stored once, and the sums of the sessions are those of the events."""
    told: list[str] = []

    report = Soak(tmp_path, seed=SEED, say=told.append).run(SECONDS)

    assert report.is_exact, "\n".join([*told, *report.lines()])
    assert report.comparison.acknowledged > 0
    assert report.kills + report.restarts + report.outages > 0


def test_the_model_notices() -> None:
    """What is lost, stored twice or stored against its answer is counted as such."""
    ledger = Ledger()
    fates = (*[Fate.ACKNOWLEDGED] * 4, *[Fate.UNANSWERED] * 2, Fate.DROPPED, Fate.REFUSED, Fate.UNSENT)
    for fate in fates:
        ledger.note(ledger.take_number(), fate)

    found = ledger.compare([(0, 1), (1, 3), (3, 1), (4, 1), (5, 2), (6, 1), (7, 1)])

    assert found == Comparison(
        acknowledged=4, stored=3, lost=1, duplicated=3, unwanted=2, unanswered_stored=2
    )
