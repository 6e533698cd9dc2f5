"""What must never happen: seven functions over plain evidence, each of which names what it saw.

    I1  answered ok ⇒ the effect is there
    I2  at most one effect for each key or id, also when the outcome is unknown
    I3  refused ⇒ no effect
    I4  same key ⇒ the same bytes
    I5  accepted = replied + reply lost + dead-lettered + still queued; nothing is queued in the end
    I6  attempts never over the limit
    I7  nothing is stuck: an answer within 30 s of each heal

Two requests that ask for the very same effect (two books with the same title, author, year and
ISBN) are told apart by their keys or ids, but their effects are not: such requests are judged
together, by how many effects there have to be at least, and may be at most. Who gives each book a
title of its own gets each one judged by itself.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from labkit.ledger.evidence import (
    Change,
    Effect,
    Evidence,
    Line,
    Outage,
    by_claim,
    by_effect,
    counted,
    effect_of,
)
from labkit.ledger.operations import Claim, Operation
from labkit.ledger.whereabouts import whereabouts

RECOVERY = 30.0
"""Seconds after a heal in which something has to be answered ok."""

STORED_REFUSALS = ("not_found", "conflict")
"""Refusals that the work itself ends in: they are kept, and given again, like a success. Others
are said before anything is claimed, and the same request may well succeed later."""


@dataclass(frozen=True)
class Violation:
    """``operation`` is a request's id; None for what no single one is to blame for."""

    invariant: str
    operation: str | None
    seen: str


def answered_ok_is_there(evidence: Evidence) -> Iterator[Violation]:
    """I1."""
    there, rows = counted(evidence.changes), _rows(evidence.changes)
    for effect, operations in by_effect(evidence.operations).items():
        certain = _certain(operations)
        if there[effect] < len(certain):
            for operation in _missing(certain.values(), rows.get(effect, set())):
                seen = f"{operation}: in the database {_times(there[effect])}: {effect}"
                yield Violation("I1", operation.id, seen + _together(certain))
            continue
        for operation in operations:
            if operation.outcome == "ok" and _tells_of_no_row(operation, effect, rows):
                seen = f"{operation}: its reply tells of row {operation.row_id}, which is another"
                yield Violation("I1", operation.id, seen)


def _missing(certain: Iterable[Operation], rows: set[int]) -> list[Operation]:
    """Those whose own row is not there; all of them if that cannot be told."""
    operations = list(certain)
    return [o for o in operations if o.row_id not in rows] or operations


def _tells_of_no_row(operation: Operation, effect: Effect, rows: dict[Effect, set[int]]) -> bool:
    found = rows.get(effect, set())
    return bool(found) and operation.row_id is not None and operation.row_id not in found


def at_most_one_effect(evidence: Evidence) -> Iterator[Violation]:
    """I2."""
    there, groups = counted(evidence.changes), by_effect(evidence.operations)
    for effect, operations in groups.items():
        possible = _possible(operations)
        if 0 < len(possible) < there[effect]:
            operation = next(iter(possible.values()))
            seen = f"{operation.claim}: {_times(there[effect])} in the database: {effect}"
            yield Violation("I2", operation.id, seen + _together(possible))
    for claim, operations in by_claim(evidence.operations).items():
        yield from _one_of_many_payloads(claim, operations, groups, there)


def _one_of_many_payloads(
    claim: Claim,
    operations: list[Operation],
    groups: dict[Effect, list[Operation]],
    there: Counter[Effect],
) -> Iterator[Violation]:
    """One key that was sent with several payloads: one of them may have been applied."""
    asked = {effect for o in operations if (effect := effect_of(o)) is not None}
    applied = [e for e in asked if there[e] and all(o.claim == claim for o in groups[e])]
    if len(applied) > 1:
        seen = f"{claim}: {len(applied)} different effects: {'; '.join(map(str, applied))}"
        yield Violation("I2", operations[0].id, seen)


def refused_has_no_effect(evidence: Evidence) -> Iterator[Violation]:
    """I3."""
    there = counted(evidence.changes)
    for effect, operations in by_effect(evidence.operations).items():
        if there[effect] and not _possible(operations):
            for operation in operations:
                seen = f"{operation}: in the database all the same: {effect}"
                yield Violation("I3", operation.id, seen)


def same_key_same_bytes(evidence: Evidence) -> Iterator[Violation]:
    """I4."""
    stored = dict(evidence.stored)
    for claim, operations in by_claim(evidence.operations).items():
        final = [o for o in operations if _is_final(o)]
        for _, alike in groupby(sorted(final, key=_asked), key=_asked):
            first, *others = alike
            for other in others:
                if other.answer != first.answer:
                    seen = f"{claim}: answered {first.answer}, and then {other.answer}"
                    yield Violation("I4", other.id, seen)
            if claim in stored and not _same_outcome(first.answer, stored[claim]):
                seen = f"{claim}: answered {first.answer}, but stored is {stored[claim]}"
                yield Violation("I4", first.id, seen)


def _asked(operation: Operation) -> tuple[str, str]:
    return operation.transport, str(effect_of(operation))


