"""What a person may ask: statements that only read.

ClickHouse itself refuses writes (``readonly = 2``), but not all that disturbs: SYSTEM, KILL and USE pass
there, and the engine in the process would write a file for INTO OUTFILE. So a question must also begin like
one.
"""

import re

from service.errors import QueryFailed

_COMMENTS = r"(?>\s|--[^\n]*(?:\n|$)|#[ !][^\n]*(?:\n|$)|/\*.*?\*/)*+"
"""Each is taken for good: could one end later, statements would hide in it and the ways double with each."""
_QUESTION = re.compile(
    _COMMENTS + r"(?:\(|(?:SELECT|WITH|FROM|SHOW|DESCRIBE|DESC|EXPLAIN|EXISTS)\b)", re.IGNORECASE | re.DOTALL
)
_SELECT = re.compile(_COMMENTS + r"(?:\(|(?:SELECT|WITH|FROM)\b)", re.IGNORECASE | re.DOTALL)
_WRITES_A_FILE = re.compile(r"\bINTO\s+OUTFILE\b", re.IGNORECASE)


def check_question(sql: str) -> None:
    """Raise QueryFailed unless the statement only asks."""
    if _QUESTION.match(sql) is None:
        raise QueryFailed("Only questions are answered: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN and EXISTS.")
    if _WRITES_A_FILE.search(sql):
        raise QueryFailed("Only questions are answered, and INTO OUTFILE writes a file.")


def is_select(sql: str) -> bool:
    """Whether a question is a SELECT, whose answer can be long."""
    return _SELECT.match(sql) is not None
