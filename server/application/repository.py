"""What the handlers of all resources have in common: one row in, one row out, pages of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import (
    Column,
    ColumnElement,
    Executable,
    Select,
    bindparam,
    delete,
    insert,
    null,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.pagination import Position, decode, encode
from server.contract.errors import NotFound
from server.contract.payloads.common import Page
from server.contract.payloads.v2 import Sort
from server.persistence.rows import NUMBER, arrays, rows_of

Stored = TypeVar("Stored", bound=BaseModel)


@dataclass(frozen=True)
class Order:
    """A list is sorted by ``column``, whose values are ``value_type``, and then by id."""

    column: ColumnElement[Any]
    value_type: type[object]


class Repository(Generic[Stored]):
    """The rows of one entity, answered as ``stored``. ``noun`` is what an error calls a row.

    ``orders`` are the orders, besides the one by id, in which its pages can be asked for.
    """

    def __init__(
        self,
        entity: type[Any],
        stored: type[Stored],
        noun: str,
        orders: Mapping[str, Order] | None = None,
    ) -> None:
        table = entity.__table__
        self._columns = table.columns
        self._id = table.columns.id
        self._stored = stored
        self._noun = noun
        self._orders = orders or {}
        # Made once: to put a statement together takes longer than to execute it. Which columns are
        # written is said with the values.
        this = self._id == bindparam("row_id")
        self._insert = insert(table).returning(*self._columns)
        self._given = [column for column in table.columns if _is_given(column)]
        given = rows_of(self._given)
        in_order = select(*(given.c[each.name] for each in self._given)).order_by(given.c[NUMBER])
        self._insert_all = (
            insert(table)
            .from_select([column.name for column in self._given], in_order)
            .returning(*self._columns)
        )
        self._select = select(*self._columns).where(this)
        self._update = update(table).where(this).returning(*self._columns)
        self._delete = delete(table).where(this).returning(*self._columns)

    async def add(self, connection: AsyncConnection, values: Mapping[str, Any]) -> Stored:
        return self._stored.model_validate((await connection.execute(self._insert, values)).one())

    async def add_all(
        self, connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]
    ) -> list[Stored]:
        """One statement for all of them; each row has a value for every column that the database
        does not fill in itself. They are answered in the order given: PostgreSQL numbers the rows
        of an INSERT … SELECT … ORDER BY in that order.
        """
        added = await connection.execute(self._insert_all, arrays(self._given, rows))
        return [self._stored.model_validate(row) for row in sorted(added, key=lambda row: row.id)]

    async def get(self, connection: AsyncConnection, row_id: int) -> Stored:
        return await self._the_one(connection, self._select, row_id)

    async def change(
        self, connection: AsyncConnection, row_id: int, values: Mapping[str, Any]
    ) -> Stored:
        return await self._the_one(connection, self._update, row_id, values)

    async def remove(self, connection: AsyncConnection, row_id: int) -> None:
        await self._the_one(connection, self._delete, row_id)

    async def page(
        self,
        connection: AsyncConnection,
        page: Page,
        *conditions: ColumnElement[bool],
        sort: Sort = "id",
    ) -> tuple[list[Stored], str | None]:
        """The page's rows, and the cursor of the page after it.

        By key, not by offset: a page costs the same wherever it is, and rows that are added or
        deleted meanwhile make no other row appear twice or be missed.
        """
        order = self._orders.get(sort.removeprefix("-"))
        statement = self._sorted(sort, order).where(*conditions)
        if page.cursor is not None:
            start = decode(page.cursor, sort, order.value_type if order else type(None))
            statement = statement.where(self._after(start, order))
        # One more than asked for tells whether there is a next page.
        rows = (await connection.execute(statement.limit(page.limit + 1))).all()
        shown = [self._stored.model_validate(row) for row in rows[: page.limit]]
        if len(rows) <= page.limit:
            return shown, None
        last = rows[page.limit - 1]
        return shown, encode(Position(sort=sort, value=last.sorted_by, id=last.id))

    def _sorted(self, sort: Sort, order: Order | None) -> Select[Any]:
        keys = [self._id] if order is None else [order.column, self._id]
        value = (order.column if order else null()).label("sorted_by")
        ways = [key.desc() for key in keys] if sort.startswith("-") else keys
        return select(*self._columns, value).order_by(*ways)

    def _after(self, start: Position, order: Order | None) -> ColumnElement[bool]:
        """Rows behind ``start``: one comparison of rows, which is one range of the index."""
        here: Any = self._id if order is None else tuple_(order.column, self._id)
        there: Any = start.id if order is None else tuple_(start.value, start.id)
        after: ColumnElement[bool] = here < there if start.sort.startswith("-") else here > there
        return after

    async def _the_one(
        self,
        connection: AsyncConnection,
        statement: Executable,
        row_id: int,
        values: Mapping[str, Any] | None = None,
    ) -> Stored:
        parameters = {"row_id": row_id, **(values or {})}
        row = (await connection.execute(statement, parameters)).one_or_none()
        if row is None:
            raise NotFound(f"There is no {self._noun} {row_id}.", {"id": row_id})
        return self._stored.model_validate(row)


def _is_given(column: Column[Any]) -> bool:
    return column.identity is None and column.server_default is None
