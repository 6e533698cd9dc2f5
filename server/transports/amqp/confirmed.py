"""Publishing that the broker confirms: for requests that leave ``api.requests`` unanswered.

The copy is confirmed before the original is acknowledged. A crash in between leaves two of them,
never none, and their equal message ids tell.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError, PublishError

from server.contract.connection import Connection
from server.contract.turns import Turns

log = structlog.get_logger()

PAUSE = 0.5
"""Seconds before a copy that the broker refused is published again."""


class ConfirmedPublisher:
    """Publishes over channels of ``connection``, which is borrowed.

    ``declare`` makes the queues, if one of them was deleted meanwhile.
    """

    def __init__(
        self,
        connection: Connection,
        channel: AbstractChannel,
        declare: Callable[[], Awaitable[None]],
    ) -> None:
        """Use ``open``."""
        self._connection = connection
        self._channel = channel
        self._declare = declare
        self._turns = Turns()

    @classmethod
    async def open(cls, connection: Connection, declare: Callable[[], Awaitable[None]]) -> Self:
        return cls(connection, await connection.channel(on_return_raises=True), declare)

    async def publish(self, copy: Message, queue: str) -> None:
        """Returns once the broker has confirmed that it holds the copy.

        As long as it refuses, because the queue is full, this waits, and the original stays
        unacknowledged: so a worker takes no more than there is room for. It may also refuse because
        the queue has no leader now. RabbitMQ 3.10 then refuses a channel that has asked too early
        for ever, so each new attempt has a channel of its own.
        """
        async with self._turns.of(copy.message_id):
            if await self._published(self._channel, copy, queue):
                return
        log.warning("publish_refused", queue=queue, retry_in=PAUSE)
        while True:
            await asyncio.sleep(PAUSE)
            async with self._connection.channel(on_return_raises=True) as channel:
                if await self._published(channel, copy, queue):
                    return

    async def _published(self, channel: AbstractChannel, copy: Message, queue: str) -> bool:
        """False if the broker refuses it."""
        while True:
            try:
                await channel.default_exchange.publish(copy, queue, mandatory=True)
                return True
            except PublishError:  # there is no such queue any more
                await self._declare()
            except DeliveryError:
                return False
