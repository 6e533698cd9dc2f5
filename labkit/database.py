"""The database of a lab: made, looked into, emptied."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pandas as pd

from labkit.errors import DatabaseAway, NoSuchTable
from labkit.services.handshake import open_database

CONNECT_TIMEOUT = 60.0
"""Seconds: a database that is just starting, or is busy, is waited for."""

ACCOUNTS = ("users", "api_keys", "signing_keys")
"""Tables that emptying leaves alone: it is for books, and no user is to be locked out."""


async def create(url: str, name: str) -> None:
    """The database ``name`` on the server of ``url``, empty, whatever was there before."""
    async with _connected(url) as connection:
        # Two kernels may open the same lab at once: one after the other, and the last one has it.
        await connection.execute("SELECT pg_advisory_lock(hashtext($1))", name)
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{name}"')


async def rows(url: str, table: str) -> pd.DataFrame:
    """All rows, in the order of the first column. Raises ``NoSuchTable``, with the names there."""
    async with _connected(url) as connection:
        known = await _names(connection)
        if table not in known:
            raise NoSuchTable(f"There is no table {table!r}. Choose one of: {', '.join(known)}.")
        statement = await connection.prepare(f'SELECT * FROM "{table}" ORDER BY 1')  # noqa: S608
        columns = [column.name for column in statement.get_attributes()]
        return pd.DataFrame(map(tuple, await statement.fetch()), columns=columns)


async def empty(url: str) -> None:
    """No rows but those of accounts, and ids from 1 again."""
    async with _connected(url) as connection:
        tables = [table for table in await _names(connection) if table not in ACCOUNTS]
        if tables:
            names = ", ".join(f'"{table}"' for table in tables)
            await connection.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")


async def _names(connection: asyncpg.Connection) -> list[str]:
    found = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    )
    return [row["tablename"] for row in found]


async def connect(url: str) -> asyncpg.Connection:
    """As ``handshake.open_database``. Raises ``DatabaseAway``."""
    try:
        return await open_database(url, CONNECT_TIMEOUT)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError) as error:
        raise DatabaseAway(_address(url), error) from error


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}"


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(url)
    try:
        yield connection
    finally:
        await connection.close()
