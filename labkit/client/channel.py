"""One connection of the client: a channel, a reply queue, and a sign for when they are lost."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError as Refused
from aio_pika.exceptions import PublishError as Returned

from server.contract.connection import HEARTBEAT, connect
from server.contract.envelope import JSON
from server.contract.headers import PARKED, REPLAYED
from server.contract.topology import REQUESTS

__all__ = ["Link", "OnReply", "Refused", "Returned", "address"]

OnReply = Callable[[str | None, bytes, bool, bool], None]
"""(correlation id, body, replayed, parked)"""


def address(amqp_url: str) -> str:
    """Host and port, without user and password."""
    parts = urlsplit(amqp_url)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"


class Link:
    """Opened whole or not at all, never repaired: after a loss the client opens another one.

    So the reply queue is a new one each time. It is exclusive and server-named: it goes when the
    connection goes, and a redeclared one could meet its own ghost (``RESOURCE_LOCKED``).
    """

    def __init__(self, connection: AbstractConnection, on_reply: OnReply) -> None:
        self.lost = asyncio.Event()
        self._connection = connection
        self._on_reply = on_reply
        self._channel: AbstractChannel
        self._reply_to = ""

    @classmethod
    async def open(cls, amqp_url: str, on_reply: OnReply) -> "Link":
        """Raises as ``connect``."""
        connection = await connect(
            amqp_url,
            heartbeat=HEARTBEAT,
            client_properties={"connection_name": "library-client"},
        )
        link = cls(connection, on_reply)
        try:
            await link._prepare()
        except BaseException:
            await link.close()
            raise
        return link

    async def _prepare(self) -> None:
        # Confirm mode, so that a refused publish is noticed; on_return_raises, so that an
        # unroutable one is.
        self._channel = await self._connection.channel(on_return_raises=True)
        replies = await self._channel.declare_queue(exclusive=True)
        self._reply_to = replies.name
        self._channel.close_callbacks.add(self._lose)
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._lose)
        # no_ack: a reply that is lost with its client is asked for again, not delivered again.
        await replies.consume(self._receive, no_ack=True)

    async def close(self) -> None:
        await self._connection.close()

    def _lose(self, *_: object) -> None:
        self.lost.set()

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        replayed = bool(message.headers.get(REPLAYED, False))
        parked = bool(message.headers.get(PARKED, False))
        self._on_reply(message.correlation_id, message.body, replayed, parked)

    async def publish(self, body: bytes, correlation_id: str, headers: dict[str, Any]) -> None:
        """Returns with the broker's confirm.

        Raises ``Returned`` if there is no queue for it, ``Refused`` if the queue is full, or
        anything else if the connection is lost: then it is unknown whether the broker has it.
        """
        message = aio_pika.Message(
            body,
            content_type=JSON,
            correlation_id=correlation_id,
            reply_to=self._reply_to,
            message_id=uuid.uuid4().hex,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers=headers,
        )
        await self._channel.default_exchange.publish(message, REQUESTS, mandatory=True)
