"""The RabbitMQ edge: a worker that consumes requests until it is told to stop."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from server import topology
from server.application import Application
from server.consumer import LOST, Consumer
from server.settings import Settings
from server.steps import Observer, nobody

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between attempts to reach the broker; each pause is twice the one before."""


class Worker:
    """Consumes ``api.requests``; reconnects whenever the broker or the connection goes away.

    Reconnecting is a plain loop: everything is opened anew, in the same order as the first time.
    What was delivered before and not acknowledged comes again.
    """

    def __init__(
        self, settings: Settings, application: Application, observe: Observer = nobody
    ) -> None:
        self._settings = settings
        self._application = application
        self._observe = observe

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set and every delivery in hand is finished, or its time is up.

        Raises ``topology.TopologyMismatch``: waiting does not mend that.
        """
        pause = FIRST_PAUSE
        while not stop.is_set():
            try:
                await self._serve(stop)
                pause = FIRST_PAUSE
            except (OSError, *LOST) as error:
                log.warning("the broker cannot be reached", error=str(error), retry_in=pause)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _serve(self, stop: asyncio.Event) -> None:
        """One connection, from its opening until it is lost or the worker has drained."""
        async with await aio_pika.connect(
            self._settings.amqp_url, client_properties={"connection_name": "library-server"}
        ) as connection:
            async with connection.channel() as channel:
                await topology.declare(channel, self._settings)
            replies = await connection.channel(publisher_confirms=False)
            await replies.set_qos(prefetch_count=self._settings.prefetch)
            safe = await connection.channel(on_return_raises=True)
            consumer = Consumer(self._application, self._settings, replies, safe, self._observe)
            intake = Intake(consumer, replies)
            await intake.open()
            log.info("ready", queue=topology.REQUESTS, prefetch=self._settings.prefetch)
            await _first_of(stop.wait(), intake.ended.wait())
            await intake.drain(self._settings.drain_timeout)
            log.info("drained" if stop.is_set() else "lost the broker")


class Intake:
    """Runs a task of ours for each delivery. A closing channel cancels the callbacks that it runs
    itself, in the middle of their work.

    ``ended`` is set once no more deliveries can come: the channel closed, or the broker cancelled
    the consumer because the queue was deleted.
    """

    def __init__(self, consumer: Consumer, channel: AbstractChannel) -> None:
        self.ended = asyncio.Event()
        self._consumer = consumer
        self._channel = channel
        self._tasks: set[asyncio.Task[None]] = set()
        self._tag = ""

    async def open(self) -> None:
        self._channel.close_callbacks.add(self._end)
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._end)
        queue = await self._channel.get_queue(topology.REQUESTS, ensure=False)
        self._tag = await queue.consume(self._receive)

    def _end(self, *_: object) -> None:
        self.ended.set()

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        task = asyncio.create_task(self._consumer.process(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """No more deliveries; those in hand have that many seconds to finish.

        What is not finished then is cancelled: its transaction rolls back, and the broker gives
        the request to another worker.
        """
        if not self.ended.is_set():
            queue = await self._channel.get_queue(topology.REQUESTS, ensure=False)
            await queue.cancel(self._tag)
        if self._tasks:
            log.info("draining", deliveries=len(self._tasks))
            _, unfinished = await asyncio.wait(self._tasks, timeout=seconds)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)


async def _first_of(*awaitables: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
