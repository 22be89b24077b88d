"""Retries and drops rows of the quarantine where no service runs, under the journal's lock."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from service.cli.folder import prepare_folder
from service.cli.stores import JOURNAL_FOLDER, open_clickhouse, open_quarantine
from service.clickhouse.store import ClickhouseStore
from service.config import Config
from service.insertion import Retried, retry
from service.journal import locked
from service.quarantine import Quarantine


class OfflineQuarantine:
    """The quarantine and a store that is opened when it is needed."""

    def __init__(self, quarantine: Quarantine, store: ClickhouseStore) -> None:
        self._quarantine = quarantine
        self._store = store

    async def retry_rows(self, ids: Sequence[str]) -> Retried:
        """Insert rows again."""
        return await retry(self._store, self._quarantine, ids)

    async def drop_rows(self, ids: Sequence[str]) -> int:
        """Let go of rows; give how many there were."""
        return self._quarantine.remove(ids)


@asynccontextmanager
async def offline_quarantine(config: Config) -> AsyncIterator[OfflineQuarantine]:
    """Give the quarantine of the data folder. Raises JournalLocked when a service is about to own it."""
    prepare_folder(config.data_dir)
    with locked(config.data_dir / JOURNAL_FOLDER):
        async with open_clickhouse(config) as store:
            yield OfflineQuarantine(open_quarantine(config), store)
