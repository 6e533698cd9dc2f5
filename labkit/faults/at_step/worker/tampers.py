"""A right consumer that loses, delays, doubles or breaks a message, if the plan of faults says so.

What is done to a request stays done, whichever worker gets it next: a broken one is a broken
message in the queue. So the sender's request is the same for every worker, and no crash brings the
old one back.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from labkit.faults.at_step.plan import Order, Plan
from server.contract.envelope import Reply
from server.contract.lane import Delivered
from server.contract.properties import Properties
from server.contract.topology import REQUESTS
from server.transports.amqp.delivery import Delivery
from server.transports.amqp.delivery_processor import DeliveryProcessor

PROPERTIES = (
    *("content_type", "content_encoding", "correlation_id", "reply_to"),
    *("message_id", "delivery_mode", "expiration", "headers"),
)


class Tampers(DeliveryProcessor):
    """The right consumer behind a line on which ``plan`` happens."""

    def __init__(self, plan: Plan, *parts: Any) -> None:
        super().__init__(*parts)
        self._plan = plan

    async def process(self, message: Delivered) -> None:
        match self._order("request", self.delivery(message).asked_as):
            case Order(what="drop"):
                message.ack()
                return
            case Order(what="corrupt", chance=chance):
                self._send_again(message, _cut(message.body, chance))
                message.ack()
                return
            case Order(what="duplicate"):
                self._send_again(message, message.body)
            case Order(what="delay", seconds=seconds):
                await asyncio.sleep(seconds)
        await super().process(message)

    def _order(self, kind: str, request_id: str | None) -> Order | None:
        taken = self._plan.take(kind, request_id)
        return None if taken is None else taken[0]

    def _send_again(self, message: Delivered, body: bytes) -> None:
        """As its sender did. The broker works off one channel in order: before the ack."""
        delivery = self.delivery(message)
        signed = delivery.own_user if delivery.is_vouched_for else None
        properties = {name: getattr(message, name) for name in PROPERTIES}
        self._replies.publish(REQUESTS, Properties(user_id=signed, **properties), body)

    async def _reply(self, delivery: Delivery, reply: Reply, request_id: str | None) -> None:
        match self._order("reply", request_id):
            case Order(what="drop"):
                return
            case Order(what="corrupt", chance=chance):
                reply = _Cut(**vars(reply), chance=chance)
            case Order(what="duplicate"):
                await super()._reply(delivery, reply, request_id)
            case Order(what="delay", seconds=seconds):
                await asyncio.sleep(seconds)
        await super()._reply(delivery, reply, request_id)


@dataclass(frozen=True)
class _Cut(Reply):
    """Its caller sees that it is broken, and cannot know what it said."""

    chance: float = 0.0

    def to_bytes(self, correlation_id: str | None) -> bytes:
        return _cut(super().to_bytes(correlation_id), self.chance)


def _cut(body: bytes, chance: float) -> bytes:
    """Without its end: at least the last byte is missing, so no JSON is whole."""
    return body[: int(chance * len(body))]
