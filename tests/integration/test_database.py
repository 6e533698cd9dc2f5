"""Tables are made once, by whichever worker is first, and never changed behind one's back."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import text

from server.contract.errors import Unavailable
from server.persistence.database import Database, SchemaMismatch
from server.settings import Settings
from tests.support import BOOK, Caller, at


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


async def test_a_database_that_is_read_only_for_a_while_is_unavailable_for_so_long(
    settings: Settings, database: Database, call: Caller
) -> None:
    """As after a failover: sessions that were opened meanwhile stay read-only."""
    name = urlsplit(settings.database_url).path[1:]
    assert (await call("create_book", BOOK)).outcome == "ok"
    for read_only in ("on", "off"):
        await administer(
            settings,
            f'ALTER DATABASE "{name}" SET default_transaction_read_only = {read_only}',
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid <> pg_backend_pid() AND '{read_only}' = 'on'",
        )
        if read_only == "on":
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await asyncio.gather(*(call("create_book", BOOK) for _ in range(4)))
    replies = await asyncio.gather(*(call("create_book", BOOK) for _ in range(6)))
    assert {reply.outcome for reply in replies} == {"ok"}


async def test_after_one_lost_connection_no_other_of_its_age_is_used(
    settings: Settings, database: Database, dispatcher: object
) -> None:
    """Reads, writes and shared writes have pools of their own: a request that comes again must not
    meet a dead connection in each of them.
    """
    ways = (database.reading, database.transaction, database.sharing_transaction)
    for way in ways:
        async with way() as connection:
            await connection.execute(text("SELECT 1"))
    name = urlsplit(settings.database_url).path[1:]
    await administer(
        settings,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    with pytest.raises(Unavailable):
        async with database.reading() as connection:
            await connection.execute(text("SELECT 1"))
    for way in ways:
        async with way() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_a_connection_goes_to_the_one_that_has_waited_longest(database: Database) -> None:
    """Not to a newcomer that asks in the very moment in which it is given back."""
    waiting = 40
    order: list[int] = []

    async def read(number: int, again: bool) -> None:
        async with database.reading() as connection:
            order.append(number)
            await connection.execute(text("SELECT 1"))
        if again:
            await read(number + 100, again=False)

    async def all_read() -> None:
        await asyncio.gather(*(read(number, again=True) for number in range(waiting)))

    await all_read()  # one that is still being opened keeps the one it was for waiting
    order.clear()
    await all_read()
    assert sorted(order[:waiting]) == list(range(waiting))


async def administer(settings: Settings, *statements: str) -> None:
    admin = await asyncpg.connect(at(settings.database_url, "postgres"))
    try:
        for statement in statements:
            await admin.execute(statement)
    finally:
        await admin.close()
