"""The rows of each table, sorted as lists are: so a page is judged by the rows near it alone."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from labkit.ledger.query import Key, Query
from labkit.ledger.run import Run

Shelf = list[tuple[Key, int]]
"""Key and id of every version that a row had."""

SortKey = tuple[float, float]


class Shelves:
    """Each is made when it is first asked for: one for each order, and each author or genre."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._shelves: dict[tuple[str, str, str], dict[Any, Shelf]] = {}

    def between(self, query: Query, after: SortKey, end: SortKey) -> Iterator[int]:
        """Ids of those rows that ever were behind ``after`` and up to ``end``, at some time."""
        shelf = self._of(query)
        seen: set[int] = set()
        for position in range(bisect_right(shelf, after, key=_key), len(shelf)):
            key, row_id = shelf[position]
            if key > end:
                return
            if row_id not in seen:
                seen.add(row_id)
                yield row_id

    def _of(self, query: Query) -> Shelf:
        column = next(iter(query.equal), "")
        name = query.table, query.sort, column
        if name not in self._shelves:
            self._shelves[name] = self._sorted(query, column)
        return self._shelves[name].get(query.equal.get(column), [])

    def _sorted(self, query: Query, column: str) -> dict[Any, Shelf]:
        found: dict[Any, set[tuple[Key, int]]] = {}
        for row_id, versions in self._run.of_table(query.table):
            for state in versions.states:
                if state is not None:
                    value = state[column] if column else None
                    found.setdefault(value, set()).add((query.key(state), row_id))
        return {value: sorted(keys) for value, keys in found.items()}


def _key(entry: tuple[Key, int]) -> Key:
    return entry[0]
