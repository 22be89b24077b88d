"""What a migration is made of: numbered steps in SQL that can run any number of times.

The SQL holds ``{...}`` fields for what differs between one server and a cluster; ``Dialect`` fills them in.
"""

from msgspec import Struct

from service.clickhouse.quoting import quoted

DEDUPLICATION_WINDOW = 10_000
"""Inserts that a table remembers; a block sent again within the last so many is stored once."""


class Step(Struct, frozen=True):
    """One statement. ``needs_setting`` names a MergeTree setting without which the server skips the step."""

    sql: str
    needs_setting: str = ""


class Migration(Struct, frozen=True):
    """Steps that belong together; ``title`` is shown to the person who migrates."""

    version: int
    title: str
    steps: tuple[Step, ...]


class Dialect(Struct, frozen=True):
    """How statements are said to this installation. ``account`` is user and password, for dictionaries."""

    database: str
    cluster: str | None
    account: tuple[str, str]

    def render(self, sql: str) -> str:
        """Fill in the fields of a step's SQL."""
        user, password = (quoted(part) for part in self.account)
        return sql.format(
            database=self.database,
            on_cluster=f" ON CLUSTER {quoted(self.cluster)}" if self.cluster else "",
            replicated="Replicated" if self.cluster else "",
            deduplication=f"{self.deduplication_setting} = {DEDUPLICATION_WINDOW}",
            user=user,
            password=password,
        )

    @property
    def deduplication_setting(self) -> str:
        """The MergeTree setting that makes the tables remember deduplication tokens."""
        return "replicated_deduplication_window" if self.cluster else "non_replicated_deduplication_window"
