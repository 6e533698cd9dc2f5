"""The engine, its transactions, and PostgreSQL's errors in our words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import URL, Connection, ExceptionContext, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from server.contract.errors import Unavailable
from server.persistence.models import Base
from server.settings import Settings

LOCK_NOT_AVAILABLE = "55P03"
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


def sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


class Database:
    """PostgreSQL for one process. The owner that opens it closes it.

    Every method raises ``Unavailable`` for what may pass: a lost connection, a restart, a
    deadlock, a lock held too long. The transaction is then rolled back, or its outcome unknown
    if the connection was lost during COMMIT; asking again with the same key settles that.
    """

    def __init__(self, settings: Settings) -> None:
        self.lock_timeout = settings.lock_timeout
        """Seconds that one request waits for another that holds what it needs."""
        self._engine = self._pool(settings, settings.pool_size)
        # Connections of their own, so that reads go on while all writers wait for a lock. And no
        # BEGIN and ROLLBACK around a single SELECT: two round trips saved.
        readers = self._pool(settings, max(2, settings.pool_size // 2))
        self._reader = readers.execution_options(isolation_level="AUTOCOMMIT")

    @staticmethod
    def _pool(settings: Settings, size: int) -> AsyncEngine:
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
                    "lock_timeout": str(round(settings.lock_timeout * 1000)),
                    "timezone": "UTC",
                },
            },
        )
        event.listen(engine.sync_engine, "handle_error", _lose_read_only)
        return engine

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        async with self._in_our_words(), self._reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commits at the end, rolls back on any exception. READ COMMITTED."""
        async with self._in_our_words(), self._engine.begin() as connection:
            yield connection

    async def create_tables(self) -> None:
        """Raises ``SchemaMismatch`` if the tables there are those of another version."""
        async with self.transaction() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
            await connection.run_sync(Base.metadata.create_all)
            await connection.run_sync(_require_columns)

    async def close(self) -> None:
        await self._engine.dispose()
        await self._reader.dispose()

    @asynccontextmanager
    async def _in_our_words(self) -> AsyncIterator[None]:
        try:
            yield
        except (PoolTimeout, InterfaceError, OSError) as error:
            raise Unavailable("The database cannot be reached now.") from error
        except DBAPIError as error:
            if sqlstate(error).startswith(_TRANSIENT_CLASSES) or error.connection_invalidated:
                raise Unavailable("The database cannot do this now.") from error
            raise


def _lose_read_only(context: ExceptionContext) -> None:
    """A read-only session stays so, whatever becomes of its server: it, and all that were opened
    before, are as good as lost.
    """
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


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
