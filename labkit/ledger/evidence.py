"""Everything that a verdict is made of: plain values, which a test can falsify and a file keep."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stdnum import isbn
from stdnum.exceptions import ValidationError

from labkit.ledger.operations import Claim, Operation

What = Literal["create", "update", "delete"]

TABLES = {"book_v1": "books_v1", "book_v2": "books_v2", "author_v2": "authors"}
COLUMNS = {
    "books_v1": ("title", "author", "year", "isbn"),
    "books_v2": ("title", "author_id", "genre", "year", "isbn"),
    "authors": ("name", "birth_year", "country"),
}


@dataclass(frozen=True)
class Effect:
    """What a write does to the database, if it is applied."""

    what: What
    table: str
    row_id: int | None
    """None for a new row, whose id nobody knows before."""
    values: str
    """The columns that it sets, as JSON."""

    def __str__(self) -> str:
        row = "" if self.row_id is None else f" {self.row_id}"
        return f"{self.what} in {self.table}{row} {self.values}"


@dataclass(frozen=True)
class Change:
    """One committed change of one row, as PostgreSQL noted it in the same transaction."""

    effect: Effect
    row_id: int


@dataclass(frozen=True)
class Line:
    """What a worker logged of one delivery of a request."""

    id: str
    attempt: int
    outcome: str

    @property
    def final(self) -> bool:
        """Whether the worker sent a reply; else it only set the request aside for later."""
        return self.outcome != "tried again later"


@dataclass(frozen=True)
class Letter:
    """One dead letter; ``attempts`` are those that its headers tell of."""

    id: str
    reason: str
    attempts: int


@dataclass(frozen=True)
class Outage:
    """One fault, from when it began until it was healed; seconds since 1970."""

    fault: str
    began: float
    healed: float | None


@dataclass(frozen=True)
class Evidence:
    """One run, as it was seen from outside when its queues had been given time to drain."""

    operations: list[Operation]
    changes: list[Change] = field(default_factory=list)
    stored: list[tuple[Claim, str]] = field(default_factory=list)
    """The replies that the server has stored, ``[data, error]`` as JSON."""
    lines: list[Line] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    queued: dict[str, int] = field(default_factory=dict)
    """Requests that were still in a queue, or in a worker's hands, after the draining."""
    dropped: list[str] = field(default_factory=list)
    """Ids of requests that a fault took away on purpose."""
    outages: list[Outage] = field(default_factory=list)
    until: float = 0.0
    """When the last was seen; seconds since 1970."""
    max_attempts: int = 4
    delivery_limit: int = 5


def effect_of(operation: Operation) -> Effect | None:
    """What the operation asks for; None for a read."""
    if operation.resource is None:
        return None
    table = TABLES[operation.resource]
    given = {n: _as_stored(operation.version, n, v) for n, v in operation.data.items()}
    if operation.action.startswith("create"):
        return inserted(table, given)
    row_id = given.pop("id", None)
    row_id = row_id if isinstance(row_id, int) else -1
    if operation.action.startswith("update"):
        return updated(table, row_id, given)
    return deleted(table, row_id)


def inserted(table: str, row: Mapping[str, Any]) -> Effect:
    """A new row with these values; a column that is not named is empty."""
    return Effect("create", table, None, _json({n: row.get(n) for n in COLUMNS[table]}))


def updated(table: str, row_id: int, changes: Mapping[str, Any]) -> Effect:
    return Effect("update", table, row_id, _json(changes))


def deleted(table: str, row_id: int) -> Effect:
    return Effect("delete", table, row_id, "{}")


def _as_stored(version: str, name: str, value: Any) -> Any:
    """Version 2 stores every spelling of an ISBN as the same 13 digits."""
    if (version, name) != ("v2", "isbn") or not isinstance(value, str):
        return value
    try:
        return isbn.to_isbn13(isbn.validate(value))
    except ValidationError:
        return value


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def by_effect(operations: Iterable[Operation]) -> dict[Effect, list[Operation]]:
    """The writes; those that ask for the very same effect are together."""
    grouped: defaultdict[Effect, list[Operation]] = defaultdict(list)
    for operation in operations:
        effect = effect_of(operation)
        if effect is not None:
            grouped[effect].append(operation)
    return dict(grouped)


def by_claim(operations: Iterable[Operation]) -> dict[Claim, list[Operation]]:
    """The writes; those with the same key, or the same id, are together."""
    grouped: defaultdict[Claim, list[Operation]] = defaultdict(list)
    for operation in operations:
        claim = operation.claim
        if claim is not None:
            grouped[claim].append(operation)
    return dict(grouped)


def counted(changes: Iterable[Change]) -> Counter[Effect]:
    """How often each effect is there."""
    return Counter(change.effect for change in changes)
