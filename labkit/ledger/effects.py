"""What a write does to the database, if it is applied; and whether a change is that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stdnum import isbn
from stdnum.exceptions import ValidationError

from labkit.ledger.evidence import COLUMNS, Change, What, as_json
from labkit.ledger.operations import Operation


@dataclass(frozen=True, slots=True)
class Effect:
    """``values`` are the columns that it sets: of a new row all of them."""

    what: What
    table: str
    row_id: int | None
    """None for a new row, whose id is not known before."""
    values: Mapping[str, Any]

    def made(self, change: Change) -> bool:
        """Whether the change is this effect, and nothing besides."""
        if (change.what, change.table) != (self.what, self.table):
            return False
        if self.what == "create":
            return _columns(change.table, change.after or {}) == self.values
        if change.row_id != self.row_id:
            return False
        return self.what == "delete" or change.after == {**(change.before or {}), **self.values}

    @property
    def name(self) -> str:
        """Equal for equal effects."""
        return str(self)

    def __str__(self) -> str:
        row = "" if self.row_id is None else f" {self.row_id}"
        return f"{self.what} in {self.table}{row} {as_json(self.values)}"


def effect_of(operation: Operation) -> Effect | None:
    """What the operation asks for; None for a read."""
    table = operation.table
    if operation.resource is None or table is None:
        return None
    given = {n: _as_stored(operation.version, n, v) for n, v in operation.data.items()}
    row_id = given.pop("id", None)
    if operation.action.startswith("create"):
        return Effect("create", table, None, _columns(table, given))
    row_id = row_id if isinstance(row_id, int) else -1
    if operation.action.startswith("update"):
        return Effect("update", table, row_id, given)
    return Effect("delete", table, row_id, {})


def _columns(table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """A column that is not named is empty."""
    return {name: row.get(name) for name in COLUMNS[table]}


def _as_stored(version: str, name: str, value: Any) -> Any:
    """Version 2 stores every spelling of an ISBN as the same 13 digits."""
    if (version, name) != ("v2", "isbn") or not isinstance(value, str):
        return value
    try:
        return isbn.to_isbn13(isbn.validate(value))
    except ValidationError:
        return value
