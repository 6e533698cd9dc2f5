"""I1, I2, I3: what was answered, and what is in the database."""

import json
from collections.abc import Iterable

from labkit.ledger.effects import effect_of
from labkit.ledger.evidence import Change, as_json
from labkit.ledger.findings import Findings
from labkit.ledger.operations import EffectKey, Operation
from labkit.ledger.replies import row_said, said
from labkit.ledger.run import Run


def answered_ok_is_there(run: Run, found: Findings) -> None:
    """I1. Not for what was done under a key before the run began."""
    for claim, operations in run.askers.items():
        if claim in run.older:
            continue
        applied = run.owned.applied.get(claim, [])
        certain = [operation for operation in operations if operation.outcome == "ok"]
        for operation in certain:
            found.judged += 1
            _is_there(operation, applied, found)
        if not certain and _is_ok(run.stored.get(claim)):
            found.judged += 1
            if not applied:
                seen = "its reply is stored as ok, and the effect is not there"
                found.violated(operations[0], seen)


def _is_there(operation: Operation, applied: Iterable[Change], found: Findings) -> None:
    effect = effect_of(operation)
    there = [change for change in applied if effect is not None and effect.made(change)]
    if not there:
        found.violated(operation, f"in the database not there: {effect}")
    elif operation.answer is not None and not any(_tells(operation, each) for each in there):
        data, row = said(operation)[0], there[0]
        told_id = data.get("id") if isinstance(data, dict) else None
        if told_id != row.row_id:
            found.violated(operation, f"its reply tells of row {told_id}, which is another")
        else:
            seen = f"its reply says {as_json(data)}, and stored is {as_json(row.after)}"
            found.violated(operation, seen)


def _tells(operation: Operation, change: Change) -> bool:
    """Whether the reply is about this change, and says what was stored."""
    if change.what == "delete":
        return bool(said(operation)[0] == {"id": change.row_id, "deleted": True})
    return row_said(operation) == change.after


def _is_ok(stored: str | None) -> bool:
    """A stored reply is ``[data, error]``."""
    return stored is not None and json.loads(stored)[1] is None


def at_most_one_effect(run: Run, found: Findings) -> None:
    """I2. Of several payloads under one key, one may have been applied."""
    for claim, operations in run.askers.items():
        found.judged += len(operations)
        applied = run.owned.applied.get(claim, [])
        if len(applied) > 1:
            _more_than_one(claim, operations[0], applied, found)


def _more_than_one(
    claim: EffectKey, operation: Operation, applied: list[Change], found: Findings
) -> None:
    kinds = {str(change.after) for change in applied if change.what != "create"}
    if len(kinds) > 1:
        effects = "; ".join(map(str, applied))
        found.violated(operation, f"{claim}: {len(applied)} effects in the database: {effects}")
    else:
        times = {2: "twice"}.get(len(applied), f"{len(applied)} times")
        found.violated(operation, f"{claim}: {times} in the database: {applied[0]}")


def refused_has_no_effect(run: Run, found: Findings) -> None:
    """I3. Of several with the same key one may be refused, and another one not."""
    for claim, operations in run.askers.items():
        if any(operation.outcome != "refused" for operation in operations):
            continue
        found.judged += len(operations)
        for change in run.owned.applied.get(claim, []):
            for operation in operations:
                found.violated(operation, f"in the database all the same: {change}")
