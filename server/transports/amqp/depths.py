"""How many messages wait, looked at every few seconds for the metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from server.contract.connection import connect, heartbeat, is_ours
from server.contract.topology import DEAD_LETTERS, RAW_DEAD_LETTERS, REQUESTS

QUEUES = (REQUESTS, DEAD_LETTERS, RAW_DEAD_LETTERS)
EVERY = 5.0
"""Seconds. A look is one round trip for each queue."""

Tell = Callable[[str, int], None]


@asynccontextmanager
async def watching(amqp_url: str, tell: Tell) -> AsyncIterator[None]:
    """``tell`` is called with each queue's name and messages while the block lasts."""
    watcher = asyncio.create_task(_watch(amqp_url, tell))
    try:
        yield
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])


async def _watch(amqp_url: str, tell: Tell) -> None:
    while True:
        try:
            await _look_until_it_is_lost(amqp_url, tell)
        except Exception:  # noqa: S110  (the broker is away, or has no queues: the worker says so)
            pass
        except asyncio.CancelledError:
            if is_ours():
                raise
        await asyncio.sleep(EVERY)


async def _look_until_it_is_lost(amqp_url: str, tell: Tell) -> None:
    async with await connect(amqp_url, heartbeat=heartbeat(amqp_url)) as connection:
        channel = await connection.channel()
        while True:
            for name in QUEUES:
                queue = await channel.declare_queue(name, passive=True)
                tell(name, queue.declaration_result.message_count or 0)
            await asyncio.sleep(EVERY)
