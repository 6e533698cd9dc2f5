"""The consumer of most tutorials: one block around the whole work.

aio-pika's ``async with message.process(requeue=…)`` acknowledges at its end, and rejects on an
exception. It knows of no attempts, no delays and no last time: whatever fails, fails again as long
as it is delivered again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import structlog

from server.contract.lane import Delivered
from server.contract.log_events import REQUEST, RETRY_SCHEDULED
from server.transports.amqp.delivery_processor import DeliveryProcessor, LogEntry

log = structlog.get_logger()


@contextmanager
def _process(message: Delivered, *, requeue: bool) -> Iterator[None]:
    try:
        yield
    except BaseException:
        message.reject(requeue=requeue)
        raise
    message.ack()


class ProcessBlock(DeliveryProcessor):
    requeue: ClassVar[bool]

    async def process(self, message: Delivered) -> None:
        delivery = self.delivery(message)
        entry = LogEntry(message.correlation_id, delivery.attempt)
        try:
            with _process(message, requeue=self.requeue):
                reply = await self._execute(delivery, entry)
                await self._reply(delivery, reply, entry.id)
                entry.outcome = reply.outcome
        except Exception as error:
            entry.outcome = RETRY_SCHEDULED
            log.warning("attempt_failed", id=entry.id, why=f"{type(error).__name__}: {error}")
        log.info(REQUEST, **entry.finished())
