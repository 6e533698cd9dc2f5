"""Bugs between queue and database: the work is right, and its message is mistreated."""

from dataclasses import replace
from typing import Any

from flaws.now_and_then import Turns
from server.contract.envelope import Reply
from server.contract.errors import ApiError
from server.contract.lane import Delivered
from server.transports.amqp.delivery import Delivery
from server.transports.amqp.delivery_processor import DeliveryProcessor, LogEntry
from server.transports.amqp.worker import Worker


class Mistreats(DeliveryProcessor):
    """The right consumer, with turns of its own."""

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.turns = Turns()


class KeepsReplies(Mistreats):
    """A reply that is lost between two functions: its caller waits in vain."""

    async def _reply(self, delivery: Delivery, reply: Reply, request_id: str | None) -> None:
        if not self.turns.is_wrong(request_id):
            await super()._reply(delivery, reply, request_id)


class CutsReplies(Mistreats):
    """A buffer that is too small."""

    async def _reply(self, delivery: Delivery, reply: Reply, request_id: str | None) -> None:
        if self.turns.is_wrong(request_id):
            reply = _Cut(**vars(reply))
        await super()._reply(delivery, reply, request_id)


class _Cut(Reply):
    def to_bytes(self, correlation_id: str | None) -> bytes:
        return super().to_bytes(correlation_id)[:-1]


class MixesUpReplies(Mistreats):
    """What the last one was answered is still in the variable."""

    _last: Reply | None = None

    async def _reply(self, delivery: Delivery, reply: Reply, request_id: str | None) -> None:
        before, self._last = self._last, reply
        other = before is not None and before.data != reply.data and reply.error is None
        if before is not None and other and self.turns.is_wrong(request_id):
            reply = replace(reply, data=before.data)
        await super()._reply(delivery, reply, request_id)


class ThrowsLettersAway(Mistreats):
    """The caller reads that the request is dead-lettered; publishing it was not waited for, and
    failed.
    """

    async def _dead_letter(self, delivery: Delivery, error: ApiError) -> Reply:
        if self.turns.is_wrong(delivery.asked_as):
            return replace(Reply.refusal(error), parked=True)
        return await super()._dead_letter(delivery, error)


class SkipsAcks(Mistreats):
    """An early return: the broker waits for the acknowledgement, and will deliver it again."""

    async def _acknowledge(self, message: Delivered, entry: LogEntry) -> None:
        if not self.turns.is_wrong(entry.id):
            await super()._acknowledge(message, entry)


class DropsRequests(Mistreats):
    """An exception that is caught, logged at a level that is off, and acknowledged."""

    async def process(self, message: Delivered) -> None:
        if self.turns.is_wrong(message.correlation_id):
            message.ack()
        else:
            await super().process(message)


def worker(consumer: type[DeliveryProcessor]) -> type[Worker]:
    """The right worker, which answers with this consumer."""
    return type(consumer.__name__, (Worker,), {"answers_with": consumer})
