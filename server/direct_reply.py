"""Replies to RabbitMQ's direct reply-to, over a connection of their own.

Such an address is no queue, but the broker's internal name of a waiting client. A forged one makes
the broker close the connection that published to it, and with it all that the worker holds there.
So these replies take another way, and only they are lost if that breaks
(https://www.rabbitmq.com/docs/direct-reply-to).
"""

import asyncio
from contextlib import suppress

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection

from server.connection import connect

ADDRESS = "amq.rabbitmq.reply-to."
TIMEOUT = 5
"""Seconds for a reply, the connection included."""

log = structlog.get_logger()


class DirectReplies:
    """Opened when it is first needed, closed by whoever made it."""

    def __init__(self, amqp_url: str) -> None:
        self._url = amqp_url
        self._one_at_a_time = asyncio.Lock()
        self._connection: AbstractConnection | None = None

    async def publish(self, message: aio_pika.Message, address: str) -> None:
        """Returns when the broker has taken the reply, or it is lost: its client will ask again."""
        async with self._one_at_a_time:
            try:
                async with asyncio.timeout(TIMEOUT):
                    await self._publish(message, address)
            except Exception as error:  # a connection that breaks raises all kinds
                log.warning("a direct reply is lost", why=f"{type(error).__name__}: {error}")
                await self.close()

    async def _publish(self, message: aio_pika.Message, address: str) -> None:
        if self._connection is None or self._connection.is_closed:
            self._connection = await connect(self._url)
        async with self._connection.channel() as channel:
            await channel.default_exchange.publish(message, address, mandatory=False)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                await connection.close()
