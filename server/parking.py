"""Requests that are set aside: to be tried again later, or for people to look at.

    worker ──► api.retry.<delay>                        as it was: it has to be authenticated again
    worker ──────────────────────────────────► api.dlq  presentable
    broker ──► api.dlq.raw ──► worker ───────► api.dlq  presentable

The broker dead-letters by itself what reaches the delivery limit, expires, or is rejected; and it
copies the body, with the key in it. So it may do that only into a queue that no person reads. What
a worker puts into ``api.dlq``, body and headers, is built from an allow-list, and says why it is
there.

Each copy is confirmed by the broker before the original is acknowledged: a crash in between leaves
two of them, never none, and their equal message ids tell.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError

from server import callers, topology
from server.contract import (
    ATTEMPT,
    CALLER,
    DEADLINE,
    FAILURES,
    ON_BEHALF_OF,
    REDELIVERED,
    SIGNED,
    WAITING_SINCE,
)
from server.delivery import Delivery, persistent
from server.errors import ApiError
from server.redaction import described, media_type, presentable
from server.settings import Settings

log = structlog.get_logger()

PAUSE = 0.5
"""Seconds before we try again to set aside what the broker did not take."""

IN_A_LETTER = SIGNED | {DEADLINE}
"""Headers that a dead letter keeps. A sender's own could hold anything, a key for one."""

DEATHS = 3
"""Workers that one dead letter may kill; fewer may have been another message's victims."""

Declare = Callable[[], Awaitable[None]]

WHY = {
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
        return WHY[self.code]


Reason = ApiError | GivenUp


class Parking:
    """Sets requests aside over ``channel``, which is borrowed, and in confirm mode.

    ``declare`` makes the queues, if one of them was deleted meanwhile.

    Every method returns once the broker has confirmed that it holds the copy. As long as it does
    not take it, because a queue is full, they wait, and the original stays unacknowledged: so a
    worker takes no more than there is room for.
    """

    def __init__(self, channel: AbstractChannel, settings: Settings, declare: Declare) -> None:
        self._channel = channel
        self._settings = settings
        self._declare = declare

    async def try_again(self, delivery: Delivery, error: ApiError, delay: float) -> None:
        """In ``delay`` seconds, as its next attempt."""
        failed = {ATTEMPT: delivery.attempt + 1, FAILURES: _failures(delivery, error)}
        await self._wait(delivery, delay, failed)

    async def let_wait(self, delivery: Delivery, delay: float) -> None:
        """The same attempt in ``delay`` seconds, and its place here for another request."""
        since = round(delivery.waiting_since * 1000)
        waiting = {WAITING_SINCE: since, REDELIVERED: delivery.is_redelivered}
        await self._wait(delivery, delay, waiting)

    async def _wait(self, delivery: Delivery, delay: float, headers: dict[str, Any]) -> None:
        name = topology.retry(delay, self._settings).name
        copy = persistent(
            delivery, delivery.message.body, _copy_id(delivery, name), delivery.headers | headers
        )
        await self._put(name, copy)

    async def park(self, delivery: Delivery, why: Reason, *, readable: bool = True) -> None:
        """Into the dead letter queue. Of what is not ``readable`` nothing is read any more."""
        body, kind = delivery.message.body, delivery.message.content_type
        caller = _caller(delivery) if readable else None
        headers = {name: value for name, value in delivery.headers.items() if name in IN_A_LETTER}
        headers |= {
            CALLER: caller,
            ON_BEHALF_OF: None,  # it is the caller now
            "x-reason": why.code,
            "x-error": why.summary,
            "x-origin": topology.REQUESTS,
            "x-parked-at": _now(),
            FAILURES: _failures(delivery, why),
        }
        shown = presentable(body, kind) if readable else described(body, kind)
        letter = persistent(delivery, shown, _copy_id(delivery, topology.DEAD_LETTERS), headers)
        letter.content_type, letter.content_encoding = media_type(kind), None
        await self._put(topology.DEAD_LETTERS, letter)

    async def process(self, message: AbstractIncomingMessage) -> None:
        """Park what the broker dead-lettered. Its sender gets no reply: the outcome is unknown.

        Such a message may kill the worker that reads it, here too: after some such deaths nothing
        of it is read any more.
        """
        delivery = Delivery(message, self._settings.amqp_user)
        given_up = given_up_because(message)
        await self.park(delivery, given_up, readable=not self._kills(message))
        log.warning("dead_lettered", id=delivery.asked_as, reason=given_up.code)
        await message.ack()

    def _kills(self, message: AbstractIncomingMessage) -> bool:
        """From RabbitMQ 4.3 the count includes the deliveries of the queue before this one."""
        count = message.headers.get("x-delivery-count")
        return isinstance(count, int) and count > self._settings.delivery_limit + DEATHS

    async def _put(self, queue: str, copy: Message) -> None:
        refused = False
        while True:
            try:
                await self._channel.default_exchange.publish(copy, queue, mandatory=True)
                return
            except PublishError:  # there is no such queue any more
                await self._declare()
            except DeliveryError as error:
                if not refused:
                    log.warning("not_taken", queue=queue, why=str(error), retry_in=PAUSE)
                refused = True
                await asyncio.sleep(PAUSE)


def given_up_because(message: AbstractIncomingMessage) -> GivenUp:
    """The broker's latest reason; ``unknown`` for what was not dead-lettered, but sent here."""
    deaths = message.headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else []:
        if isinstance(death, dict) and death.get("queue") == topology.REQUESTS:
            reason = str(death.get("reason"))
            return GivenUp(reason) if reason in WHY else GivenUp("unknown")
    return GivenUp("unknown")


def _caller(delivery: Delivery) -> str | None:
    return delivery.on_behalf_of or callers.describe(delivery.message.body)


def _copy_id(delivery: Delivery, queue: str) -> str:
    original = delivery.message.message_id or delivery.message.correlation_id or uuid.uuid4()
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{original} {delivery.attempt} {queue}").hex


def _failures(delivery: Delivery, why: Reason) -> list[Any]:
    this = {"attempt": delivery.attempt, "code": why.code, "error": why.summary, "at": _now()}
    return [*delivery.failures, this]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
