"""Tables of cases as plain texts, for readers who know the rules and no Python.

They lie in ``cases`` beside the tests. A line is one case, ``|`` stands between its columns, ``-`` for
nothing; lines that begin with ``#`` say which rule the cases below them are about.
"""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "ingestion" / "cases"
NOTHING: Final = "-"


def read_cases(name: str, columns: int) -> list[tuple[str, ...]]:
    """Give the cases of a table; a line with more or fewer columns is an error."""
    cases = []
    for number, line in enumerate((FOLDER / name).read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        case = tuple("" if cell.strip() == NOTHING else cell.strip() for cell in line.split("|", columns - 1))
        assert len(case) == columns, f"{name}, line {number}: {len(case)} columns instead of {columns}"
        cases.append(case)
    assert len(set(cases)) == len(cases), f"{name} holds a case twice"
    return cases
