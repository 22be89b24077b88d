"""How long the journal will hold, and how that is said."""

import pytest

from actors.outlook import WINDOW_S, GrowthRate, describe_duration, describe_outage

HOUR_S = 3600


@pytest.mark.parametrize(
    ("away_s", "free_bytes", "bytes_per_s", "sentence"),
    [
        (40.9, 6 * HOUR_S * 1000, 1000.0, "away for 40 s, @, which holds 6 h more at the present rate"),
        (600, 90_000, 1000.0, "away for 10 min, @, which holds 90 s more at the present rate"),
        (3, 5000, 0.0, "away for 3 s, @, which has room for 5,000 bytes more"),
        (3 * 86_400, 0, 10.0, "away for 3 d, @, which is full"),
    ],
)
def test_an_outage_is_told_with_figures(
    away_s: float, free_bytes: int, bytes_per_s: float, sentence: str
) -> None:
    """Since when, and for how long there is room."""
    assert describe_outage(away_s, free_bytes=free_bytes, bytes_per_s=bytes_per_s) == sentence.replace(
        "@", "events wait in the journal"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119.9, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_a_duration_is_rounded_down(seconds: float, text: str) -> None:
    """In the largest unit of which there are two."""
    assert describe_duration(seconds) == text


class TestGrowthRate:
    def test_rate_is_that_of_the_last_minute(self) -> None:
        """What was long ago does not count."""
        rate = GrowthRate()
        for second in range(300):
            rate.note(second * 10 if second < 200 else 1990 + (second - 199) * 500, second)

        assert rate.per_second == 500

    @pytest.mark.parametrize("moments", [[], [0.0], [5.0, 1.0]])
    def test_too_little_is_no_rate(self, moments: list[float]) -> None:
        """Nothing, one look, or a clock that was set back."""
        rate = GrowthRate()
        for moment in moments:
            rate.note(int(WINDOW_S), moment)

        assert rate.per_second == 0
