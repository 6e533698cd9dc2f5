"""The states that one row had, one after the other, and when each of them may have been seen.

A version begins with a commit, whose moment lies between the one when PostgreSQL noted the change,
right before it, and the first at which it was reported as done. What is read within that time may
be the version or the one before.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from math import inf

from labkit.ledger.evidence import Change, Row
from labkit.ledger.moments import Moments, either

Times = dict[str, float]
"""Transaction → seconds since 1970."""


class Versions:
    """``changes`` are those of one row, in PostgreSQL's order; ``states[n]`` is what the row was
    after n of them, None where there was no row.
    """

    def __init__(
        self, first: Row | None, changes: list[Change], noted: Times, noted_by: Times, known: Times
    ) -> None:
        """``noted`` to ``noted_by`` is before each transaction's commit, ``known`` when it was
        surely over.
        """
        self.changes = changes
        self.states = [first, *(change.after for change in changes)]
        begins = (noted[change.transaction] for change in changes)
        self._begins = [-inf, *accumulate(begins, max)]
        # The next change had to wait for this one's commit, so it was over by then.
        begun_by = [*accumulate((noted_by[change.transaction] for change in changes), max)]
        following = [*begun_by[1:], inf]
        over = [min(known[c.transaction], following[n]) for n, c in enumerate(changes)]
        over = [max(end, begin) for end, begin in zip(over, self._begins[1:], strict=True)]
        self._known = [-inf, *list(accumulate(over[::-1], min))[::-1]]

    def between(self, start: float, end: float) -> range:
        """The versions that a read between these moments may have seen."""
        return range(self.least(start), bisect_right(self._begins, end))

    def least(self, moment: float) -> int:
        """The version that was surely there before this moment."""
        return bisect_left(self._known, moment) - 1

    def when(self, start: float, end: float, test: Callable[[Row | None], Moments]) -> Moments:
        """The moments between these two at which the row may have been as ``test`` demands, which
        says for each state at what times that one would do.
        """
        seen = self.between(start, end)
        if len(seen) == 1:
            return test(self.states[seen[0]])
        return either(list(self._pieces(seen, start, end, test)))

    def _pieces(
        self, seen: range, start: float, end: float, test: Callable[[Row | None], Moments]
    ) -> Iterator[tuple[float, float]]:
        for n in seen:
            since = max(start, self._begins[n])
            until = min(end, self._known[n + 1]) if n + 1 < len(self._known) else end
            for one, other in test(self.states[n]):
                if max(one, since) <= min(other, until):
                    yield max(one, since), min(other, until)
