"""The servers that ``python -m flaws`` can start: the right one, and what is wrong with each other.

Each is one part of the right server replaced, or two; the rest is the right server's.
"""

from dataclasses import dataclass

from flaws.ack_before_commit import AckBeforeCommit
from flaws.check_then_store import CheckThenStore
from flaws.dlq_feeds_itself import DlqFeedsItself
from flaws.payload_ignored import PayloadIgnored
from flaws.reply_before_commit import RepliesInTheTransaction, ReplyBeforeCommit
from flaws.requeue_for_ever import RequeueForEver
from server.amqp import Worker
from server.application import Application


@dataclass(frozen=True)
class Server:
    application: type[Application] = Application
    worker: type[Worker] = Worker


SERVERS = {
    "none": Server(),
    "check-then-store": Server(application=CheckThenStore),
    "payload-ignored": Server(application=PayloadIgnored),
    "reply-before-commit": Server(RepliesInTheTransaction, ReplyBeforeCommit),
    "ack-before-commit": Server(worker=AckBeforeCommit),
    "requeue-for-ever": Server(worker=RequeueForEver),
    "dlq-feeds-itself": Server(worker=DlqFeedsItself),
}
