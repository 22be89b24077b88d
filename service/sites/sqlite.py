"""Sites, goals, shields and salts in one SQLite file, which several processes may use at once.

- Write-ahead logging, so that readers never wait for a writer; the file is the owner's alone (0600).
- Two connections: one answers the running system, each question a single statement and thus a consistent view
  (``execute_fetchall`` runs in one go on the connection's thread); the other holds the one open transaction.
- Salts go by the UTC day (reference 7.1, but by the clock instead of by a job). Those before yesterday's are
  deleted with ``secure_delete`` and the log is emptied: not even the bytes on disk can name a past visitor.
- A former domain is accepted for 72 hours from its change (reference 5.4), by the clock, without a job.
"""

import asyncio
import datetime
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import aiosqlite
import msgspec

from service.clock import Clock, wall
from service.errors import SiteStoreUnavailable
from service.ingestion.site import Site
from service.sites.records import ShieldKind
from service.sites.schema import MIGRATIONS
from service.sites.sqlite_tables import DOMAIN_CHANGE_GRACE_S, SqliteSiteTables, build_shields
from service.sites.store import SiteKey

BUSY_TIMEOUT_S: Final = 5.0
"""How long a statement waits for another process's transaction; those are milliseconds long."""

SALT_BYTES: Final = 16

_SWITCH_TRIES: Final = 100

_KEYS_A_SLICE: Final = 5_000
"""Keys built between two turns of the event loop: about a millisecond."""

_UNIX_EPOCH_ORDINAL: Final = datetime.date(1970, 1, 1).toordinal()

_KEYS_SQL: Final = """
    SELECT domain, id FROM sites
    UNION ALL
    SELECT domain_changed_from, id FROM sites WHERE domain_changed_from IS NOT NULL AND domain_changed_at > ?
"""

_SITE_SQL: Final = """
    SELECT
        id, domain, iif(domain_changed_at > ?, domain_changed_from, NULL), timezone,
        ingest_rate_limit_threshold, ingest_rate_limit_scale_seconds, accept_traffic_until,
        (SELECT json_group_array(json_array(event_name, currency)) FROM
            (SELECT event_name, currency FROM goals
             WHERE site_id = sites.id AND event_name IS NOT NULL AND currency IS NOT NULL ORDER BY id)),
        (SELECT json_group_array(json_array(kind, value)) FROM
            (SELECT kind, value FROM shield_rules WHERE site_id = sites.id ORDER BY id))
    FROM sites WHERE id = ?
"""


