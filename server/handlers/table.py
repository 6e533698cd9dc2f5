"""What the handlers of all resources have in common: one row in, one row out."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract import Page
from server.errors import NotFound
from server.handlers.cursor import after, position

Stored = TypeVar("Stored", bound=BaseModel)


class Table(Generic[Stored]):
    """The rows of one entity, answered as ``stored``. ``noun`` is what an error calls a row."""

    def __init__(self, entity: type[Any], stored: type[Stored], noun: str) -> None:
        self.entity = entity
        self._columns = entity.__table__.columns
        self._stored = stored
        self._noun = noun

    async def add(self, connection: AsyncConnection, values: Mapping[str, Any]) -> Stored:
        statement = insert(self.entity).values(**values).returning(*self._columns)
        return self._stored.model_validate((await connection.execute(statement)).one())

    async def get(self, connection: AsyncConnection, row_id: int) -> Stored:
        statement = select(*self._columns).where(self.entity.id == row_id)
        return await self._the_one(connection, statement, row_id)

    async def change(
        self, connection: AsyncConnection, row_id: int, values: Mapping[str, Any]
    ) -> Stored:
        which = update(self.entity).where(self.entity.id == row_id)
        return await self._the_one(
            connection, which.values(**values).returning(*self._columns), row_id
        )

    async def remove(self, connection: AsyncConnection, row_id: int) -> None:
        statement = delete(self.entity).where(self.entity.id == row_id)
        await self._the_one(connection, statement.returning(*self._columns), row_id)

    def all(self) -> Select[Any]:
        return select(*self._columns)

    async def page(
        self, connection: AsyncConnection, chosen: Select[Any], page: Page
    ) -> tuple[list[Stored], str | None]:
        """The page's rows in the order of their ids, and the cursor of the page after it.

        By key, not by offset: a page costs the same wherever it is, and rows that are added or
        deleted meanwhile make no other row appear twice or be missed.
        """
        statement = (
            chosen.where(self.entity.id > position(page.cursor))
            .order_by(self.entity.id)
            .limit(page.limit + 1)  # one more than asked for tells whether there is a next page
        )
        rows = (await connection.execute(statement)).all()
        shown = [self._stored.model_validate(row) for row in rows[: page.limit]]
        return shown, after(rows[page.limit - 1].id) if len(rows) > page.limit else None

    async def _the_one(self, connection: AsyncConnection, statement: Any, row_id: int) -> Stored:
        row = (await connection.execute(statement)).one_or_none()
        if row is None:
            raise NotFound(f"There is no {self._noun} {row_id}.", {"id": row_id})
        return self._stored.model_validate(row)
