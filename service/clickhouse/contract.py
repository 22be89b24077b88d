"""Whether the tables that are there can take what is written: the answer in plain words.

Source: reference 9.1-9.3 and 10.2. Tables made by Plausible are accepted as they are: what they compute
themselves (``acquisition_channel``) is left out of the insert, other columns of theirs do not matter.
"""

import enum
import re

from msgspec import Struct

from service.clickhouse.deduplication import missing_windows
from service.clickhouse.migrations.plan import DEDUPLICATION_WINDOW
from service.clickhouse.schema import TABLES, Kind, Table, WrittenColumn
from service.clickhouse.store import ClickhouseStore, Column

_COMPUTED = {
    "MATERIALIZED": "ClickHouse computes it itself (MATERIALIZED)",
    "ALIAS": "it is only another name (ALIAS)",
    "EPHEMERAL": "it is never stored (EPHEMERAL)",
}


class Severity(enum.StrEnum):
    """Whether the service can work in spite of a problem."""

    ERROR = "error"
    WARNING = "warning"


class Problem(Struct, frozen=True):
    """One thing that is wrong with a table, as a sentence, with what to do about it in the same sentence."""

    severity: Severity
    table: str
    sentence: str


async def check_contract(store: ClickhouseStore, *, cluster: str | None = None) -> list[Problem]:
    """Compare the tables that are needed with those that are there; no problems, empty list.

    Raises StoreUnavailable when ClickHouse is away.
    """
    problems = []
    for table in TABLES:
        found = await store.describe(table.name)
        sentences = _compare(table, found) if found else ["does not exist: run `gatehouse migrate`."]
        problems += [
            Problem(Severity.ERROR, table.name, f"{table.name} {sentence}") for sentence in sentences
        ]
    for name, statement in await missing_windows(store, window=DEDUPLICATION_WINDOW, cluster=cluster):
        sentence = (
            f"{name} remembers no inserts, so a block sent again after a lost answer is stored twice: "
            f"run `gatehouse migrate`, or {statement}"
        )
        problems.append(Problem(Severity.WARNING, name, sentence))
    return problems


def _compare(table: Table, found: list[Column]) -> list[str]:
    """Give a sentence for each column that is missing, of another type or not insertable."""
    by_name = {column.name: column for column in found}
    sentences = (_judge(needed, by_name.get(needed.name)) for needed in table.columns)
    return [sentence for sentence in sentences if sentence]


def _judge(needed: WrittenColumn, found: Column | None) -> str:
    if found is None:
        return "" if needed.optional else f"has no column {needed.name} ({needed.kind.value})."
    if found.default_kind in _COMPUTED:
        why = _COMPUTED[found.default_kind]
        return "" if needed.optional else f"cannot be written to: column {needed.name} is needed, but {why}."
    if _plain_type(found.type) != needed.kind.value:
        return f"has column {needed.name} as {found.type}, but it must be {needed.kind.value}."
    return ""


def _plain_type(name: str) -> str:
    """Give the type without what changes only how values are stored or shown."""
    stored = re.fullmatch(r"LowCardinality\((.+)\)", name)
    plain = stored[1] if stored else name
    return Kind.DATETIME.value if plain.startswith("DateTime('") else plain
