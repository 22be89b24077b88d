"""Tables that differ from ours as Plausible's do: no deduplication window, a channel that is computed."""

from service.clickhouse.migrations import MIGRATIONS, MigratableStore
from service.clickhouse.migrations.plan import Dialect

_CHANNEL = "acquisition_channel LowCardinality(String)"


async def make_plausible_tables(store: MigratableStore) -> None:
    """Make the three tables with Plausible's differences from ours."""
    dialect = Dialect(store.database, None, store.account)
    await store.create_database(cluster=None)
    for migration in MIGRATIONS:
        for step in migration.steps:
            sql = dialect.render(step.sql)
            window = sql.rfind("SETTINGS non_replicated_deduplication_window")
            without_window = sql[:window] if window > 0 else sql
            computed = f"{_CHANNEL} MATERIALIZED concat('computed from ', referrer_source)"
            await store.execute(without_window.replace(_CHANNEL, computed))
