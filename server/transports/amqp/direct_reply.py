"""Replies to RabbitMQ's direct reply-to, over a connection of their own.

Such an address is no queue, but the broker's internal name of a waiting client. A forged one makes
the broker close the connection that published to it, and a client that does not read slows down
the connection that publishes to it. So these replies take another way, and no request waits for
it. They are delivered at most once, as the broker does it, too: a client whose reply is lost asks
again (https://www.rabbitmq.com/docs/direct-reply-to).
"""

import asyncio
from contextlib import suppress

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection

from server.contract.connection import connect, heartbeat, is_ours
from server.contract.properties import Properties

ADDRESS = "amq.rabbitmq.reply-to."
TIMEOUT = 5
"""Seconds for a reply, and for all that are left at the end."""
MOST_WAITING = 256
"""Replies; more are dropped."""

log = structlog.get_logger()


class DirectReplies:
    """Connects when the first reply is there. ``async with`` sends what is left, and closes it."""

    def __init__(self, amqp_url: str) -> None:
        self._url = amqp_url
        self._waiting: asyncio.Queue[tuple[str, Properties, bytes]] = asyncio.Queue(MOST_WAITING)
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._sender: asyncio.Task[None]

    async def __aenter__(self) -> "DirectReplies":
        self._sender = asyncio.create_task(self._send_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waiting.join(), TIMEOUT)
        self._sender.cancel()
        await asyncio.wait([self._sender])
        await self._disconnect()

    def send(self, address: str, properties: Properties, body: bytes) -> None:
        """At once, or never."""
        try:
            self._waiting.put_nowait((address, properties, body))
        except asyncio.QueueFull:
            log.warning("direct_reply_dropped", why=f"{MOST_WAITING} are waiting")

    async def _send_all(self) -> None:
        while True:
            reply = await self._waiting.get()
            try:
                await self._send(*reply)
            except asyncio.CancelledError as error:
                if is_ours():
                    raise
                await self._lose(error)
            except Exception as error:  # a connection that breaks raises all kinds
                await self._lose(error)
            finally:
                self._waiting.task_done()

    async def _lose(self, why: BaseException) -> None:
        log.warning("direct_reply_lost", why=f"{type(why).__name__}: {why}")
        await self._disconnect()

    async def _send(self, address: str, properties: Properties, body: bytes) -> None:
        async with asyncio.timeout(TIMEOUT):
            if self._channel is None or self._channel.is_closed:
                await self._disconnect()
                self._connection = await connect(self._url, heartbeat=heartbeat(self._url))
                self._channel = await self._connection.channel(publisher_confirms=False)
            underlay = await self._channel.get_underlay_channel()
            await underlay.basic_publish(body, routing_key=address, properties=properties)

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                await connection.close()
