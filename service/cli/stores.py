"""Opens what a command works on when no service runs, or what the service is built from."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from service.cli.folder import prepare_folder
from service.clickhouse.connect import open_store
from service.clickhouse.migrations import MigratableStore
from service.clock import wall
from service.config import Config
from service.ingestion.user_agent import UserAgentParser
from service.journal import Journal
from service.quarantine import QUARANTINE_FOLDER, Quarantine
from service.remembered_keys import KEYS_FOLDER, RememberedKeys
from service.tables import WatchedTables, load_tables

JOURNAL_FOLDER: Final = "journal"


@asynccontextmanager
async def open_clickhouse(
    config: Config, *, current_traceparent: Callable[[], str | None] = lambda: None
) -> AsyncIterator[MigratableStore]:
    """Give the configured store, which is opened at its first use, and close it in the end.

    ``current_traceparent`` names the span that ClickHouse's own are to be below; the embedded store has none.
    Raises ConfigError when the data folder or the URL cannot be used.
    """
    prepare_folder(config.data_dir)
    folder = config.data_dir / "clickhouse"
    store = open_store(
        kind=config.store,
        url=config.clickhouse_url,
        folder=folder,
        current_traceparent=current_traceparent,
    )
    try:
        yield store
    finally:
        await store.close()


def open_quarantine(config: Config) -> Quarantine:
    """Give the quarantine, for the process that holds the journal's lock. Raises JournalError."""
    return Quarantine.open(
        config.data_dir / QUARANTINE_FOLDER,
        max_bytes=config.quarantine_max_bytes,
        sync=config.durability == "fsync",
    )


def open_keys(config: Config) -> RememberedKeys:
    """Give the remembered keys, for the process that holds the journal's lock. Raises JournalError."""
    limit = config.idempotency_max_keys
    if config.durability == "memory":
        return RememberedKeys(None, limit=limit, sync=False, clock=wall)
    folder = config.data_dir / KEYS_FOLDER
    return RememberedKeys.open(folder, limit=limit, sync=config.durability == "fsync", clock=wall)


def open_journal(config: Config, keys: RememberedKeys) -> Journal:
    """Take the journal over, and remember the keys in it. Raises JournalLocked and JournalError."""
    return Journal.open(
        config.data_dir / JOURNAL_FOLDER,
        durability=config.durability,
        max_bytes=config.journal_max_bytes,
        remember=keys.add,
    )


def load_configured_tables(config: Config, user_agents: UserAgentParser) -> WatchedTables:
    """Load what the rules look things up in. Raises ConfigError with a sentence that names the file."""
    return load_tables(
        user_agents=user_agents,
        geo_database=config.geo_database,
        spam_list=config.spam_list,
        exchange_rates=config.exchange_rates,
        sources=config.sources,
        ip_lists=config.ip_lists,
        asn_database=config.asn_database,
        data_dir=config.data_dir,
    )
