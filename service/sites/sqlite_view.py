"""The sites' file as it is, for those who only look: read, and never made, migrated or changed."""

import aiosqlite
import msgspec

from service.errors import SiteStoreUnavailable
from service.sites.schema import MIGRATIONS
from service.sites.sqlite import BUSY_TIMEOUT_S, SqliteSiteStore


class SqliteSiteView(SqliteSiteStore):
    """The reading side of the store at ``path``, which must exist. What would change it is not open."""

    async def start(self) -> None:
        """Open the file. Raises SiteStoreUnavailable when its tables are another version's."""
        with self._sentences():
            # Not read-only: after a crash SQLite has to put its own log in order before anybody can read.
            uri = f"{self._path.absolute().as_uri()}?mode=rw"
            connection = await aiosqlite.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._questions = connection
            await connection.execute_fetchall("PRAGMA query_only = ON")
        ((version,),) = await self._ask("PRAGMA user_version")
        if version != len(MIGRATIONS):
            raise SiteStoreUnavailable(
                f"{self._path} was made by another version of Gatehouse; start the service once, or run"
                " `gatehouse sites list`, to bring it up to date."
            )

    async def salts(self, *, today: int) -> dict[int, bytes]:
        """Give the salts that there are, by day (days since 1970, UTC), from yesterday on."""
        rows = await self._ask("SELECT day, salt FROM salts WHERE day >= ?", today - 1)
        return dict(msgspec.convert(rows, list[tuple[int, bytes]]))
