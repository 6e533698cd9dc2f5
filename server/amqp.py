"""The RabbitMQ edge: a worker that consumes requests until it is told to stop."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Protocol

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from server import topology
from server.application import Application
from server.consumer import Consumer
from server.parking import Parking
from server.settings import Settings
from server.steps import Observer, nobody

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between attempts to reach the broker; each pause is twice the one before."""

CONNECT_TIMEOUT, HEARTBEAT = 5, 10
"""Seconds. A broker that says nothing for three heartbeats is gone."""

ONE_AT_A_TIME = 1


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
                pause, why = FIRST_PAUSE, "the connection was lost"
            except topology.TopologyMismatch:
                raise
            except Exception as error:  # aiormq raises all kinds when a connection breaks early
                why = f"{type(error).__name__}: {error}"
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                why = "cancelled by aiormq"
            if not stop.is_set():
                log.warning("no broker", why=why, retry_in=pause)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _serve(self, stop: asyncio.Event) -> None:
        """One connection, from its opening until it is lost or the worker has drained."""
        connection = await aio_pika.connect(
            self._settings.amqp_url,
            timeout=CONNECT_TIMEOUT,
            heartbeat=HEARTBEAT,
            client_properties={"connection_name": "library-server"},
        )
        async with connection:
            async with connection.channel() as channel:
                await topology.declare(channel, self._settings)
            replies = await connection.channel(publisher_confirms=False)
            safe = await connection.channel(on_return_raises=True)
            parking = Parking(safe, self._settings.delivery_limit)
            consumer = Consumer(self._application, self._settings, replies, parking, self._observe)
            requests = Intake(topology.REQUESTS, consumer, replies, self._settings.prefetch)
            dead = Intake(topology.RAW_DEAD_LETTERS, parking, safe, ONE_AT_A_TIME)
            await dead.open()
            await requests.open()
            log.info("ready", queue=topology.REQUESTS, prefetch=self._settings.prefetch)
            await _first_of(stop.wait(), requests.ended.wait(), dead.ended.wait())
            await requests.drain(self._settings.drain_timeout)
            await dead.drain(self._settings.drain_timeout)
            if stop.is_set():
                log.info("drained")


class Processor(Protocol):
    async def process(self, message: AbstractIncomingMessage) -> None:
        """Raises only if the connection is lost: then all is delivered again."""


class Intake:
    """Runs a task of ours for each delivery. A closing channel cancels the callbacks that it runs
    itself, in the middle of their work.

    It begins carefully: one delivery at a time, until one comes that was not delivered before. A
    message that kills the connection, or the worker, comes back; and whatever is held beside it
    then would be counted as delivered in vain, and be dead-lettered with it in the end.

    ``ended`` is set once no more deliveries can come: the channel closed, or the broker cancelled
    the consumer because the queue was deleted.
    """

    def __init__(
        self, queue: str, processor: Processor, channel: AbstractChannel, prefetch: int
    ) -> None:
        self.ended = asyncio.Event()
        self._queue = queue
        self._processor = processor
        self._channel = channel
        self._prefetch = prefetch
        self._careful = True
        self._draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._consuming = asyncio.Lock()
        self._tag: str | None = None

    async def open(self) -> None:
        self._channel.close_callbacks.add(self._end)
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(self._end)
        await self._consume(ONE_AT_A_TIME)

    def _end(self, *_: object) -> None:
        self.ended.set()

    async def _consume(self, prefetch: int) -> None:
        async with self._consuming:
            await self._cancel()
            if not self._draining:
                await self._channel.set_qos(prefetch_count=prefetch)
                queue = await self._channel.get_queue(self._queue, ensure=False)
                self._tag = await queue.consume(self._receive)

    async def _cancel(self) -> None:
        if self._tag is not None:
            queue = await self._channel.get_queue(self._queue, ensure=False)
            await queue.cancel(self._tag)
            self._tag = None

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        self._start(self._processor.process(message))
        if self._careful and not message.redelivered:
            self._careful = False
            self._start(self._consume(self._prefetch))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its delivery is not acknowledged, and never will be on this channel.
            if not self.ended.is_set():
                log.warning("starts over", why=f"{type(error).__name__}: {error}")
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


async def _first_of(*awaitables: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
