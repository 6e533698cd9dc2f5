"""Any number of rows as the input of one statement."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import TableValuedAlias, bindparam, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import KeyedColumnElement

NUMBER = "number"
"""The column that numbers the rows given, from 1."""


def rows_of(columns: Iterable[KeyedColumnElement[Any]]) -> TableValuedAlias:
    """Rows with these columns, and their ``NUMBER``, from one array for each column.

    So one statement fits any number of rows, and is put together once: SQLAlchemy would compile a
    list of ``VALUES`` again for every request, which takes longer than to execute it.
    """
    columns = list(columns)
    given = (bindparam(f"all_{column.name}", type_=ARRAY(column.type)) for column in columns)
    names = [column.name for column in columns]
    return (
        func.unnest(*given)
        .table_valued(*names, with_ordinality=NUMBER)
        .render_derived(name="given")
    )


def arrays(
    columns: Iterable[KeyedColumnElement[Any]], rows: Iterable[Mapping[str, Any]]
) -> dict[str, list[Any]]:
    """The parameters of ``rows_of``; a row has a value for each of the columns."""
    rows = list(rows)
    return {f"all_{column.name}": [row[column.name] for row in rows] for column in columns}
