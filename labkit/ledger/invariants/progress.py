"""I6, I7: what fails is given up at some time, and what has been healed goes on."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable

from labkit.ledger.evidence import Evidence, FaultPeriod, LogLine
from labkit.ledger.findings import Findings
from labkit.ledger.operations import Operation
from labkit.ledger.run import Run

RECOVERY = 30.0
"""Seconds after a heal in which something has to be answered ok."""


def attempts_are_bounded(run: Run, found: Findings) -> None:
    """I6."""
    evidence = run.evidence
    said = [(line.id, line.attempt) for line in evidence.lines]
    said += [(letter.id, letter.attempts) for letter in evidence.letters]
    highest: defaultdict[str, int] = defaultdict(int)
    for request_id, attempt in said:
        highest[request_id] = max(attempt, highest[request_id])
    asked = {operation.id: operation for operation in evidence.operations}
    found.judged += len(asked.keys() & highest.keys())
    for request_id, attempt in highest.items():
        if attempt > evidence.max_attempts and request_id in asked:
            seen = f"attempt {attempt} of at most {evidence.max_attempts}"
            found.violated(asked[request_id], seen)
    _gone_round(evidence, asked, found)


def _gone_round(evidence: Evidence, asked: dict[str, Operation], found: Findings) -> None:
    """However its attempts are counted: a message is set aside a bounded number of times."""
    each = evidence.max_attempts * (evidence.delivery_limit + 1 + evidence.waits)
    failures = Counter(line.id for line in evidence.lines if _failed(line))
    sent = Counter({o.id: 0 for o in evidence.operations})
    for operation in evidence.operations:
        sent[operation.id] += max(operation.sent, 1)
    for request_id, count in failures.items():
        # Twice: a fault may have doubled it.
        if request_id in asked and count > 2 * each * sent[request_id]:
            seen = f"failed {count} times, where at most {each} are allowed"
            found.violated(asked[request_id], seen)


def _failed(line: LogLine) -> bool:
    return not line.final or line.parks


def nothing_is_stuck(run: Run, found: Findings) -> None:
    """I7. The clock stands still while another fault is active."""
    operations, faults = run.evidence.operations, run.evidence.faults
    answers = sorted(o.answered for o in operations if o.outcome == "ok" and o.answered is not None)
    asked = sorted(operation.asked for operation in operations)
    for fault in faults:
        if fault.healed is None:
            continue
        found.judged += 1
        first = bisect_left(answers, fault.healed)
        end = answers[first] if first < len(answers) else run.evidence.until
        quiet = _quiet_seconds(fault.healed, end, faults)
        waited = bisect_left(asked, fault.healed)
        if quiet > RECOVERY and waited < len(asked) and asked[waited] <= end - RECOVERY:
            seen = f"no answer for {quiet:.0f} s after {fault.fault} was healed"
            found.violated(None, seen)


def _quiet_seconds(start: float, end: float, faults: Iterable[FaultPeriod]) -> float:
    """How much of this time had no fault in it."""
    quiet, at = 0.0, start
    for fault in sorted(faults, key=lambda each: each.began):
        if fault.began > at:
            quiet += max(0.0, min(fault.began, end) - at)
        at = max(at, end if fault.healed is None else fault.healed)
        if at >= end:
            return quiet
    return quiet + (end - at)
