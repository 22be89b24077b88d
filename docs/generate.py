"""Writes the parts of README.md that are made from the code: ``make docs`` runs it, a test says when."""

import re
from pathlib import Path
from typing import Final

from service.config import settings_table

README: Final = Path(__file__).parent.parent / "README.md"
SETTINGS: Final = re.compile(r"(<!-- settings: .*? -->\n).*?(<!-- /settings -->)", re.DOTALL)


def fill_in(text: str) -> str:
    """Give the README's text with the settings table of the code between its markers.

    Raises ValueError when the markers are missing.
    """
    filled, found = SETTINGS.subn(
        lambda markers: markers[1] + "\n" + settings_table() + "\n" + markers[2], text
    )
    if found != 1:
        raise ValueError(f"README.md must have the settings markers once, not {found} times")
    return filled


if __name__ == "__main__":
    README.write_text(fill_in(README.read_text(encoding="utf-8")), encoding="utf-8")