def _is_final(operation: Operation) -> bool:
    kept = operation.outcome == "ok" or operation.code in STORED_REFUSALS
    return kept and operation.answer is not None and operation.transport == "amqp"


def _same_outcome(answer: str | None, stored: str) -> bool:
    document = json.loads("{" + (answer or "").removeprefix(","))
    outcome = [document.get("data"), document.get("error")]
    return bool(outcome == json.loads(stored))


def nothing_is_lost(evidence: Evidence) -> Iterator[Violation]:
    """I5."""
    for operation, where in whereabouts(evidence):
        if where == "lost":
            seen = f"{operation}: accepted, and then neither answered, nor parked, nor queued"
            yield Violation("I5", operation.id, seen)
    for queue, count in evidence.queued.items():
        if count:
            yield Violation("I5", None, f"{queue} still holds {count} after the draining")


def attempts_are_bounded(evidence: Evidence) -> Iterator[Violation]:
    """I6."""
    limit = evidence.max_attempts
    told = [(line.id, line.attempt) for line in evidence.lines]
    told += [(letter.id, letter.attempts) for letter in evidence.letters]
    highest: defaultdict[str, int] = defaultdict(int)
    for request_id, attempt in told:
        highest[request_id] = max(attempt, highest[request_id])
    for request_id, attempt in highest.items():
        if attempt > limit:
            yield Violation("I6", request_id, f"attempt {attempt} of at most {limit}")
    yield from _gone_round(evidence)


def _gone_round(evidence: Evidence) -> Iterator[Violation]:
    """However its attempts are counted: a message fails a bounded number of times."""
    sent = {o.id: max(o.sent, 1) for o in evidence.operations}
    each = evidence.max_attempts * (evidence.delivery_limit + 1)
    failures = Counter(line.id for line in evidence.lines if _failed(line))
    for request_id, count in failures.items():
        # Twice: a fault may have doubled it.
        if request_id in sent and count > 2 * each * sent[request_id]:
            seen = f"failed {count} times, where at most {each} are allowed"
            yield Violation("I6", request_id, seen)


def _failed(line: Line) -> bool:
    return not line.final or line.outcome in ("unavailable", "internal", "malformed")


def nothing_is_stuck(evidence: Evidence) -> Iterator[Violation]:
    """I7. The clock stands still while another fault is active."""
    answers = sorted(
        o.answered for o in evidence.operations if o.outcome == "ok" and o.answered is not None
    )
    for outage in evidence.outages:
        if outage.healed is None:
            continue
        end = next((t for t in answers if t >= outage.healed), evidence.until)
        quiet = _quiet_seconds(outage.healed, end, evidence.outages)
        asked = any(outage.healed <= o.asked <= end - RECOVERY for o in evidence.operations)
        if quiet > RECOVERY and asked:
            seen = f"no answer for {quiet:.0f} s after {outage.fault} was healed"
            yield Violation("I7", None, seen)


def _quiet_seconds(start: float, end: float, outages: Iterable[Outage]) -> float:
    """How much of this time had no fault in it."""
    quiet, at = 0.0, start
    for outage in sorted(outages, key=lambda each: each.began):
        if outage.began > at:
            quiet += max(0.0, min(outage.began, end) - at)
        at = max(at, end if outage.healed is None else outage.healed)
        if at >= end:
            return quiet
    return quiet + (end - at)


def _rows(changes: Iterable[Change]) -> dict[Effect, set[int]]:
    found: defaultdict[Effect, set[int]] = defaultdict(set)
    for change in changes:
        found[change.effect].add(change.row_id)
    return dict(found)


def _certain(operations: Iterable[Operation]) -> dict[Claim, Operation]:
    """Those claims whose effect has to be there."""
    return _first_of_each(o for o in operations if o.outcome == "ok")


def _possible(operations: Iterable[Operation]) -> dict[Claim, Operation]:
    """Those claims whose effect may be there: not every request of theirs was refused."""
    return _first_of_each(o for o in operations if o.outcome != "refused")


def _first_of_each(operations: Iterable[Operation]) -> dict[Claim, Operation]:
    firsts: dict[Claim, Operation] = {}
    for operation in operations:
        if operation.claim is not None:
            firsts.setdefault(operation.claim, operation)
    return firsts


def _times(count: int) -> str:
    return {0: "not there", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _together(claims: dict[Claim, Operation]) -> str:
    return f" (asked for under {len(claims)} keys or ids)" if len(claims) > 1 else ""


Invariant = Callable[[Evidence], Iterator[Violation]]

INVARIANTS: dict[str, tuple[str, Invariant]] = {
    "I1": ("answered ok ⇒ the effect is there", answered_ok_is_there),
    "I2": ("at most one effect for each key or id", at_most_one_effect),
    "I3": ("refused ⇒ no effect", refused_has_no_effect),
    "I4": ("same key ⇒ the same bytes", same_key_same_bytes),
    "I5": ("every accepted request is accounted for", nothing_is_lost),
    "I6": ("attempts never over the limit", attempts_are_bounded),
    "I7": ("nothing is stuck after a heal", nothing_is_stuck),
}
