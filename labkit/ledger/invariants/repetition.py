"""I4: who asks again with the same key is answered the same."""

import json
from itertools import groupby

from labkit.ledger.effects import effect_of
from labkit.ledger.findings import Findings
from labkit.ledger.operations import Operation
from labkit.ledger.run import Run
from server.contract.errors import OUTCOMES


def same_key_same_bytes(run: Run, found: Findings) -> None:
    """I4. Each answer is compared with the first one, and that with the stored reply."""
    for claim, operations in run.askers.items():
        final = [operation for operation in operations if _is_final(operation)]
        stored = run.stored.get(claim)
        for _, alike in groupby(sorted(final, key=_asked), key=_asked):
            first, *others = alike
            found.judged += len(others) + (stored is not None)
            for other in others:
                if other.answer != first.answer:
                    seen = f"{claim}: answered {first.answer}, and then {other.answer}"
                    found.violated(other, seen)
            if stored is not None and not _same_outcome(first.answer, stored):
                found.violated(first, f"{claim}: answered {first.answer}, but stored is {stored}")


def _asked(operation: Operation) -> str:
    return str(effect_of(operation))


def _is_final(operation: Operation) -> bool:
    kept = operation.outcome == "ok" or operation.code in OUTCOMES
    return kept and operation.answer is not None and operation.transport == "amqp"


def _same_outcome(answer: str | None, stored: str) -> bool:
    document = json.loads("{" + (answer or "").removeprefix(","))
    outcome = [document.get("data"), document.get("error")]
    return bool(outcome == json.loads(stored))
