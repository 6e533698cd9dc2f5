"""Page 1 and page 1,000 of a million books: do they cost the same?

A page is asked of the application itself, without a transport, 200 times each, taking turns.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import text

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


async def main() -> pd.DataFrame:
    """Milliseconds per page: one row for each order, the median of both pages and their ratio."""
    with tempfile.TemporaryDirectory() as home:
        async with private_services(Path(home)) as environment:
            rows = await _rows(Settings.from_env(environment))
    columns = ["sorted by", "page 1 (ms)", f"page {FAR:,} (ms)", "ratio"]
    return pd.DataFrame(rows, columns=columns).set_index("sorted by")


async def _rows(settings: Settings) -> list[tuple[object, ...]]:
    database = Database(settings)
    try:
        await _fill(database, settings)
        dispatcher = Dispatcher(database)
        return [await _compare(dispatcher, settings.api_key, sort) for sort in SORTS]
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


async def _compare(dispatcher: Dispatcher, key: str, sort: str) -> tuple[Any, ...]:
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
    first, last = statistics.median(near), statistics.median(far)
    return sort, round(first, 2), round(last, 2), round(last / first, 2)


if __name__ == "__main__":
    print(asyncio.run(main()).to_string())  # noqa: T201
