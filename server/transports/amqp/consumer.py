"""Deliveries from one queue, each in a task of ours, from the first one to the drain."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from server.contract.lane import Delivered, Lane

log = structlog.get_logger()

ONE_AT_A_TIME = 1


class Processor(Protocol):
    async def process(self, message: Delivered) -> None:
        """Raises only if the connection is lost: then all is delivered again."""


class Consumer:
    """Runs a task for each delivery, which comes by the channel's fast lane.

    It begins carefully: one delivery at a time, until one comes that was not delivered before. A
    message that kills the connection, or the worker, comes back; and whatever is held beside it
    then would be counted as delivered in vain, and be dead-lettered with it in the end.

    ``ended`` is set once no more deliveries can come: the channel closed, or the broker cancelled
    the consumer because the queue was deleted.
    """

    def __init__(
        self,
        queue: str,
        processor: Processor,
        channel: AbstractChannel,
        lane: Lane,
        prefetch: int,
        *,
        clustered: bool = False,
    ) -> None:
        """``clustered``: the first consumer stays, and another one is beside it. When a node of a
        cluster goes away, RabbitMQ 3.10 keeps what cancelled consumers held there until it is back.
        """
        self.ended = asyncio.Event()
        self._queue = queue
        self._processor = processor
        self._channel = channel
        self._lane = lane
        self._prefetch = prefetch
        self._careful = prefetch > ONE_AT_A_TIME
        self._draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._consuming = asyncio.Lock()
        self._clustered = clustered
        self._tags: list[str] = []

    async def open(self) -> None:
        self._lane.on_delivery = self._receive
        self._channel.close_callbacks.add(self._end)
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._end)
        await self._add(ONE_AT_A_TIME)

    def _end(self, *_: object) -> None:
        self.ended.set()

    async def _add(self, prefetch: int) -> None:
        if not self._draining:
            await self._channel.set_qos(prefetch_count=prefetch)
            queue = await self._channel.get_queue(self._queue, ensure=False)
            self._tags.append(await queue.consume(_never))

    async def _cancel(self) -> None:
        queue = await self._channel.get_queue(self._queue, ensure=False)
        while self._tags:
            await queue.cancel(self._tags.pop())

    def _receive(self, message: Delivered) -> None:
        if self._careful and not message.redelivered:
            self._careful = False
            self._start(self._widen(message))
        else:
            self._start(self._processor.process(message))

    async def _widen(self, message: Delivered) -> None:
        """Consume with the whole prefetch before the first message is acknowledged. Its ack would
        have the broker send another one, and while the consumer changes, that one comes back to the
        queue: marked as delivered before, though no consumer has seen it.
        """
        async with self._consuming:
            if self._clustered:
                await self._add(self._prefetch - ONE_AT_A_TIME)
            else:
                await self._cancel()
                await self._add(self._prefetch)
        await self._processor.process(message)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its delivery is not acknowledged, and never will be on this channel.
            if not self.ended.is_set():
                log.warning("consumer_restarted", why=f"{type(error).__name__}: {error}")
            self._end()

    async def drain(self, seconds: float) -> None:
        """No more deliveries; those in hand have that many seconds to finish.

        What is not finished then is cancelled: its transaction rolls back, and the broker gives
        the request to another worker.
        """
        try:
            self._draining = True
            if not self.ended.is_set():
                async with self._consuming:
                    await self._cancel()
            if self._tasks:
                log.info("draining", deliveries=len(self._tasks))
                await asyncio.wait(self._tasks, timeout=seconds)
        finally:
            unfinished = list(self._tasks)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
            self._lane.flush()


async def _never(message: AbstractIncomingMessage) -> None:
    """What aio-pika would call, if the lane did not take its messages."""
