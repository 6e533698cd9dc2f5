"""Publishing that the broker confirms: for requests that leave ``api.requests`` unanswered.

The copy is confirmed before the original is acknowledged. A crash in between leaves two of them,
never none, and their equal message ids tell.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError, PublishError

log = structlog.get_logger()

PAUSE = 0.5
"""Seconds before a copy that the broker refused is published again."""


class ConfirmedPublisher:
    """Publishes over ``channel``, which is borrowed, and in confirm mode with returns raised.

    ``declare`` makes the queues, if one of them was deleted meanwhile.
    """

    def __init__(self, channel: AbstractChannel, declare: Callable[[], Awaitable[None]]) -> None:
        self._channel = channel
        self._declare = declare

    async def publish(self, copy: Message, queue: str) -> None:
        """Returns once the broker has confirmed that it holds the copy.

        As long as it refuses, because the queue is full, this waits, and the original stays
        unacknowledged: so a worker takes no more than there is room for.
        """
        refused = False
        while True:
            try:
                await self._channel.default_exchange.publish(copy, queue, mandatory=True)
                return
            except PublishError:  # there is no such queue any more
                await self._declare()
            except DeliveryError as error:
                if not refused:
                    log.warning("publish_refused", queue=queue, why=str(error), retry_in=PAUSE)
                refused = True
                await asyncio.sleep(PAUSE)
