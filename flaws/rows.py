"""Rows of the library, without handlers: what flawed servers reach for behind their own backs."""

from typing import Any

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract.envelope import Request
from server.persistence.models import Base

TABLES = {("v1", "book"): "books_v1", ("v2", "book"): "books_v2", ("v2", "author"): "authors"}

Row = dict[str, Any]


def table_of(request: Request) -> Table:
    """What the request is about."""
    noun = request.action.partition("_")[2].removesuffix("s")
    return Base.metadata.tables[TABLES[request.version, noun]]


def values(request: Request) -> Row:
    """The columns that it sets."""
    return {name: value for name, value in request.data.items() if name != "id"}


async def get(connection: AsyncConnection, table: Table, row_id: int) -> Row | None:
    found = (await connection.execute(select(table).where(table.c.id == row_id))).one_or_none()
    return None if found is None else dict(found._mapping)


async def add(connection: AsyncConnection, table: Table, row: Row) -> Row:
    added = await connection.execute(insert(table).values(row).returning(table))
    return dict(added.one()._mapping)


async def change(connection: AsyncConnection, table: Table, row_id: int, row: Row) -> None:
    await connection.execute(update(table).where(table.c.id == row_id).values(row))


async def remove(connection: AsyncConnection, table: Table, row_id: int) -> None:
    await connection.execute(delete(table).where(table.c.id == row_id))


async def another(connection: AsyncConnection, table: Table, row_id: int) -> int:
    """The id of the newest row but for this one; 0 if there is none."""
    newest = select(func.max(table.c.id)).where(table.c.id != row_id)
    return (await connection.execute(newest)).scalar_one() or 0


def answered(row: Row) -> Row:
    """As JSON has it."""
    return row | {"created_at": row["created_at"].isoformat()}
