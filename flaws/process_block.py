"""The consumer of the brief, and of most tutorials: one block around the whole work.

``async with message.process(requeue=…)`` acknowledges at its end, and rejects on an exception. It
knows of no attempts, no delays and no last time: whatever fails, fails again as long as it is
delivered again.
"""

from typing import ClassVar

import structlog
from aio_pika.abc import AbstractIncomingMessage

from server.consumer import Consumer, Record

log = structlog.get_logger()


class ProcessBlock(Consumer):
    requeue: ClassVar[bool]

    async def process(self, message: AbstractIncomingMessage) -> None:
        delivery = self.delivery(message)
        record = Record(message.correlation_id, delivery.attempt)
        try:
            async with message.process(requeue=self.requeue):
                reply = await self._execute(delivery, record)
                await self._reply(delivery, reply, record.id)
                record.outcome = reply.outcome
        except Exception as error:
            record.outcome = "tried again later"
            log.warning("a failure", id=record.id, why=f"{type(error).__name__}: {error}")
        log.info("request", **record.finished())
