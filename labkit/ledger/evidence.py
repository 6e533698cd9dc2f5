"""Everything that a verdict is made of: plain values, which a test can falsify and a file keep."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from labkit.ledger.clocks import OtherClocks
from labkit.ledger.operations import EffectKey, Operation
from labkit.ledger.others import Others
from server.contract.log_events import RETRY_SCHEDULED

What = Literal["create", "update", "delete", "truncate"]

COLUMNS = {
    "books_v1": ("title", "author", "year", "isbn"),
    "books_v2": ("title", "author_id", "genre", "year", "isbn"),
    "authors": ("name", "birth_year", "country"),
}
"""What a request can set. A row has an id and the time when it was made, too."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change of one row, as PostgreSQL noted it in the same transaction."""

    number: int
    """The changes of a row are in this order: its lock made them come one after the other."""
    transaction: str
    what: What
    table: str
    row_id: int
    before: Row | None = None
    after: Row | None = None
    noted: float = 0.0
    """Seconds since 1970 by PostgreSQL's clock, right before the commit: it was not to be seen
    earlier.
    """

    def __str__(self) -> str:
        state = f" {as_json(self.after)}" if self.after is not None else ""
        return f"{self.what} in {self.table} {self.row_id}{state}"


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a worker logged of one delivery of a request, after its reply."""

    id: str
    attempt: int
    outcome: str
    worker: str = field(default="", compare=False)
    at: float | None = field(default=None, compare=False)
    """Seconds since 1970, by the worker's clock."""
    took: float = field(default=0.0, compare=False)
    """Seconds from the delivery to the reply."""

    @property
    def final(self) -> bool:
        """Whether the worker sent a reply; else it only set the request aside for later."""
        return self.outcome != RETRY_SCHEDULED

    @property
    def parks(self) -> bool:
        """Whether the worker says that it put the request into the dead letter queue."""
        return self.outcome in ("unavailable", "internal", "malformed")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter; ``attempts`` are those that its headers tell of."""

    id: str
    reason: str
    attempts: int
    asked_as: str = ""
    """AMQP's own id of the request, which an unreadable body does not hide."""


@dataclass(frozen=True, slots=True)
class Removal:
    """An operator took letters out of the dead letter queue: the one of this ``id``, or ``count``
    of them which were not looked at.
    """

    id: str | None
    how: str
    at: float
    request: Mapping[str, Any] | None = None
    """What was sent in the letter's place, if it was edited."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class FaultPeriod:
    """One fault, from when it began until it was healed; seconds since 1970."""

    fault: str
    began: float
    healed: float | None


@dataclass(frozen=True)
class Evidence:
    """One run, as it was seen from outside when its queues had been given time to drain."""

    operations: list[Operation]
    changes: list[Change] = field(default_factory=list)
    """By number."""
    claimed: list[tuple[str, EffectKey]] = field(default_factory=list)
    """Transaction and claim: which request each transaction says that it is for."""
    begun: dict[str, list[Row]] = field(default_factory=dict)
    """Table → its rows when the run began."""
    ended: dict[str, list[Row]] | None = None
    """The same at its end; None if that was not looked at."""
    stored: list[tuple[EffectKey, str]] = field(default_factory=list)
    """The replies that the server has stored, ``[data, error]`` as JSON."""
    others: Others = field(default_factory=Others)
    """Who else may have changed something."""
    lines: list[LogLine] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)
    queued: dict[str, int] = field(default_factory=dict)
    """Requests that were still in a queue, or in a worker's hands, after the draining."""
    dropped: list[str] = field(default_factory=list)
    """Ids of requests that a fault took away on purpose."""
    faults: list[FaultPeriod] = field(default_factory=list)
    earlier: list[FaultPeriod] = field(default_factory=list)
    """Those that were healed shortly before the run began."""
    titles: list[str] = field(default_factory=list)
    """Every title, in the order of the database's collation."""
    words: dict[str, list[str]] = field(default_factory=dict)
    """Words of a filter → the titles and names which have them all, by PostgreSQL."""
    until: float = 0.0
    """When the last was seen; seconds since 1970."""
    clocks: OtherClocks = field(default_factory=OtherClocks)
    """Those of PostgreSQL and of the workers; all other times are by the run's own."""
    max_attempts: int = 4
    delivery_limit: int = 5
    waits: int = 0
    """How often one attempt may be put off, because others that want the same are before it."""


def row_of(table: str, document: Mapping[str, Any]) -> Row:
    """A row, from PostgreSQL or from a reply, such that equal rows are equal."""
    row = {name: document.get(name) for name in ("id", *COLUMNS[table])}
    return row | {"created_at": _moment(document.get("created_at"))}


def _moment(text: Any) -> Any:
    """One spelling for each moment."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except (TypeError, ValueError):
        return text


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
