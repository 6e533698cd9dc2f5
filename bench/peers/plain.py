"""The thirty lines that a student would write with aio-pika: no task, no pool, no idempotency.

The queue is the one of the Library API: quorum, with persistent and confirmed requests.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

import aio_pika
import load
import uvloop
from aio_pika.abc import AbstractIncomingMessage

Work = Callable[[AbstractIncomingMessage], Awaitable[bytes]]
"""message -> the body of its reply"""


async def serve(name: str, prefetch: int, work: Work) -> None:
    """Answers each message of the queue with what `work` makes of it, for ever."""
    connection = await aio_pika.connect(os.environ["AMQP_URL"])
    channel = await connection.channel(publisher_confirms=False)
    await channel.set_qos(prefetch_count=prefetch)
    queue = await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum"})

    async def answer(message: AbstractIncomingMessage) -> None:
        reply = aio_pika.Message(await work(message), correlation_id=message.correlation_id)
        await channel.default_exchange.publish(reply, message.reply_to or "", mandatory=False)
        await message.ack()

    await queue.consume(answer)
    load.ready()
    await asyncio.Future()


async def echo(message: AbstractIncomingMessage) -> bytes:
    return message.body


class Client:
    """Calls `queue`, and matches replies by their correlation id."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def open(self) -> None:
        self._connection = await aio_pika.connect(os.environ["AMQP_URL"])
        self._channel = await self._connection.channel()
        self._replies = await self._channel.declare_queue(exclusive=True)
        await self._replies.consume(self._receive, no_ack=True)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        self._waiting.pop(message.correlation_id or "").set_result(message.body)

    async def call(self, name: str, body: bytes = load.BODY) -> bytes:
        self._waiting[name] = reply = asyncio.get_running_loop().create_future()
        request = aio_pika.Message(
            body, correlation_id=name, reply_to=self._replies.name, delivery_mode=2
        )
        await self._channel.default_exchange.publish(request, self._queue)
        return await reply


async def client() -> None:
    plain = Client("echo.plain")
    await plain.open()
    await load.run(plain.call)


if __name__ == "__main__":
    uvloop.run(serve("echo.plain", 256, echo) if sys.argv[1] == "server" else client())
