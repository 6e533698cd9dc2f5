"""I5: what the broker accepted is somewhere, and where it is said to be."""

from labkit.ledger.findings import Findings
from labkit.ledger.lost_replies import LostReplies
from labkit.ledger.run import Run
from labkit.ledger.whereabouts import Account, parked_by_report, whereabouts


def nothing_is_lost(run: Run, found: Findings) -> None:
    """I5."""
    replies, account = LostReplies(run), Account.of(run)
    for operation, where in whereabouts(run):
        found.judged += where != "not accepted"
        if where == "lost":
            found.violated(operation, "accepted, and then neither answered, nor parked, nor queued")
        elif where == "reply lost" and (seen := replies.unexplained(operation)):
            found.violated(operation, f"its reply is lost: {seen}")
        if parked_by_report(run, operation) and not account.parked(operation):
            seen = "parked, it is said, and it is not in the dead letter queue: no operator took it"
            found.violated(operation, seen)
    for queue, count in run.evidence.queued.items():
        if count:
            found.violated(None, f"{queue} still holds {count} after the draining")
