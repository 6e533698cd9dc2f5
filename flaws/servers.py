"""The servers that ``python -m flaws`` can start: the right one, and what is wrong with each other.

Each is one part of the right server replaced, or two; the rest is the right server's.
"""

from dataclasses import dataclass

from flaws import wrong_around, wrong_deliveries, wrong_reads, wrong_writes
from flaws.ack_before_commit import AckBeforeCommit
from flaws.check_then_store import CheckThenStore
from flaws.dlq_feeds_itself import DlqFeedsItself
from flaws.payload_ignored import PayloadIgnored
from flaws.reply_before_commit import RepliesInTheTransaction, ReplyBeforeCommit
from flaws.requeue_for_ever import RequeueForEver
from flaws.wrong_deliveries import worker
from server.application.dispatcher import Dispatcher
from server.transports.amqp.worker import Worker


@dataclass(frozen=True)
class Server:
    dispatcher: type[Dispatcher] = Dispatcher
    worker: type[Worker] = Worker


ALWAYS = {
    "check-then-store": Server(dispatcher=CheckThenStore),
    "payload-ignored": Server(dispatcher=PayloadIgnored),
    "reply-before-commit": Server(RepliesInTheTransaction, ReplyBeforeCommit),
    "ack-before-commit": Server(worker=AckBeforeCommit),
    "requeue-for-ever": Server(worker=RequeueForEver),
    "dlq-feeds-itself": Server(worker=DlqFeedsItself),
}
"""Wrong with every request: a crash or a repetition shows it."""

NOW_AND_THEN = {
    "adds-a-copy": Server(wrong_writes.AddsACopy),
    "deletes-another": Server(wrong_writes.DeletesAnother),
    "changes-another": Server(wrong_writes.ChangesAnother),
    "does-not-update": Server(wrong_writes.DoesNotUpdate),
    "updates-twice": Server(wrong_writes.UpdatesTwice),
    "updates-half": Server(wrong_writes.UpdatesHalf),
    "writes-back": Server(wrong_writes.WritesBack),
    "replies-with-other-data": Server(wrong_writes.RepliesWithOtherData),
    "commits-half": Server(wrong_writes.CommitsHalf),
    "forgets-the-effect": Server(wrong_writes.ForgetsTheEffect),
    "misses-the-row": Server(wrong_writes.MissesTheRow),
    "uses-an-id-again": Server(wrong_writes.UsesAnIdAgain),
    "overwrites-later": Server(wrong_around.OverwritesLater),
    "brings-back": Server(wrong_around.BringsBack),
    "applies-and-refuses": Server(wrong_around.AppliesAndRefuses),
    "answers-early": Server(wrong_around.AnswersEarly),
    "loses-the-key": Server(wrong_around.LosesTheKey),
    "remembers-reads": Server(wrong_reads.RemembersReads),
    "makes-up-values": Server(wrong_reads.MakesUpValues),
    "cannot-find": Server(wrong_reads.CannotFind),
    "mixes-up-rows": Server(wrong_reads.MixesUpRows),
    "omits-a-row": Server(wrong_reads.OmitsARow),
    "doubles-a-row": Server(wrong_reads.DoublesARow),
    "skips-the-last": Server(wrong_reads.SkipsTheLast),
    "swaps-two": Server(wrong_reads.SwapsTwo),
    "ends-early": Server(wrong_reads.EndsEarly),
    "forgets-the-cursor": Server(wrong_reads.ForgetsTheCursor),
    "forgets-the-filter": Server(wrong_reads.ForgetsTheFilter),
    "keeps-replies": Server(worker=worker(wrong_deliveries.KeepsReplies)),
    "cuts-replies": Server(worker=worker(wrong_deliveries.CutsReplies)),
    "mixes-up-replies": Server(worker=worker(wrong_deliveries.MixesUpReplies)),
    "throws-letters-away": Server(worker=worker(wrong_deliveries.ThrowsLettersAway)),
    "skips-acks": Server(worker=worker(wrong_deliveries.SkipsAcks)),
    "drops-requests": Server(worker=worker(wrong_deliveries.DropsRequests)),
}
"""Wrong with one request in ``--every``, and only the ledger notices it."""

SERVERS = {"none": Server(), **ALWAYS, **NOW_AND_THEN}
