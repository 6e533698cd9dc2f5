"""What was asked, and what was answered: one record for each call of a watched client."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from server.contract.credentials import SECRET_FIELDS
from server.contract.envelope import BY_REQUEST_ID
from server.contract.errors import ApiError, from_wire

Outcome = Literal["ok", "refused", "unknown"]
"""``refused`` is a definite error: this request surely had no effect. ``unknown`` is all else."""

WAITING, CANCELLED, NO_REPLY = "waiting", "cancelled", "no reply"
"""Codes of what has no answer yet, what its caller gave up, and what no answer is known of."""

RESOURCES = {
    ("v1", "book"): "book_v1",
    ("v2", "book"): "book_v2",
    ("v2", "author"): "author_v2",
}
"""What a write is about, by version and noun: the scope of its idempotency key."""

TABLES = {
    ("v1", "book"): "books_v1",
    ("v2", "book"): "books_v2",
    ("v2", "author"): "authors",
}
GETS = ("get_book", "get_author")
LISTS = ("get_books", "get_authors")

POISON = "poison"
"""The action of a message that cannot be read: it has to end in the dead letter queue."""

PARKED = "parked"
"""The code of poison that is in the dead letter queue: what has to become of it."""


@dataclass(frozen=True, slots=True)
class EffectKey:
    """What an effect may happen once for: whose it is, the scope, and the key or the id."""

    user: str
    scope: str
    key: str

    @property
    def is_by_id(self) -> bool:
        """A write without a key is claimed by its request's id."""
        return self.scope == BY_REQUEST_ID

    def __str__(self) -> str:
        return f"id {self.key}" if self.is_by_id else f"key {self.key} ({self.scope})"


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of a client, under one id; times in seconds since 1970."""

    id: str
    action: str
    version: str
    data: Mapping[str, Any]
    """Without secrets."""
    key: str | None = None
    user: str = ""
    """Who asked: equal names are the same user."""
    transport: str = "amqp"
    asked: float = 0.0
    deadline: float | None = None
    """Until when its caller was going to wait; None if that is not known."""
    answered: float | None = None
    """When its call ended, in whatever way."""
    outcome: Outcome = "unknown"
    code: str | None = WAITING
    """Of the error; None if it was answered ok."""
    replied: bool = False
    """Whether a reply of the server came, be it ok or an error."""
    replayed: bool = False
    parked: bool = False
    """The reply says that the request is in the dead letter queue."""
    answer: str | None = None
    """The reply's body but for its correlation id. None without a reply."""
    row_id: int | None = None
    """Of the row that the reply to a write tells of."""
    accepted: bool = False
    """The broker confirmed it, or it was answered: from then on it must not get lost."""
    sent: int = 0
    """How often the client published it."""
    client: int = 0
    """Equal numbers are the same client, and the same reply queue."""
    steady: bool = False
    """Whether the client had the same connection from the call's beginning to its end."""

    @property
    def noun(self) -> str:
        """``book`` or ``author``; a list's too."""
        return self.action.partition("_")[2].removesuffix("s")

    @property
    def table(self) -> str | None:
        """What it reads or writes; None for ``ping``, say."""
        return TABLES.get((self.version, self.noun))

    @property
    def is_poison(self) -> bool:
        return self.action == POISON

    @property
    def is_list(self) -> bool:
        return self.action in LISTS and self.table is not None

    @property
    def is_get(self) -> bool:
        return self.action in GETS and self.table is not None

    @property
    def resource(self) -> str | None:
        """What is written; None for a read."""
        verb, _, noun = self.action.partition("_")
        return RESOURCES.get((self.version, noun)) if verb in VERBS else None

    @property
    def claim(self) -> EffectKey | None:
        """What its effect may happen once for; None for a read."""
        if self.resource is None:
            return None
        if self.key is None:
            return EffectKey(self.user, BY_REQUEST_ID, self.id)
        return EffectKey(self.user, self.resource, self.key)

    def __str__(self) -> str:
        key = f", key {self.key}" if self.key else ""
        said = self.outcome if self.code is None else f"{self.outcome}: {self.code}"
        return f"{self.version} {self.action} {self.id}{key} → {said}"


VERBS = ("create", "update", "delete")


def judged(error: Mapping[str, Any] | None) -> tuple[Outcome, str | None]:
    """The outcome and the code that a reply with this error stands for."""
    if error is None:
        return "ok", None
    kind = from_wire(dict(error))
    return ("refused" if kind.is_definite else "unknown"), str(error["code"])


def failed(error: BaseException) -> tuple[Outcome, str | None]:
    """The same for what a call raised in place of a reply."""
    if isinstance(error, ApiError):
        return ("refused" if error.is_definite else "unknown"), error.code
    if isinstance(error, ValueError):  # the client found it before anything was sent
        return "refused", "not_sent"
    if isinstance(error, Exception):
        return "unknown", type(error).__name__
    return "unknown", CANCELLED


def without_secrets(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in SECRET_FIELDS}


def essence(body: bytes) -> str:
    """Status, data and error of a reply's body, byte for byte; without its correlation id.

    Inside of a JSON string a quote is escaped, so the first ``,"status":`` is the field. A server
    that is not ours may write its fields in another order, or with blanks between: then it is all
    of them but that id.
    """
    _, mark, rest = body.partition(b',"status":')
    if mark:
        return (mark + rest).decode("utf-8", "replace")
    try:
        document = json.loads(body)
        fields = {name: value for name, value in document.items() if name != "correlation_id"}
    except (ValueError, AttributeError):
        return body.decode("utf-8", "replace")
    return "," + json.dumps(fields, ensure_ascii=False).removeprefix("{")


def tally(operations: Iterable[Operation]) -> str:
    """How many ended how, in words."""
    outcomes = Counter(operation.outcome for operation in operations)
    names: tuple[Outcome, ...] = ("ok", "refused", "unknown")
    return ", ".join(f"{outcomes[name]} {name}" for name in names if outcomes[name]) or "none"
