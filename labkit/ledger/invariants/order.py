"""I10: time goes forwards, for each row: what was acknowledged, or read, is there from then on.

PostgreSQL's lock on a row puts its changes into an order, which is noted. With a given order of the
writes it can be checked in linear time, and nearly so here (a binary search for each read), whether
there is an order of all operations, reads too, which fits what each caller saw (linearizability):
P. B. Gibbons and E. Korach, "Testing Shared Memories", SIAM Journal on Computing 26 (1997); without
that order the question is NP-complete. Rows can be looked at one by one, because linearizability
is local: M. P. Herlihy and J. M. Wing, "Linearizability", ACM TOPLAS 12 (1990).

Each read is put as early as can be: at the first version that it may have seen. So it demands the
least of those that were asked after its answer.
"""

from bisect import bisect_left
from collections import defaultdict

from labkit.ledger.evidence import Change, Row
from labkit.ledger.findings import Findings
from labkit.ledger.reading import Reading, began, listed, readings
from labkit.ledger.run import RowKey, Run
from labkit.ledger.versions import Versions


def order_is_kept(run: Run, found: Findings) -> None:
    """I10."""
    for claim, changes in run.owned.applied.items():
        found.judged += 1
        for change in changes:
            _between_request_and_reply(run, run.done_for_callers(claim), change, found)
    for place, versions in run.rows.items():
        _deleted_stays_deleted(run, place, versions, found)
    for stray in run.owned.strays:
        _nothing_is_undone(run, stray.change, found)
    _reads_go_forwards(run, found)


def _between_request_and_reply(run: Run, done: float, change: Change, found: Findings) -> None:
    operation = run.owner(change)
    if operation is None:
        return
    clock = run.evidence.clocks.database
    if done < clock.earliest(change.noted):
        late = (clock.earliest(change.noted) - done) * 1000
        found.violated(operation, f"answered ok {late:.1f} ms before it was committed: {change}")
    elif clock.latest(change.noted) < began(run, operation):
        found.violated(operation, f"done before it was asked for: {change}")


def _deleted_stays_deleted(run: Run, place: RowKey, versions: Versions, found: Findings) -> None:
    there = versions.states[0] is not None
    for change in versions.changes:
        if change.what == "create" and there:
            table, row_id = place
            found.violated(run.suspect(change), f"row {row_id} of {table} was there before, again")
        there = there or change.what == "create"


def _nothing_is_undone(run: Run, change: Change, found: Findings) -> None:
    """A change that sets a column back, unasked, to what it was before another one."""
    before, after = change.before, change.after
    if change.what != "update" or before is None or after is None:
        return
    versions = run.row(change.table, change.row_id)
    past = versions.changes[: versions.changes.index(change)]
    for other in reversed(past):
        undone = [name for name, value in after.items() if _undoes(name, value, before, other)]
        owner = run.owner(other)
        if undone and owner is not None:
            seen = f"it undid {', '.join(undone)} of row {change.row_id} of {change.table}, "
            found.violated(run.suspect(change), seen + f"which {owner} had set")
            return


def _undoes(name: str, value: object, before: Row, other: Change) -> bool:
    was, became = (other.before or {}).get(name), (other.after or {}).get(name)
    return was != became and before[name] == became and value == was


def _reads_go_forwards(run: Run, found: Findings) -> None:
    all_of_them = [*readings(run)]
    for operation in run.evidence.operations:
        if operation.is_list and operation.outcome == "ok":
            all_of_them += listed(operation)
    seen: defaultdict[RowKey, _Seen] = defaultdict(_Seen)
    for reading in sorted(all_of_them, key=lambda each: each.end):
        place = reading.table, reading.row_id
        versions = run.row(*place)
        found.judged += 1
        least = max(versions.least(reading.start), seen[place].before(reading.start))
        last = versions.between(reading.start, reading.end)[-1]
        version = _first(versions, reading.state, least, last)
        if version is not None:
            seen[place].add(reading.end, version)
        elif (older := _first(versions, reading.state, 0, least - 1)) is not None:
            _missed(run, reading, versions.changes[older], found)


class _Seen:
    """The newest version of a row that was read until each moment."""

    def __init__(self) -> None:
        self._moments: list[float] = []
        self._versions: list[int] = []

    def add(self, moment: float, version: int) -> None:
        """``moment`` is not before the one of the last call."""
        newest = self._versions[-1] if self._versions else 0
        if version > newest or not self._versions:
            self._moments.append(moment)
            self._versions.append(version)

    def before(self, moment: float) -> int:
        """The newest one that was read before this moment."""
        last = bisect_left(self._moments, moment) - 1
        return self._versions[last] if last >= 0 else 0


def _first(versions: Versions, state: Row | None, start: int, end: int) -> int | None:
    """The first version from ``start`` to ``end`` in which the row was like this."""
    return next((n for n in range(start, end + 1) if versions.states[n] == state), None)


def _missed(run: Run, reading: Reading, change: Change, found: Findings) -> None:
    owner = run.owner(change)
    by = f" of {owner}" if owner is not None else ""
    seen = f"it does not see the change{by}, acknowledged or read before it was asked: {change}"
    found.violated(reading.operation, seen)
