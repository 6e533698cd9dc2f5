"""One connection of the client: a channel, a reply queue, and a sign for when they are lost."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

from aio_pika.abc import AbstractIncomingMessage, DeliveryMode

from server.contract import brokers
from server.contract.connection import Connection, connect, heartbeat
from server.contract.envelope import JSON
from server.contract.headers import PARKED, REPLAYED
from server.contract.lane import Delivered, Lane
from server.contract.message_id import new_message_id
from server.contract.properties import Properties
from server.contract.topology import REQUESTS

OnReply = Callable[[str | None, bytes, bool, bool], None]
"""(correlation id, body, replayed, parked)"""


def address(amqp_url: str) -> str:
    """Host and port, without user and password; of several brokers, of each."""
    return ", ".join(map(_host_and_port, brokers.each(amqp_url)))


def _host_and_port(amqp_url: str) -> str:
    parts = urlsplit(amqp_url)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"


class Confirmation(Enum):
    """What the broker says of a message; nothing, if the connection is lost before."""

    ACCEPTED = auto()
    REFUSED = auto()
    """The queue is full; or it is not up yet, or is being deleted, and takes nothing now."""
    RETURNED = auto()
    """There is no queue for it."""


OnConfirmation = Callable[[Confirmation], None]


class Link:
    """Opened whole or not at all, never repaired: after a loss the client opens another one.

    So the reply queue is a new one each time. It is exclusive and server-named: it goes when the
    connection goes, and a redeclared one could meet its own ghost (``RESOURCE_LOCKED``).
    """

    def __init__(self, connection: Connection, on_reply: OnReply) -> None:
        self.lost = asyncio.Event()
        self.taken = False
        """Whether the broker has ever taken a message from it."""
        self._connection = connection
        self._on_reply = on_reply
        self._lane: Lane
        self._reply_to = ""
        self._published = 0
        self._unconfirmed: dict[int, tuple[str, OnConfirmation]] = {}
        """Message ids, by the number of the message: in the order in which they were published."""
        self._returned: set[str | None] = set()
        """Message ids of what came back, and is confirmed next."""

    @classmethod
    async def open(cls, amqp_url: str, on_reply: OnReply) -> "Link":
        """Raises as ``connect``."""
        connection = await connect(
            amqp_url,
            heartbeat=heartbeat(amqp_url),
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
        # In confirm mode, so that a publish that is refused, or has no queue, is noticed.
        channel = await self._connection.channel(publisher_confirms=True)
        replies = await channel.declare_queue(exclusive=True)
        self._reply_to = replies.name
        channel.close_callbacks.add(self.lose)
        underlay = await channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self.lose)
        self._lane = await self._connection.lane(channel)
        self._lane.on_delivery = self._receive
        self._lane.on_return = self._note_return
        self._lane.on_confirm = self._confirm
        # no_ack: a reply that is lost with its client is asked for again, not delivered again.
        await replies.consume(_never, no_ack=True)

    async def close(self) -> None:
        await self._connection.close()

    def lose(self, *_: object) -> None:
        """It is to be replaced."""
        self.lost.set()

    def publish(
        self, body: bytes, correlation_id: str, headers: dict[str, Any], on_outcome: OnConfirmation
    ) -> None:
        """Returns at once; ``on_outcome`` is called with what the broker says."""
        message_id = new_message_id()
        properties = Properties(
            content_type=JSON,
            correlation_id=correlation_id,
            reply_to=self._reply_to,
            message_id=message_id,
            delivery_mode=DeliveryMode.PERSISTENT,
            headers=headers,
        )
        self._lane.publish(REQUESTS, properties, body, mandatory=True)
        self._published += 1
        self._unconfirmed[self._published] = message_id, on_outcome

    def _note_return(self, properties: Properties) -> None:
        self._returned.add(properties.message_id)

    def _confirm(self, number: int, multiple: bool, taken: bool) -> None:
        if multiple:
            numbers = list(takewhile(lambda each: each <= number, self._unconfirmed))
        else:
            numbers = [number] if number in self._unconfirmed else []
        for each in numbers:
            message_id, on_outcome = self._unconfirmed.pop(each)
            if message_id in self._returned:
                self._returned.discard(message_id)
                on_outcome(Confirmation.RETURNED)
            else:
                self.taken |= taken
                on_outcome(Confirmation.ACCEPTED if taken else Confirmation.REFUSED)

    def _receive(self, message: Delivered) -> None:
        replayed = bool(message.headers.get(REPLAYED, False))
        parked = bool(message.headers.get(PARKED, False))
        self._on_reply(message.correlation_id, message.body, replayed, parked)


async def _never(message: AbstractIncomingMessage) -> None:
    """What aio-pika would call, if the lane did not take its messages."""
