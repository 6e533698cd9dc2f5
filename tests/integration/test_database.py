"""Tables are made once, by whichever worker is first, and never changed behind one's back."""

import asyncio

import pytest
from sqlalchemy import text

from server.database import Database, SchemaMismatch
from server.errors import Unavailable
from server.settings import Settings


async def test_workers_that_start_together_make_the_tables_once(settings: Settings) -> None:
    databases = [Database(settings) for _ in range(5)]
    await asyncio.gather(*(database.create_tables() for database in databases))
    for database in databases:
        await database.close()


async def test_a_database_of_another_version_is_refused_with_the_way_out(
    database: Database,
) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("ALTER TABLE users DROP COLUMN role"))
    with pytest.raises(SchemaMismatch, match=r"users\.role.*make down"):
        await database.create_tables()


async def test_a_database_that_is_away_is_unavailable(settings: Settings) -> None:
    nowhere = settings.model_copy(update={"database_url": "postgresql://lab@127.0.0.1:1/lab"})
    database = Database(nowhere)
    with pytest.raises(Unavailable):
        async with database.reading():
            pass
    await database.close()
