"""How many files may be open, and how many of them may be connections."""

import pytest

from service.cli.open_files import RESERVED, choose_limit, room_within


@pytest.mark.parametrize(
    ("soft", "hard", "chosen"),
    [
        (1024, 1_048_576, 17_408),
        (1024, 4096, 4096),
        (1024, None, 17_408),
        (65_536, 1_048_576, 65_536),
        (None, None, None),
        (20_000, 20_000, 20_000),
        (4096, 4096, 4096),
    ],
)
def test_the_limit_is_raised_as_far_as_needed_and_allowed(
    soft: int | None, hard: int | None, chosen: int | None
) -> None:
    """It is never lowered; None is a system without a limit."""
    assert choose_limit(16_384 + RESERVED, soft=soft, hard=hard) == chosen


@pytest.mark.parametrize("files", [1, 2, 100, 1024, 2048, 2049, 4096, 20_000])
def test_files_are_left_for_the_journal(files: int) -> None:
    """The reserve, or half of all where that is less."""
    room = room_within(files)
    assert room >= 1
    assert files - room >= min(RESERVED, files // 2)
