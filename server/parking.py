"""Requests that are set aside: to be tried again later, or for people to look at.

    worker ──► api.retry.<delay>                        as it was: it has to be authenticated again
    worker ──────────────────────────────────► api.dlq  redacted
    broker ──► api.dlq.raw ──► worker ───────► api.dlq  redacted

The broker dead-letters by itself what reaches the delivery limit, expires, or is rejected; and it
copies the body, with the key in it. So it may do that only into a queue that nobody reads. Whatever
is in ``api.dlq`` was redacted on its way, and says why it is there.

Each copy is confirmed by the broker before the original is acknowledged: a crash in between leaves
two of them, never none, and their equal message ids tell.
"""

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError

from server import callers, topology
from server.contract import ATTEMPT, CALLER, FAILURES, ON_BEHALF_OF
from server.delivery import Delivery, persistent
from server.errors import ApiError
from server.redaction import cut, redact

log = structlog.get_logger()

PAUSE = 0.5
"""Seconds before a request that the broker did not let us set aside is delivered again."""

DEATHS = 3
"""Workers that one dead letter may kill; fewer may have been another message's victims."""

WHY = {
    "delivery_limit": "Every worker that took it died, or gave it back, until the broker gave up.",
    "expired": "The time that its sender gave it in the queue was over before a worker took it.",
    "rejected": "A consumer rejected it.",
}
"""What the broker calls its reasons, for people."""


class Parking:
    """Sets requests aside over ``channel``, which is lent, and in confirm mode.

    ``delivery_limit`` is that of ``api.requests``.

    Every method returns once the broker has confirmed that it holds the copy, and raises
    ``DeliveryError`` if it refuses.
    """

    def __init__(self, channel: AbstractChannel, delivery_limit: int) -> None:
        self._channel = channel
        self._delivery_limit = delivery_limit

    async def try_again(self, delivery: Delivery, error: ApiError, delay: float) -> None:
        headers = {
            ATTEMPT: delivery.attempt + 1,
            FAILURES: _failures(delivery, error.code, str(error)),
        }
        await self._put(topology.retry(delay).name, delivery, delivery.message.body, headers)

    async def park(
        self, delivery: Delivery, code: str, why: str, body: bytes, caller: str | None
    ) -> None:
        """Into the dead letter queue. ``body`` has to be redacted; ``caller`` says who sent it."""
        headers = {
            CALLER: caller,
            ON_BEHALF_OF: None,  # it is part of the caller now
            "x-reason": code,
            "x-error": why,
            "x-origin": topology.REQUESTS,
            "x-parked-at": _now(),
            FAILURES: _failures(delivery, code, why),
        }
        await self._put(topology.DEAD_LETTERS, delivery, body, headers)

    async def process(self, message: AbstractIncomingMessage) -> None:
        """Park what the broker dead-lettered. Its sender gets no reply: the outcome is unknown.

        Such a message may kill whoever reads it, here too. After some such deaths nothing of it is
        parsed any more: its body then ends before its first secret.
        """
        code = dead_lettered_because(message)
        why = WHY.get(code, f"The broker says: {code}.")
        delivery = Delivery(message)
        if self._kills(message):
            body, caller = cut(message.body), None
        else:
            body, caller = redact(message.body), caller_of(delivery)
        while True:
            try:
                await self.park(delivery, code, why, body, caller)
                break
            except DeliveryError as error:  # there is no api.dlq, or no room in it
                log.error("cannot be parked", id=delivery.asked_as, why=str(error))
                await asyncio.sleep(PAUSE)
        log.warning("parked for the broker", id=delivery.asked_as, reason=code)
        await message.ack()

    def _kills(self, message: AbstractIncomingMessage) -> bool:
        """From RabbitMQ 4.3 the count includes the deliveries of the queue before this one."""
        count = message.headers.get("x-delivery-count")
        return isinstance(count, int) and count > self._delivery_limit + DEATHS

    async def _put(
        self, queue: str, delivery: Delivery, body: bytes, headers: dict[str, Any]
    ) -> None:
        original = delivery.message.message_id or delivery.message.correlation_id or uuid.uuid4()
        name = f"{original} {delivery.attempt} {queue}"
        copy = persistent(delivery, body, uuid.uuid5(uuid.NAMESPACE_OID, name).hex, headers)
        await self._channel.default_exchange.publish(copy, queue, mandatory=True)


def caller_of(delivery: Delivery) -> str | None:
    return callers.describe(delivery.message.body, delivery.on_behalf_of)


def dead_lettered_because(message: AbstractIncomingMessage) -> str:
    """The broker's reason, the latest first; ``unknown`` for what somebody sent here himself."""
    deaths = message.headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else []:
        if isinstance(death, dict) and death.get("queue") == topology.REQUESTS:
            return str(death.get("reason"))
    return "unknown"


def _failures(delivery: Delivery, code: str, why: str) -> list[Any]:
    this = {"attempt": delivery.attempt, "code": code, "error": why, "at": _now()}
    return [*delivery.failures, this]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
