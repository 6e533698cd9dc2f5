"""The consumer of most tutorials: one block around the whole work.

``async with message.process(requeue=…)`` acknowledges at its end, and rejects on an exception. It
knows of no attempts, no delays and no last time: whatever fails, fails again as long as it is
delivered again.
"""

from typing import ClassVar

import structlog
from aio_pika.abc import AbstractIncomingMessage

from server.transports.amqp.delivery_processor import DeliveryProcessor, LogEntry

log = structlog.get_logger()


class ProcessBlock(DeliveryProcessor):
    requeue: ClassVar[bool]

    async def process(self, message: AbstractIncomingMessage) -> None:
        delivery = self.delivery(message)
        entry = LogEntry(message.correlation_id, delivery.attempt)
        try:
            async with message.process(requeue=self.requeue):
                reply = await self._execute(delivery, entry)
                await self._reply(delivery, reply, entry.id)
                entry.outcome = reply.outcome
        except Exception as error:
            entry.outcome = "retry_scheduled"
            log.warning("attempt_failed", id=entry.id, why=f"{type(error).__name__}: {error}")
        log.info("request", **entry.finished())
