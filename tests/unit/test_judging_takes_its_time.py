"""A verdict takes as long as there are operations: ten times as many, about ten times as long."""

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from labkit.ledger import Evidence, Operation, judge
from labkit.ledger.evidence import Change, LogLine, Row
from tests.unit.runs import (
    asked,
    changed,
    delete,
    evidence,
    listed,
    made,
    read,
    row,
    update,
)

PACE = 0.01
"""Seconds from one operation to the next: each lasts for five of them."""
LIMIT = 10


class Library:
    """A right server, and clients that ask for everything at once, at random."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._books: dict[int, Row] = {}
        self._changes: list[Change] = []
        self._now = 100.0

    def run(self, count: int) -> Evidence:
        operations = [self._one(number) for number in range(count)]
        lines = [LogLine(o.id, 1, "ok", "worker-1", o.answered, 0.01) for o in operations]
        # Each change is that of the write with its number: in this order they were made.
        return evidence(*operations, changes=self._changes, lines=lines)

    def _one(self, number: int) -> Operation:
        self._now += PACE
        verbs = [self._create, self._update, self._get, self._list, self._delete]
        verb = self._dice.choices(verbs, [35, 25, 20, 10, 10])[0] if self._books else self._create
        operation = next(verb(f"op {number}"))
        began, ended = self._now - 2 * PACE, self._now + 3 * PACE
        return replace(operation, id=f"op {number}", asked=began, answered=ended)

    def _create(self, name: str) -> Iterator[Operation]:
        book = row(len(self._changes) + 1, name)
        self._books[book["id"]] = book
        self._changes.append(made(book, len(self._changes) + 1, self._now))
        said = asked(name, name, key=name)
        yield replace(
            said, answer=said.answer and said.answer.replace('"id":1', f'"id":{book["id"]}')
        )

    def _update(self, name: str) -> Iterator[Operation]:
        before = self._pick()
        after = before | {"year": self._dice.randrange(1000, 2000)}
        self._change(before, after)
        yield update(name, {"year": after["year"]}, after)

    def _delete(self, name: str) -> Iterator[Operation]:
        before = self._pick()
        self._change(before, None)
        yield delete(name, before["id"])

    def _get(self, name: str) -> Iterator[Operation]:
        book = self._pick()
        yield replace(read(book, 0, 0), data={"id": book["id"]})

    def _list(self, name: str) -> Iterator[Operation]:
        *books, last = islice(self._books.values(), LIMIT + 1)
        if len(books) < LIMIT:
            yield listed([*books, last], 0, 0, data={"limit": LIMIT})
        else:
            yield listed(books, 0, 0, data={"limit": LIMIT}, following=f"after {books[-1]['id']}")

    def _pick(self) -> Row:
        return self._books[next(n for n in iter(self._any_recent, None) if n in self._books)]

    def _any_recent(self) -> int:
        """The id of a book that may be there."""
        return self._dice.randint(max(1, len(self._changes) - 500), len(self._changes))

    def _change(self, before: Row, after: Row | None) -> None:
        self._changes.append(changed(before, after, len(self._changes) + 1, self._now))
        if after is None:
            del self._books[before["id"]]
        else:
            self._books[before["id"]] = after


def seconds(count: int) -> float:
    run = Library(seed=1).run(count)
    began = time.process_time()
    verdict = judge(run)
    took = time.process_time() - began
    assert verdict.ok, verdict
    assert all(verdict.judged[name] > count / 4 for name in ("I1", "I2", "I8", "I9", "I10"))
    return took


def test_ten_times_as_many_operations_take_about_ten_times_as_long() -> None:
    # In turns, and the best of each: what else the machine does slows one turn, and not all.
    turns = [(seconds(400), seconds(4000)) for _ in range(2)]
    few, many = map(min, zip(*turns, strict=True))
    assert many < 25 * few
