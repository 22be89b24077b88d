"""Makes the tables, by numbered migrations that change nothing that exists already.

Tables made by Plausible are found and left as they are, but for one setting: without a deduplication window a
block sent twice would be stored twice, so it is switched on. What has run is kept in
``gatehouse_migrations``, which is apart from the
``schema_migrations`` of Plausible (reference 9.7), whose versions count otherwise.
"""

from collections.abc import Callable
from typing import Protocol

from service.clickhouse.deduplication import missing_windows
from service.clickhouse.migrations.m0001_locations import LOCATIONS
from service.clickhouse.migrations.m0002_events import EVENTS
from service.clickhouse.migrations.m0003_sessions import SESSIONS
from service.clickhouse.migrations.m0004_counters import COUNTERS
from service.clickhouse.migrations.plan import DEDUPLICATION_WINDOW, Dialect, Migration
from service.clickhouse.store import ClickhouseStore

MIGRATIONS = (LOCATIONS, EVENTS, SESSIONS, COUNTERS)

_HISTORY = (
    "CREATE TABLE IF NOT EXISTS gatehouse_migrations{on_cluster} (version Int64, inserted_at DateTime) "
    "ENGINE = {replicated}MergeTree ORDER BY version"
)


class MigratableStore(ClickhouseStore, Protocol):
    """A store whose database can be made."""

    @property
    def database(self) -> str:
        """The database that holds the tables."""

    @property
    def account(self) -> tuple[str, str]:
        """User and password with which ClickHouse may read its own tables."""

    async def create_database(self, *, cluster: str | None) -> None:
        """Make the database if it does not exist."""


async def migrate(
    store: MigratableStore, *, cluster: str | None, on_step: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Bring the database up to date and give what was done, a sentence each; an empty list when nothing was.

    ``on_step`` is called with each sentence before it is carried out. Raises StoreError.
    """
    done: list[str] = []

    def say(sentence: str) -> None:
        done.append(sentence)
        on_step(sentence)

    dialect = Dialect(store.database, cluster, store.account)
    await store.create_database(cluster=cluster)
    await store.execute(dialect.render(_HISTORY))
    applied = {row["version"] for row in await store.query("SELECT version FROM gatehouse_migrations")}
    for migration in MIGRATIONS:
        if migration.version not in applied:
            say(f"migration {migration.version}: {migration.title}")
            await _apply(store, migration, dialect)
    for table, statement in await missing_windows(store, window=DEDUPLICATION_WINDOW, cluster=cluster):
        say(f"{table}: switching on the deduplication window, so that a block sent twice is stored once")
        await store.execute(statement)
    return done


async def _apply(store: MigratableStore, migration: Migration, dialect: Dialect) -> None:
    for step in migration.steps:
        if not step.needs_setting or await _knows_setting(store, step.needs_setting):
            await store.execute(dialect.render(step.sql))
    await store.execute(f"INSERT INTO gatehouse_migrations SELECT {migration.version}, now()")


async def _knows_setting(store: MigratableStore, name: str) -> bool:
    known = await store.query(
        f"SELECT 1 FROM system.merge_tree_settings WHERE name = '{name}'"  # noqa: S608 - a constant
    )
    return bool(known)
