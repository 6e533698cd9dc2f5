"""Messages by the hundred thousand, published as fast as the broker confirms them."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from aio_pika.exceptions import QueueEmpty

from server.contract.connection import connect
from server.contract.properties import Properties

AT_A_TIME = 1000
"""Messages that are published before the first of them is confirmed."""
LOOK = 0.1
"""Seconds between two looks at a queue."""

Messages = Iterable[tuple[Properties, bytes]]


async def publish(url: str, queue: str, messages: Messages) -> None:
    """Returns once the broker has all of them. Raises ``RuntimeError`` if it does not take one."""
    async with await connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        lane = await connection.lane(channel)
        published, confirmed, refused = 0, 0, False
        moved = asyncio.Event()

        def confirm(tag: int, multiple: bool, taken: bool) -> None:
            nonlocal confirmed, refused
            confirmed = tag if multiple else confirmed + 1
            refused |= not taken
            moved.set()

        async def at_most(unconfirmed: int) -> None:
            while published - confirmed > unconfirmed:
                moved.clear()
                await moved.wait()
                if refused or channel.is_closed:
                    raise RuntimeError(f"{queue} does not take such messages, or no more of them.")

        lane.on_confirm = confirm
        channel.close_callbacks.add(lambda *_: moved.set())
        for properties, body in messages:
            lane.publish(queue, properties, body)
            published += 1
            await at_most(AT_A_TIME)
        await at_most(0)


async def depth(url: str, queue: str) -> int:
    """Messages that are ready."""
    async with await connect(url) as connection:
        channel = await connection.channel()
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def until(url: str, queue: str, is_reached: Callable[[int], bool]) -> None:
    """Returns once that is true of the number of its ready messages."""
    while not is_reached(await depth(url, queue)):  # noqa: ASYNC110  (other processes change it)
        await asyncio.sleep(LOOK)


async def first(url: str, queue: str) -> tuple[Properties, bytes]:
    """The first message of the queue, which keeps it."""
    async with await connect(url) as connection:
        channel = await connection.channel()
        with suppress(QueueEmpty):
            message = await (await channel.get_queue(queue)).get()
            await message.nack(requeue=True)
            return message.properties, message.body
    raise RuntimeError(f"{queue} is empty.")
