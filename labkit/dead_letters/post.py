"""Sends requests for an operator, and tells what became of each.

Each publish is confirmed by the broker. The answers come into a queue of our own. Which one is
whose, a correlation id of our own tells: the senders' are not unique, since some count from 1, and
an answer may come twice.
"""

import asyncio
import time
import uuid
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage
from pamqp import commands as spec

from labkit.client.amqp import ELECTION, ELECTION_PAUSE
from labkit.client.caller import Reply
from labkit.dead_letters.letter import parsed
from labkit.errors import NotMoved
from server.contract import brokers
from server.contract.headers import ASKED_AS, PARKED, REPLAYED
from server.contract.turns import Turns
from server.contract.vouching import user_of


class Post:
    """A channel in confirm mode, and a reply queue that goes with the connection.

    All that it publishes is signed with ``user``, that of the connection: so the server, and
    the tools that read a letter later, believe its headers.
    """

    def __init__(
        self, connection: AbstractConnection, channel: AbstractChannel, reply_to: str, amqp_url: str
    ) -> None:
        """Use ``open``."""
        self._connection = connection
        self._channel = channel
        self._reply_to = reply_to
        self._election = ELECTION if brokers.are_several(amqp_url) else 0.0
        self.user = user_of(amqp_url)
        self._turns = Turns()
        self._waiting: dict[str, asyncio.Future[Reply]] = {}

    @classmethod
    async def open(cls, connection: AbstractConnection, amqp_url: str) -> "Post":
        """``amqp_url`` is what it is connected to."""
        channel = await connection.channel(on_return_raises=True)
        queue = await channel.queue_declare(exclusive=True)
        post = cls(connection, channel, queue.queue or "", amqp_url)
        connection.closing.add_done_callback(post._lose)
        await channel.basic_consume(post._reply_to, post._receive, no_ack=True)
        return post

    async def put(self, queue: str, properties: spec.Basic.Properties, body: bytes) -> None:
        """Returns when the broker has confirmed that it holds it. Raises ``NotMoved``.

        A cluster is asked again for as long as its queue may elect a leader, each time over a new
        channel, as the client does: see ``client.amqp``.
        """
        properties.user_id = self.user
        end = time.monotonic() + self._election
        async with self._turns.of(properties.message_id):
            taken = await self._taken(self._channel, queue, properties, body)
        while not taken and time.monotonic() < end:
            await asyncio.sleep(ELECTION_PAUSE)
            channel = await self._connection.channel(on_return_raises=True)
            taken = await self._taken(channel, queue, properties, body)
            await channel.close()
        if not taken:
            raise NotMoved(f"The queue {queue} takes no more: the letter stays.")

    async def _taken(
        self, channel: AbstractChannel, queue: str, properties: spec.Basic.Properties, body: bytes
    ) -> bool:
        """Whether the broker has confirmed it; False if it refuses. Raises ``NotMoved``."""
        try:
            await channel.basic_publish(
                body, routing_key=queue, properties=properties, mandatory=True
            )
        except aiormq.exceptions.PublishError as error:  # it is a DeliveryError, too
            raise NotMoved(f"There is no queue {queue!r}: the letter stays.") from error
        except aiormq.exceptions.DeliveryError:
            return False
        return True

    async def ask(
        self,
        queue: str,
        properties: spec.Basic.Properties,
        body: bytes,
        within: float,
    ) -> Reply | None:
        """Its answer, or None if none came ``within`` seconds. Raises ``NotMoved``.

        The body has to say the request's id: the correlation id is replaced, and kept in a header.
        """
        name = uuid.uuid4().hex
        asked_as = properties.correlation_id or ""
        properties.headers = {**(properties.headers or {}), ASKED_AS: asked_as}
        properties.correlation_id, properties.reply_to = name, self._reply_to
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        try:
            await self.put(queue, properties, body)
            return await asyncio.wait_for(answer, within)
        except TimeoutError:
            return None
        finally:
            del self._waiting[name]

    def _lose(self, _: Any) -> None:
        """Nothing is waited for any more that cannot come."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the connection was lost"))

    async def _receive(self, message: DeliveredMessage) -> None:
        """An answer that comes twice, or too late, is dropped."""
        waiting = self._waiting.get(message.header.properties.correlation_id or "")
        if waiting is not None and not waiting.done():
            waiting.set_result(_reply(message))


def _reply(message: DeliveredMessage) -> Reply:
    body: dict[str, Any] = parsed(message.body) or {}
    headers = message.header.properties.headers or {}
    return Reply(
        body.get("correlation_id", ""),
        body.get("status", "error"),
        body.get("data"),
        body.get("error"),
        replayed=bool(headers.get(REPLAYED, False)),
        parked=bool(headers.get(PARKED, False)),
    )
