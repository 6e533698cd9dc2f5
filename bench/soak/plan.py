"""What one client of the soak will ask for: decided by the seed alone, before anything is answered.

So a soak can be repeated as far as real processes allow. A row's id is the database's, and is known
only once its creation was answered; until then the plan names it by the call that creates it.
"""

import itertools
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from labkit.faults.messages import POISONS

PER_SECOND = 25.0
"""Calls that one client begins in a second, on average."""
TIMEOUTS = (1.0, 5.0, 30.0, 30.0)
"""Seconds that callers wait: some give up soon, some wait for a broker that is being restarted."""
TURNS_THE_PAGE = 0.5
"""Part of the lists that have a page after this one."""
DUPLICATES, POISON = 0.10, 0.02
"""Parts of all calls."""
ASKS_AGAIN = 0.5
"""Part of the deleted rows that are asked for afterwards."""
REMEMBERED = 500
"""Rows of a kind that a client may still change, read or delete; older ones it forgets."""

CREATE, UPDATE, DELETE, GET, LIST = 35, 25, 10, 20, 10
"""How often, of a hundred times."""


@dataclass(frozen=True)
class Made:
    """The id of the row that the call with this number makes."""

    by: int


@dataclass(frozen=True)
class Ask:
    """One thing to be done. ``data`` may hold a ``Made`` where the server takes an id."""

    action: str
    version: str
    data: dict[str, Any]
    key: str | None = None
    pages: int = 1
    """Of a list, at most."""


class Twice(Enum):
    """How a request is sent a second time, over another connection."""

    AT_ONCE = "at once"
    AFTERWARDS = "afterwards"


@dataclass(frozen=True)
class Planned:
    """One call: what ``ask`` says, or a message that cannot be worked on, of the kind ``poison``.

    It begins ``pause`` seconds after the one before.
    """

    number: int
    pause: float
    ask: Ask | None
    poison: str | None
    patience: float
    """Seconds."""
    twice: Twice | None
    other: int
    """The client over whose connection it is sent the second time."""


class Plan:
    """An endless sequence of calls, as an iterator. ``name`` is in every key and title."""

    def __init__(self, name: str, clients: int) -> None:
        self._name = name
        self._clients = clients
        self._dice = random.Random(name)  # noqa: S311  (no secret is made with it)
        self._rows: dict[str, deque[int]] = {
            kind: deque(maxlen=REMEMBERED) for kind in ("v1 book", "v2 book", "v2 author")
        }
        """By the numbers of the calls that make them."""

    def __iter__(self) -> Iterator[Planned]:
        for number in itertools.count(1):
            luck = self._dice.random()
            is_poison, is_sent_twice = luck < POISON, POISON <= luck < POISON + DUPLICATES
            yield Planned(
                number=number,
                pause=self._dice.expovariate(PER_SECOND),
                ask=None if is_poison else self._ask(number),
                poison=self._dice.choice(list(POISONS)) if is_poison else None,
                patience=self._dice.choice(TIMEOUTS),
                twice=self._dice.choice(list(Twice)) if is_sent_twice else None,
                other=self._dice.randrange(self._clients),
            )

    def _ask(self, number: int) -> Ask:
        kind = self._dice.choice(list(self._rows))
        if kind == "v2 book" and not self._rows["v2 author"]:
            kind = "v2 author"  # who writes the book has to be there first
        if not self._rows[kind]:
            return self._create(kind, number)
        verbs = [self._create, self._update, self._delete, self._get, self._list]
        verb = self._dice.choices(verbs, [CREATE, UPDATE, DELETE, GET, LIST])[0]
        return verb(kind, number)

    def _create(self, kind: str, number: int) -> Ask:
        version, noun = kind.split()
        name = self._title(number)
        data: dict[str, Any] = {"title": name, "author": "George Orwell"}
        if kind == "v2 book":
            data = {"title": name, "author_id": self._made("v2 author")}
        elif kind == "v2 author":
            data = {"name": name, "country": "UK"}
        self._rows[kind].append(number)
        return Ask(f"create_{noun}", version, data, key=name)

    def _update(self, kind: str, number: int) -> Ask:
        version, noun = kind.split()
        name = self._title(number)
        data = {"id": self._made(kind), "name" if noun == "author" else "title": name}
        return Ask(f"update_{noun}", version, data, key=name)

    def _delete(self, kind: str, number: int) -> Ask:
        version, noun = kind.split()
        row = self._dice.choice(self._rows[kind])
        if self._dice.random() > ASKS_AGAIN:
            self._rows[kind].remove(row)
        return Ask(f"delete_{noun}", version, {"id": Made(row)}, key=self._title(number))

    def _get(self, kind: str, number: int) -> Ask:
        version, noun = kind.split()
        return Ask(f"get_{noun}", version, {"id": self._made(kind)})

    def _list(self, kind: str, number: int) -> Ask:
        version, noun = kind.split()
        data: dict[str, Any] = {"limit": 10}
        if kind == "v2 book":
            author = {"author_id": self._made("v2 author")}
            data |= self._dice.choice([{}, {"sort": "-id"}, {"sort": "title"}, author])
        pages = next(n for n in itertools.count(1) if self._dice.random() > TURNS_THE_PAGE)
        return Ask(f"get_{noun}s", version, data, pages=pages)

    def _made(self, kind: str) -> Made | None:
        known = self._rows[kind]
        return Made(self._dice.choice(known)) if known else None

    def _title(self, number: int) -> str:
        return f"{self._name} {number}"
