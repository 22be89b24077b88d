import pytest

from actors.patience import CALM_AFTER_S, OVERLOAD_SHARE, STALL_SHARE, Patience

MAX_WAIT_S = 0.1
STALL_S = MAX_WAIT_S * STALL_SHARE
BETWEEN_S = MAX_WAIT_S * (OVERLOAD_SHARE + STALL_SHARE) / 2
SHORT_S = MAX_WAIT_S * OVERLOAD_SHARE


@pytest.mark.parametrize(
    ("waits", "ends"),
    [
        # A stall is waited out, up to the longest line.
        ([(0.0, SHORT_S), (0.1, BETWEEN_S), (0.2, STALL_S)], [False, False, False]),
        ([(0.0, STALL_S * 1.01)], [True]),
        # From the first refusal on the line is shorter ...
        ([(0.0, STALL_S * 1.01), (0.1, BETWEEN_S), (0.2, SHORT_S)], [True, True, False]),
        # ... for as long as it was needed lately ...
        ([(0.0, STALL_S * 1.01), (0.9, BETWEEN_S), (1.8, BETWEEN_S)], [True, True, True]),
        # ... and no longer.
        ([(0.0, STALL_S * 1.01), (CALM_AFTER_S, BETWEEN_S)], [True, False]),
    ],
)
def test_how_long_the_line_may_be(waits: list[tuple[float, float]], ends: list[bool]) -> None:
    """Told when each look at the line was, on a clock that began long ago, and how long the line was."""
    patience = Patience(MAX_WAIT_S)
    assert [patience.ends(wait_s, 1000.0 + now) for now, wait_s in waits] == ends
