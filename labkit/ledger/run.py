"""A run, looked at in the ways that its judges need: each is worked out once."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from math import inf

from labkit.ledger.evidence import Change, Evidence, LogLine, Row
from labkit.ledger.operations import EffectKey, Operation
from labkit.ledger.owners import Names, Owned, by_claim, owned
from labkit.ledger.versions import Times, Versions

RowKey = tuple[str, int]
"""Table and id of a row."""

AROUND = 64
"""Operations that ended before or after a change, among which the one to blame is looked for."""


class Run:
    """Cheap to make; what is asked for is kept."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence

    @cached_property
    def askers(self) -> dict[EffectKey, list[Operation]]:
        """EffectKey → the operations that made it."""
        return by_claim(self.evidence.operations)

    @cached_property
    def owned(self) -> Owned:
        """Whose each change is."""
        return owned(self.evidence, self.askers)

    @cached_property
    def stored(self) -> dict[EffectKey, str]:
        """EffectKey → the reply that the server has stored for it."""
        names = Names(self.askers)
        named = [(names.own(claim), claim, reply) for claim, reply in self.evidence.stored]
        by_id = {own: reply for own, claim, reply in named if own and claim.is_by_id}
        return by_id | {own: reply for own, claim, reply in named if own and not claim.is_by_id}

    @cached_property
    def older(self) -> frozenset[EffectKey]:
        """Claims that were made before the run began: of these it has seen no change."""
        made = {claim for claims in self.owned.claims_of.values() for claim in claims}
        return frozenset(self.stored.keys() - made - self.owned.applied.keys())

    @cached_property
    def lines(self) -> dict[str, list[LogLine]]:
        """Id → what the workers logged of it, in their order."""
        found: defaultdict[str, list[LogLine]] = defaultdict(list)
        for line in self.evidence.lines:
            found[line.id].append(line)
        return dict(found)

    @cached_property
    def noted(self) -> Times:
        """Transaction → when PostgreSQL had noted all of its changes: it was not over before."""
        return self._noted(self.evidence.clocks.database.earliest)

    @cached_property
    def noted_by(self) -> Times:
        """The same at the latest, as far as PostgreSQL's clock can be compared with ours."""
        return self._noted(self.evidence.clocks.database.latest)

    def _noted(self, by_our_clock: Callable[[float], float]) -> Times:
        found: Times = {}
        for change in self.evidence.changes:
            moment = by_our_clock(change.noted)
            found[change.transaction] = max(moment, found.get(change.transaction, -inf))
        return found

    @cached_property
    def known(self) -> Times:
        """Transaction → the first moment at which it was reported as done: it was over by then."""
        made: defaultdict[EffectKey, set[str]] = defaultdict(set)
        for transaction in self.noted.keys() & self.owned.claims_of.keys():
            for claim in self.owned.claims_of[transaction]:
                made[claim].add(transaction)
        for claim, changes in self.owned.applied.items():
            made[claim] |= {change.transaction for change in changes}
        said = dict.fromkeys(self.noted, inf)
        for claim, transactions in made.items():
            for transaction in transactions if len(transactions) == 1 else ():
                said[transaction] = min(said[transaction], self.done(claim))
        return said

    def done(self, claim: EffectKey) -> float:
        """When the first caller had its ok, or a worker had logged that it was sent."""
        return min((self._ok(operation) for operation in self.askers[claim]), default=inf)

    def done_for_callers(self, claim: EffectKey) -> float:
        """When the first caller had its ok."""
        answers = (o.answered for o in self.askers[claim] if o.outcome == "ok")
        return min((at for at in answers if at is not None), default=inf)

    def _ok(self, operation: Operation) -> float:
        lines = [line for line in self.lines.get(operation.id, []) if line.outcome == "ok"]
        latest = self.evidence.clocks.machine.latest
        logged = [latest(line.at) for line in lines if line.at is not None]
        answered = operation.answered if operation.outcome == "ok" else None
        return min([*logged, *([] if answered is None else [answered])], default=inf)

    @cached_property
    def rows(self) -> dict[RowKey, Versions]:
        """Every row that was there at some moment."""
        first = {(t, row["id"]): row for t, rows in self.evidence.begun.items() for row in rows}
        changes: defaultdict[RowKey, list[Change]] = defaultdict(list)
        for change in self.evidence.changes:
            if change.what != "truncate":
                changes[change.table, change.row_id].append(change)
        found: dict[RowKey, Versions] = {}
        for place in first | changes:
            mine = changes.get(place, [])
            found[place] = Versions(
                *(_first(first.get(place), mine), mine, self.noted, self.noted_by, self.known)
            )
        return found

    def row(self, table: str, row_id: int) -> Versions:
        """That of a row which never was, too."""
        return self.rows.get((table, row_id)) or Versions(None, [], {}, {}, {})

    def of_table(self, table: str) -> Iterator[tuple[int, Versions]]:
        """Its rows, by id."""
        for (name, row_id), versions in self.rows.items():
            if name == table:
                yield row_id, versions

    def owner(self, change: Change) -> Operation | None:
        """The first operation for which it was made; None if its transaction does not say."""
        claims = self.owned.claims_of.get(change.transaction, [])
        only = claims[0] if len(claims) == 1 else None
        claim = self._applied.get(change.number, only)
        return None if claim is None else self.askers[claim][0]

    @cached_property
    def _applied(self) -> dict[int, EffectKey]:
        applied = self.owned.applied.items()
        return {change.number: claim for claim, changes in applied for change in changes}

    def suspect(self, change: Change) -> Operation | None:
        """For which operation it was made, or else during which: one that is about the same row,
        or the same table, before others.
        """
        if (owner := self.owner(change)) is not None:
            return owner
        noted = self.evidence.clocks.database.latest(change.noted)
        first = bisect_left(self._ended, noted, key=_end)
        around = self._ended[max(0, first - AROUND) : first + AROUND]
        asked = [operation for operation in around if operation.asked <= noted]
        return max(asked, key=lambda o: _suspicion(o, change, noted), default=None)

    @cached_property
    def _ended(self) -> list[Operation]:
        return sorted(self.evidence.operations, key=_end)


def _end(operation: Operation) -> float:
    return inf if operation.answered is None else operation.answered


def _suspicion(
    operation: Operation, change: Change, noted: float
) -> tuple[bool, bool, bool, float]:
    late = _end(operation) - noted
    return (
        operation.resource is not None and operation.table == change.table,
        operation.row_id == change.row_id or operation.data.get("id") == change.row_id,
        late >= 0,
        -abs(late),
    )


def _first(row: Row | None, changes: list[Change]) -> Row | None:
    """What it was when the run began: where that was not looked at, the first change tells."""
    return row if row is not None or not changes else changes[0].before
