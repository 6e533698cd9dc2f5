"""I5: what the broker accepted is somewhere, and where it is said to be."""

from labkit.ledger.findings import Findings
from labkit.ledger.lost_replies import LostReplies
from labkit.ledger.operations import Operation
from labkit.ledger.run import Run
from labkit.ledger.whereabouts import Account, whereabouts


def nothing_is_lost(run: Run, found: Findings) -> None:
    """I5."""
    replies, account = LostReplies(run), Account.of(run)
    for operation, where in whereabouts(run):
        found.judged += where != "not accepted"
        if where == "lost":
            found.violated(operation, "accepted, and then neither answered, nor parked, nor queued")
        elif where == "reply lost" and (seen := replies.unexplained(operation)):
            found.violated(operation, f"its reply is lost: {seen}")
        if _said_to_be_parked(run, operation) and not account.parked(operation):
            seen = "parked, it is said, and it is not in the dead letter queue: no operator took it"
            found.violated(operation, seen)
    for queue, count in run.evidence.queued.items():
        if count:
            found.violated(None, f"{queue} still holds {count} after the draining")


def _said_to_be_parked(run: Run, operation: Operation) -> bool:
    """By the reply, or by the worker's log if no reply came."""
    return operation.parked or any(line.parks for line in run.lines.get(operation.id, []))
