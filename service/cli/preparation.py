"""Brings the database into the state that the service needs: migrated, and its tables checked.

A ClickHouse server that is away delays only this: events wait in the journal meanwhile. Tables that cannot
take what is written stop the start, because blocks would be refused one after the other.
"""

import logging

from service.clickhouse.contract import Severity, check_contract
from service.clickhouse.migrations import MigratableStore, migrate
from service.config import Config
from service.errors import StoreError, StoreUnavailable

log = logging.getLogger(__name__)


class Preparation:
    """What is still to be done; tried at the start, and again for as long as the server is away."""

    def __init__(self, store: MigratableStore, config: Config) -> None:
        self._store = store
        self._config = config
        self.done = False

    async def begin(self) -> None:
        """Try it; a server that is away is only noted. Raises StoreError when the database is no good."""
        try:
            await self._attempt()
        except StoreUnavailable as error:
            if self._config.store == "embedded":
                raise
            log.warning("ClickHouse is away, events wait in the journal until it is back: %s", error)

    async def retry(self) -> None:
        """Try it again; what is wrong is noted, because the service runs already."""
        try:
            await self._attempt()
        except StoreUnavailable as error:
            log.debug("ClickHouse is still away: %s", error)
        except StoreError as error:
            log.error("%s", error)

    async def _attempt(self) -> None:
        cluster = self._config.clickhouse_cluster
        if self._config.migrate_on_start:
            for sentence in await migrate(self._store, cluster=cluster):
                log.info("%s", sentence)
        problems = await check_contract(self._store, cluster=cluster)
        for problem in problems:
            log.warning("%s", problem.sentence)
        errors = [problem.sentence for problem in problems if problem.severity is Severity.ERROR]
        if errors:
            raise StoreError(" ".join(errors))
        await self._store.start()
        self.done = True
