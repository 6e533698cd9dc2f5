"""Page 1 and page 1,000 of a million books: do they cost the same?

A page is asked of the application itself, without a transport, 200 times each, taking turns.
"""

import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

from labkit.services import ownership
from labkit.services.home import Home
from labkit.services.private import private_services
from server.application.dispatcher import Dispatcher
from server.contract.envelope import Request
from server.persistence.database import Database
from server.security import authentication
from server.settings import Settings

BOOKS = 1_000_000
PAGE = 100
FAR = 1_000
TIMES = 200
SORTS = ("id", "title", "-year")

FILL = f"""
INSERT INTO books_v2 (title, author_id, genre, year)
SELECT md5(n::text), 1, 'Genre ' || n % 50, 1500 + n % 520 FROM generate_series(1, {BOOKS}) n
"""  # noqa: S608  (a number of ours)


async def main() -> dict[str, float]:
    """For each order: milliseconds of page 1 and page 1,000, and their ratio; medians."""
    with tempfile.TemporaryDirectory() as home:
        try:
            async with private_services(Path(home)) as environment:
                return await _measure(Settings.from_env(environment))
        finally:
            ownership.discard(Home(Path(home)))


async def _measure(settings: Settings) -> dict[str, float]:
    database = Database(settings)
    figures: dict[str, float] = {}
    try:
        await _fill(database, settings)
        dispatcher = Dispatcher(database)
        for sort in SORTS:
            first, last = await _compare(dispatcher, settings.api_key, sort)
            figures[f"page_1_of_a_million_books_by_{sort}_ms"] = first
            figures[f"page_{FAR}_by_{sort}_ms"] = last
        return figures
    finally:
        await database.close()


async def _fill(database: Database, settings: Settings) -> None:
    print(f"  making {BOOKS:,} books …")  # noqa: T201
    await database.create_tables()
    async with database.transaction() as connection:
        await authentication.prepare(connection, settings.api_key)
        await connection.execute(text("INSERT INTO authors (name) VALUES ('Nobody')"))
    # A million rows take longer than a command may take in a server.
    for _ in range(10):
        async with database.transaction() as connection:
            await connection.execute(text(FILL.replace(str(BOOKS), str(BOOKS // 10))))
    async with database.reading() as connection:
        await connection.execute(text("ANALYZE books_v2"))


async def _compare(dispatcher: Dispatcher, key: str, sort: str) -> tuple[float, float]:
    async def page(cursor: str | None) -> tuple[float, str | None]:
        data = {"sort": sort, "limit": PAGE, "cursor": cursor}
        request = Request.model_validate(
            {"id": "1", "version": "v2", "action": "get_books", "data": data, "auth": key}
        )
        start = time.perf_counter()
        reply = await dispatcher.execute(request)
        return (time.perf_counter() - start) * 1000, reply.data["next"]

    print(f"  walking to page {FAR:,}, sorted by {sort} …")  # noqa: T201
    cursor: str | None = None
    for _ in range(FAR - 1):
        _, cursor = await page(cursor)
    near, far = [], []
    for _ in range(TIMES):
        near.append((await page(None))[0])
        far.append((await page(cursor))[0])
    return statistics.median(near), statistics.median(far)
