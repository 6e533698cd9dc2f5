"""The engine, its transactions, and PostgreSQL's errors in our words."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import URL, Connection, ExceptionContext, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from server.contract.errors import Unavailable
from server.persistence.models import Base
from server.settings import Settings

LOCK_NOT_AVAILABLE = "55P03"
QUERY_CANCELED = "57014"
READ_ONLY = "25006"
"""A standby, or a primary that is being replaced by one."""
FOREIGN_KEY_VIOLATION = "23503"
UNIQUE_VIOLATION = "23505"

_TRANSIENT_CLASSES = ("08", "40", "53", "55", "57")
"""SQLSTATE classes: connection, rollback (deadlock, serialization), resources, not in the right
state now (a lock, a start-up), shutdown
(https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

POOL_TIMEOUT = 5.0
"""Seconds that a request waits for a connection that others have."""

COMMAND_TIMEOUT = 15.0
"""Seconds. A connection that says nothing for so long is given up: a cut cable sends no goodbye."""

_SCHEMA_LOCK = 5672_0001
"""Workers that start together create the tables one after the other."""


def _without_sslmode(url: str) -> tuple[URL, str | bool]:
    """The URL for SQLAlchemy, and what asyncpg takes for TLS: the URL's ``sslmode``, or none.

    Said explicitly, because asyncpg would otherwise read PGSSLMODE, and files in the user's home.
    """
    given = make_url(url).set(drivername="postgresql+asyncpg")
    mode = given.query.get("sslmode")
    return given.difference_update_query(["sslmode"]), mode if isinstance(mode, str) else False


MOST_SHARED = 2
"""Shared transactions at a time: while one waits for the disk, the next is put together. More of
them would only share less."""
SHARED_LOCK_TIMEOUT = 0.1
"""Seconds that a shared transaction waits for a lock: others wait with it."""
SHARED_STATEMENT_TIMEOUT = 0.25
"""Seconds for a statement of a shared transaction, for the same reason."""


def sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def took_too_long(error: BaseException) -> bool:
    """Whether PostgreSQL ended a statement at its timeout."""
    return isinstance(error, DBAPIError) and sqlstate(error) == QUERY_CANCELED


def is_lost(error: BaseException) -> bool:
    """Whether it says that the database cannot be asked now, whatever the question."""
    if isinstance(error, DBAPIError):
        return isinstance(error, InterfaceError) or error.connection_invalidated
    return isinstance(error, PoolTimeout | OSError)


class Database:
    """PostgreSQL for one process. The owner that opens it closes it.

    Every method raises ``Unavailable`` for what may pass: a lost connection, a restart, a
    deadlock, a lock held too long. The transaction is then rolled back, or its outcome unknown
    if the connection was lost during COMMIT; asking again with the same key settles that.
    """

    def __init__(self, settings: Settings) -> None:
        self.lock_timeout = settings.lock_timeout
        """Seconds that one request waits for another that holds what it needs."""
        self.commit_batch = settings.commit_batch
        """Writes that may share one transaction."""
        self._losses = _Losses()
        self.sharing = min(MOST_SHARED, max(1, settings.pool_size // 2))
        """Shared transactions that run at a time."""
        self._shared = self._pool(
            settings,
            self.sharing,
            lock_timeout=SHARED_LOCK_TIMEOUT,
            statement_timeout=SHARED_STATEMENT_TIMEOUT,
        )
        self._writers = self._pool(settings, max(1, settings.pool_size - self.sharing))
        # Connections of their own, so that reads go on while all writers wait for a lock. And no
        # BEGIN and ROLLBACK around a single SELECT: two round trips saved.
        readers = self._pool(settings, max(2, settings.pool_size // 2))
        autocommit = readers.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._readers = replace(readers, engine=autocommit)

    def _pool(
        self,
        settings: Settings,
        size: int,
        *,
        lock_timeout: float | None = None,
        statement_timeout: float = 0,
    ) -> "_Pool":
        """Timeouts in seconds. Without one: that of the settings, and none."""
        address, ssl = _without_sslmode(settings.database_url)
        engine = create_async_engine(
            address,
            pool_size=size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT,
            hide_parameters=True,  # parameters hold people's data, and errors are logged
            connect_args={
                "timeout": 5,
                "ssl": ssl,
                "command_timeout": COMMAND_TIMEOUT,
                "server_settings": {
                    "application_name": "library-server",
                    "lock_timeout": _milliseconds(lock_timeout or settings.lock_timeout),
                    "statement_timeout": _milliseconds(statement_timeout),
                    "timezone": "UTC",
                },
            },
        )
        self._losses.watch(engine)
        return _Pool(engine, asyncio.Semaphore(size))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._in_our_words(), self._readers.connection() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commits at the end, rolls back on any exception. READ COMMITTED."""
        async with self._in_our_words(), self._writers.transaction() as connection:
            yield connection

    @asynccontextmanager
    async def sharing_transaction(self) -> AsyncIterator[AsyncConnection]:
        """The same, for several requests together: it does not wait long for a lock."""
        async with self._in_our_words(), self._shared.transaction() as connection:
            yield connection

    async def create_tables(self) -> None:
        """Raises ``SchemaMismatch`` if the tables there are those of another version."""
        async with self.transaction() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(_require_columns)

    async def close(self) -> None:
        for pool in (self._shared, self._writers, self._readers):
            await pool.engine.dispose()

    @asynccontextmanager
    async def _in_our_words(self) -> AsyncIterator[None]:
        try:
            yield
        except (PoolTimeout, DBAPIError, OSError) as error:
            if is_lost(error):
                raise Unavailable("The database cannot be reached now.") from error
            if isinstance(error, DBAPIError) and sqlstate(error).startswith(_TRANSIENT_CLASSES):
                raise Unavailable("The database cannot do this now.") from error
            raise


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


@dataclass(frozen=True)
class _Pool:
    """Connections of one kind: first come, first served.

    SQLAlchemy's own queue is not fair. A newcomer may take the connection for which a waiting
    request was just woken: of 64 readers a few waited ten times as long as the others.
    """

    engine: AsyncEngine
    turns: asyncio.Semaphore

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Raises ``TimeoutError`` if it is not this request's turn within ``POOL_TIMEOUT``."""
        async with asyncio.timeout(POOL_TIMEOUT):
            await self.turns.acquire()
        try:
            async with self.engine.connect() as connection:
                yield connection
        finally:
            self.turns.release()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        async with self.connection() as connection, connection.begin():
            yield connection


class _Losses:
    """One connection that is found lost is a reason to trust none that was open then, in any pool:
    a request that comes again must not meet the next one, and the next.
    """

    def __init__(self) -> None:
        self._last = float("-inf")

    def watch(self, engine: AsyncEngine) -> None:
        event.listen(engine.sync_engine, "connect", self._opened)
        event.listen(engine.sync_engine, "checkout", self._taken)
        event.listen(engine.sync_engine, "handle_error", self._failed)

    def _opened(self, _: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["opened"] = time.monotonic()

    def _taken(self, _: Any, entry: ConnectionPoolEntry, __: Any) -> None:
        if entry.info["opened"] <= self._last:
            raise DisconnectionError()  # the pool opens another one

    def _failed(self, context: ExceptionContext) -> None:
        # A read-only session stays so, whatever becomes of its server: as good as lost.
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True
        if context.is_disconnect:
            self._last = time.monotonic()


class SchemaMismatch(Exception):
    """The tables in the database were made by another version of the server."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(
            f"The database lacks {', '.join(missing)}: another version of the server made it. "
            "A lab whose data you do not need starts from nothing: `make down`, delete .lab, "
            "`make up`. "
            "Data that matters needs a migration."
        )


def _require_columns(connection: Connection) -> None:
    """``create_all`` creates tables that are missing, and never changes one that is there."""
    inspector = inspect(connection)
    there = {
        f"{table}.{column['name']}"
        for (_, table), columns in inspector.get_multi_columns().items()
        for column in columns
    }
    wanted = [str(column) for table in Base.metadata.sorted_tables for column in table.columns]
    missing = [column for column in wanted if column not in there]
    if missing:
        raise SchemaMismatch(missing)
