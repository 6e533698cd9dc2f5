"""Receive → ack → work → commit → reply: what a consumer with ``no_ack`` does, too.

The broker forgets a request before anything of it is kept elsewhere. Who dies in between loses it.
"""

from aio_pika.abc import AbstractIncomingMessage

from server.amqp import Worker
from server.consumer import Consumer, Record
from server.delivery import Delivery


class AcksFirst(Consumer):
    """The right consumer in the wrong order."""

    async def _work(self, delivery: Delivery, record: Record) -> None:
        await super()._acknowledge(delivery.message, record)
        await super()._work(delivery, record)

    async def _acknowledge(self, message: AbstractIncomingMessage, record: Record) -> None:
        """It is done already."""


class AckBeforeCommit(Worker):
    answers_with = AcksFirst