class SqliteSiteStore:
    """A ``SiteRegistry`` in the SQLite file at ``path``, whose folder must exist.

    Every method but ``close`` raises SiteStoreUnavailable when SQLite cannot do its part: the file is broken,
    the disk full, another process too slow.
    """

    def __init__(self, path: Path, *, clock: Clock = wall) -> None:
        self._path = path
        self._clock = clock
        # Both are None before start() and after close().
        self._questions: aiosqlite.Connection | None = None
        self._transactions: aiosqlite.Connection | None = None
        # A connection can hold one transaction; coroutines take turns.
        self._turn = asyncio.Lock()
        # True while the log may still hold the bytes of a deleted salt.
        self._log_to_empty = False

    async def start(self) -> None:
        """Open the file, making it if there is none, and bring its tables up to date."""
        with self._sentences():
            self._make_private()
            async with AsyncExitStack() as undo:
                undo.push_async_callback(self.close)
                self._transactions = await self._open()
                await self._migrate(self._transactions)
                self._questions = await self._open()
                undo.pop_all()

    async def keys(self) -> Sequence[SiteKey]:
        """Give every accepted domain; an expired ``domain_changed_from`` is left out."""
        rows = list(await self._ask(_KEYS_SQL, self._now() - DOMAIN_CHANGE_GRACE_S))
        keys: list[SiteKey] = []
        for start in range(0, len(rows), _KEYS_A_SLICE):
            keys.extend(SiteKey(domain, site_id) for domain, site_id in rows[start : start + _KEYS_A_SLICE])
            await asyncio.sleep(0)
        return keys

    async def get(self, site_id: int) -> Site | None:
        """Load one site with its goals and shields; None when there is none."""
        rows = await self._ask(_SITE_SQL, self._now() - DOMAIN_CHANGE_GRACE_S, site_id)
        for row in rows:
            return _build_site(*row)
        return None

    async def revision(self) -> int:
        """Give a number that grows with every change, also of another process."""
        ((number,),) = await self._ask("SELECT number FROM revision")
        return msgspec.convert(number, int)

    async def changed_since(self, revision: int) -> Sequence[int]:
        """Give the sites that were changed, or deleted, after the store had this revision."""
        rows = await self._ask("SELECT site_id FROM changes WHERE number > ? ORDER BY number", revision)
        return [site_id for (site_id,) in rows]

    async def salts(self, *, today: int) -> dict[int, bytes]:
        """Give the salts by day (days since 1970, UTC) from yesterday on, making those of today and tomorrow.

        Older ones are deleted for good. Two processes that ask at once get the same salts.
        """
        async with self._transaction("IMMEDIATE") as connection:
            for day in (today, today + 1):
                await connection.execute_fetchall(
                    "INSERT INTO salts VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (day, secrets.token_bytes(SALT_BYTES)),
                )
            deleted = await connection.execute_fetchall(
                "DELETE FROM salts WHERE day < ? RETURNING 1", (today - 1,)
            )
            self._log_to_empty = self._log_to_empty or bool(list(deleted))
            rows = await connection.execute_fetchall("SELECT day, salt FROM salts ORDER BY day")
        await self._empty_log()
        return dict(msgspec.convert(list(rows), list[tuple[int, bytes]]))

    @asynccontextmanager
    async def view(self) -> AsyncIterator[SqliteSiteTables]:
        """Open a consistent view of the tables for reading."""
        async with self._transaction("DEFERRED") as connection:
            yield SqliteSiteTables(connection, self._now())

    @asynccontextmanager
    async def change(self) -> AsyncIterator[SqliteSiteTables]:
        """Open a transaction that is committed at the end of the block, or undone when the block raises."""
        async with self._transaction("IMMEDIATE") as connection:
            yield SqliteSiteTables(connection, self._now())

    async def close(self) -> None:
        """Close the store; safe to call twice."""
        questions, self._questions = self._questions, None
        transactions, self._transactions = self._transactions, None
        for connection in (questions, transactions):
            if connection is not None:
                await connection.close()

    def _make_private(self) -> None:
        try:
            # Exclusive: closing a second handle on a file that SQLite has open would drop its locks.
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            self._path.chmod(0o600)

    async def _open(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(connection.close)
            await _log_ahead(connection)
            for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
                await connection.execute_fetchall(f"PRAGMA {pragma}")
            undo.pop_all()
        return connection

    async def _migrate(self, connection: aiosqlite.Connection) -> None:
        async with self._transaction("IMMEDIATE"):
            ((version,),) = await connection.execute_fetchall("PRAGMA user_version")
            if version > len(MIGRATIONS):
                raise SiteStoreUnavailable(
                    f"{self._path} was made by a newer Gatehouse: its tables are version {version},"
                    f" this one knows up to {len(MIGRATIONS)}."
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    await connection.execute_fetchall(statement)
            await connection.execute_fetchall(f"PRAGMA user_version = {len(MIGRATIONS)}")

    @asynccontextmanager
    async def _transaction(self, kind: str) -> AsyncIterator[aiosqlite.Connection]:
        connection = self._transactions
        if connection is None:
            raise SiteStoreUnavailable(f"{self._path} is not open.")
        with self._sentences():
            async with self._turn:
                try:
                    await connection.execute_fetchall(f"BEGIN {kind}")
                    yield connection
                    await connection.commit()
                finally:
                    # After a commit there is nothing left to roll back, and SQLite does nothing.
                    await connection.rollback()

    async def _ask(self, sql: str, *parameters: object) -> Sequence[sqlite3.Row]:
        connection = self._questions
        if connection is None:
            raise SiteStoreUnavailable(f"{self._path} is not open.")
        with self._sentences():
            return list(await connection.execute_fetchall(sql, parameters))

    async def _empty_log(self) -> None:
        connection = self._transactions
        if not self._log_to_empty or connection is None:
            return
        with self._sentences():
            async with self._turn:
                ((busy, _, _),) = await connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
        # Another process may be reading the log; then the next call tries again.
        self._log_to_empty = bool(busy)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SiteStoreUnavailable(f"{self._path} cannot be used: {error}.") from error
        except OSError as error:
            raise SiteStoreUnavailable(f"{self._path} cannot be opened: {error.strerror}.") from error

    def _now(self) -> int:
        return int(self._clock())


async def _log_ahead(connection: aiosqlite.Connection) -> None:
    """Switch to write-ahead logging.

    Only the very first time anything is switched; when several processes do it at once, SQLite says that the
    file is busy without waiting as it does everywhere else.
    """
    for _ in range(_SWITCH_TRIES):
        try:
            await connection.execute_fetchall("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            await asyncio.sleep(BUSY_TIMEOUT_S / _SWITCH_TRIES)
        else:
            return
    raise SiteStoreUnavailable("Another process keeps the sites' database locked.")


def _build_site(
    site_id: int,
    domain: str,
    domain_changed_from: str | None,
    timezone: str,
    threshold: int | None,
    scale_seconds: int,
    accept_traffic_until: str | None,
    revenue_goals: str,
    shields: str,
) -> Site:
    return Site(
        id=site_id,
        domain=domain,
        domain_changed_from=domain_changed_from,
        timezone=timezone,
        ingest_rate_limit_threshold=threshold,
        ingest_rate_limit_scale_seconds=scale_seconds,
        accept_traffic_until=None if accept_traffic_until is None else _day_number(accept_traffic_until),
        revenue_goals=msgspec.json.decode(revenue_goals, type=tuple[tuple[str, str], ...]),
        shields=build_shields(msgspec.json.decode(shields, type=list[tuple[ShieldKind, str]])),
    )


def _day_number(iso_date: str) -> int:
    return datetime.date.fromisoformat(iso_date).toordinal() - _UNIX_EPOCH_ORDINAL
