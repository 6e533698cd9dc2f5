"""Requests that cannot be worked on: into ``api.dlq``, for an operator to look at.

    worker ────────────────────────────► api.dlq    safe to show
    broker ──► api.dlq.raw ──► worker ──► api.dlq   safe to show

The broker dead-letters by itself what reaches the delivery limit, expires, or is rejected; and it
copies the body, with the key in it. So it may do that only into a queue that no person reads. What
a worker puts into ``api.dlq``, body and headers, is built from an allow-list, and says why it is
there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from server.contract import topology
from server.contract.errors import ApiError
from server.contract.headers import (
    CALLER,
    DEADLINE,
    ERROR,
    FAILURES,
    ON_BEHALF_OF,
    ORIGIN,
    PARKED_AT,
    REASON,
    SIGNED,
    TRACEPARENT,
)
from server.contract.lane import Delivered
from server.contract.log_events import DEAD_LETTERED
from server.contract.redaction import media_type, presentable
from server.transports.amqp.confirmed import ConfirmedPublisher
from server.transports.amqp.delivery import Delivery, copy_id, failures_with, now, persistent

log = structlog.get_logger()

KEPT_HEADERS = SIGNED | {DEADLINE}
"""Headers that a dead letter keeps. A sender's own could hold anything, a key for one."""

BROKERS_REASONS = {
    "delivery_limit": "Every worker that took it died, or gave it back, until the broker gave up.",
    "expired": "The time that its sender gave it in the queue was over before a worker took it.",
    "rejected": "A consumer rejected it.",
    "unknown": "It was sent to the broker's dead letters, and not put there by the broker.",
}
"""What the broker calls its reasons, for people."""


@dataclass(frozen=True)
class GivenUp:
    """Why the broker dead-lettered a request by itself; its ``code`` is the broker's word."""

    code: str

    @property
    def summary(self) -> str:
        return BROKERS_REASONS[self.code]


class DeadLetters:
    """Dead-letters requests over ``publisher``, which is borrowed.

    ``caller_of`` says of a body who sent it, if that can be said, and ``own_user`` is the broker's
    user that this worker is.
    """

    def __init__(
        self,
        publisher: ConfirmedPublisher,
        caller_of: Callable[[bytes], str | None],
        own_user: str,
    ) -> None:
        self._publisher = publisher
        self._caller_of = caller_of
        self._own_user = own_user

    async def add(self, delivery: Delivery, why: ApiError | GivenUp) -> None:
        """Returns once the broker has confirmed the letter."""
        body, kind = delivery.message.body, delivery.message.content_type
        kept = {name: value for name, value in delivery.headers.items() if name in KEPT_HEADERS}
        headers = kept | {
            CALLER: delivery.on_behalf_of or self._caller_of(body),
            ON_BEHALF_OF: None,  # it is the caller now
            REASON: why.code,
            ERROR: why.summary,
            ORIGIN: topology.REQUESTS,
            PARKED_AT: now(),
            FAILURES: failures_with(delivery, why),
            TRACEPARENT: delivery.traceparent,
        }
        letter_id = copy_id(delivery, topology.DEAD_LETTERS)
        letter = persistent(delivery, presentable(body, kind), letter_id, headers)
        letter.content_type, letter.content_encoding = media_type(kind), None
        await self._publisher.publish(letter, topology.DEAD_LETTERS)
        log.warning(DEAD_LETTERED, id=delivery.asked_as, reason=why.code)

    async def process(self, message: Delivered) -> None:
        """Add what the broker dead-lettered. Its sender gets no reply: the outcome is unknown.

        A message that kills even the worker which reads it here ends at the delivery limit of
        ``api.dlq.raw``: the broker sets it aside unread.
        """
        delivery = Delivery(message, self._own_user)
        await self.add(delivery, given_up_because(message))
        message.ack()


def given_up_because(message: Delivered) -> GivenUp:
    """The broker's latest reason; ``unknown`` for what was not dead-lettered, but sent here."""
    deaths = message.headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else []:
        if isinstance(death, dict) and death.get("queue") == topology.REQUESTS:
            reason = str(death.get("reason"))
            return GivenUp(reason if reason in BROKERS_REASONS else "unknown")
    return GivenUp("unknown")
