"""Whether a page of a list was true: at one moment, all of its rows, and no others.

A list is one statement, so it sees the whole table as it was at one moment (in PostgreSQL's READ
COMMITTED). Every row, on the page or missing on it, leaves only some of the moments between request
and reply; and one has to be left by all. Only rows that changed meanwhile leave less than all.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from math import inf

from labkit.ledger.evidence import Row, as_json
from labkit.ledger.moments import NEVER, Moments, both, either
from labkit.ledger.operations import Operation
from labkit.ledger.query import Key, Query, Texts
from labkit.ledger.replies import page_said
from labkit.ledger.run import Run
from labkit.ledger.shelves import Shelves

Test = Callable[[Row | None], Moments]

FIRST: tuple[float, float] = (-inf, -inf)


class Pages:
    """All lists of a run. Pages are a chain: the ``next`` of one is the ``cursor`` of another."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._texts = Texts.of(run.evidence)
        self._shelves = Shelves(run)
        self._ends: defaultdict[str, list[tuple[float, Row]]] = defaultdict(list)
        for operation in run.evidence.operations:
            if operation.is_list and operation.outcome == "ok" and operation.answered is not None:
                rows, following = page_said(operation) or ([], None)
                if rows and following is not None:
                    self._ends[following].append((operation.answered, rows[-1]))
        for ends in self._ends.values():
            ends.sort(key=lambda end: end[0])

    def judged(self, operation: Operation) -> str | None:
        """What is wrong with this list; empty if it is right, None if that cannot be known."""
        query, page = Query.of(operation, self._texts), page_said(operation)
        if page is None:
            return "there is no list in its reply"
        try:
            after = self._start(operation, query) if query is not None else None
            if query is None or after is None:
                return None
            return _Page(self._run, self._shelves, query, operation, after, *page).wrong()
        except KeyError:  # a title that PostgreSQL was not asked for: it never was in the table
            return "it has a title that there never was"

    def _start(self, operation: Operation, query: Query) -> Key | tuple[float, float] | None:
        """Where the page before ended, as it was answered; None if that is not known."""
        cursor = operation.data.get("cursor")
        if cursor is None:
            return FIRST
        ends = self._ends.get(str(cursor), [])
        last = bisect_right(ends, operation.asked, key=lambda end: end[0])
        return query.key(ends[last - 1][1]) if last else None


class _Page:
    def __init__(
        self,
        run: Run,
        shelves: Shelves,
        query: Query,
        operation: Operation,
        after: tuple[float, float],
        rows: list[Row],
        following: str | None,
    ) -> None:
        self._run = run
        self._shelves = shelves
        self._query = query
        self._rows = rows
        self._more = following is not None
        self._after = after
        self._end = query.key(rows[-1]) if rows and self._more else (inf, inf)
        self._from, self._to = operation.asked, operation.answered or inf
        self._always: Moments = [(self._from, self._to)]

    def wrong(self) -> str:
        return self._misshapen() or self._untrue()

    def _misshapen(self) -> str:
        count, limit = len(self._rows), self._query.limit
        if count > limit or (self._more and count < limit):
            return f"it has {count} rows, where {limit} were asked for"
        last = self._after
        for row in self._rows:
            key = self._query.key(row)
            if key <= last:
                again = key == last or any(
                    row is not r and row["id"] == r["id"] for r in self._rows
                )
                why = "appears twice" if again else "is not in order"
                return f"row {row['id']} {why}, by {self._query.sort}, on this page and before"
            last = key
        return ""

    def _untrue(self) -> str:
        """Each row in turn leaves some moments, until none is left."""
        moments = self._always
        shown = {row["id"] for row in self._rows}
        for row in self._rows:
            if (moments := both(moments, self._was(row))) == NEVER:
                return f"row {row['id']} was not like this, or not to be found so: {as_json(row)}"
        for row_id in self._shelves.between(self._query, self._after, self._end):
            if row_id in shown:
                continue
            if (moments := both(moments, self._was_not_here(row_id))) == NEVER:
                return f"row {row_id} is missing, though it was there all the time"
        if self._more and both(moments, self._goes_on()) == NEVER:
            return "it says that there are more, and there are none"
        return ""

    def _was(self, row: Row) -> Moments:
        """When the row was like this, and met the filter."""
        return self._when(row["id"], lambda state: self._found(state) if state == row else NEVER)

    def _was_not_here(self, row_id: int) -> Moments:
        """When the row did not belong on the page."""
        return self._when(row_id, self._is_not_here)

    def _is_not_here(self, state: Row | None) -> Moments:
        if state is None or not self._after < self._query.key(state) <= self._end:
            return self._always
        return self._not_found(state)

    def _goes_on(self) -> Moments:
        """When there was a row behind the last one."""
        found: Moments = []
        for row_id in self._shelves.between(self._query, self._end, (inf, inf)):
            found = either([*found, *self._when(row_id, self._is_behind)])
            if found == self._always:
                break
        return found

    def _is_behind(self, state: Row | None) -> Moments:
        if state is None or self._query.key(state) <= self._end:
            return NEVER
        return self._found(state)

    def _found(self, state: Row) -> Moments:
        """When a book like this is found: its author may have had another name meanwhile."""
        if not self._query.fits(state):
            return NEVER
        return self._always if self._query.author is None else self._author(state, has=True)

    def _not_found(self, state: Row) -> Moments:
        if not self._query.fits(state):
            return self._always
        return NEVER if self._query.author is None else self._author(state, has=False)

    def _author(self, book: Row, *, has: bool) -> Moments:
        names = self._query.author or frozenset()
        versions = self._run.row("authors", book["author_id"])

        def named(author: Row | None) -> Moments:
            return self._always if (author is not None and author["name"] in names) == has else []

        return versions.when(self._from, self._to, named)

    def _when(self, row_id: int, test: Test) -> Moments:
        return self._run.row(self._query.table, row_id).when(self._from, self._to, test)
