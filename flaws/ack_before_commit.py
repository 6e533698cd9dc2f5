"""Receive → ack → work → commit → reply: what a consumer with ``no_ack`` does, too.

The broker forgets a request before anything of it is kept elsewhere. Who dies in between loses it.
"""

from server.contract.lane import Delivered
from server.transports.amqp.delivery import Delivery
from server.transports.amqp.delivery_processor import DeliveryProcessor, LogEntry
from server.transports.amqp.worker import Worker


class AcksFirst(DeliveryProcessor):
    """The right consumer in the wrong order."""

    async def _work(self, delivery: Delivery, entry: LogEntry) -> None:
        await super()._acknowledge(delivery.message, entry)
        await super()._work(delivery, entry)

    async def _acknowledge(self, message: Delivered, entry: LogEntry) -> None:
        """It is done already."""


class AckBeforeCommit(Worker):
    answers_with = AcksFirst
