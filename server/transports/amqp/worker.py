"""The RabbitMQ edge: a worker that consumes until it has to stop."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from server.application.dispatcher import Dispatcher
from server.application.hooks import Observer, no_observer
from server.contract import topology
from server.contract.connection import Connection, connect, heartbeat, is_ours
from server.contract.errors import Unavailable
from server.contract.log_events import DRAINED, READY
from server.settings import Settings
from server.transports.amqp.confirmed import ConfirmedPublisher
from server.transports.amqp.consumer import ONE_AT_A_TIME, Consumer, Processor
from server.transports.amqp.dead_letters import DeadLetters
from server.transports.amqp.delivery_processor import DeliveryProcessor
from server.transports.amqp.direct_reply import DirectReplies
from server.transports.amqp.retry import Retries

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between attempts to reach the broker; each pause is twice the one before."""

GRACE = 1.0
"""Seconds that deliveries in hand have when the connection is lost. None of them can be
acknowledged any more, so each is redelivered; what commits by then is only replied to, and one that
hangs does not keep the worker away."""

Serve = Callable[[Connection, asyncio.Event], Awaitable[None]]
"""Serves over one connection until it is lost, or the event is set and all is drained."""


class Worker:
    """Consumes ``api.requests``, and parks what the broker gives up; each over a connection of its
    own, so that a message which breaks the one leaves the other alone.

    Reconnecting is a plain loop: everything is opened again, in the same order as the first time.
    What was delivered before and not acknowledged comes again.
    """

    answers_with: Callable[..., DeliveryProcessor] = DeliveryProcessor
    publishes_with: type[ConfirmedPublisher] = ConfirmedPublisher

    def __init__(
        self, settings: Settings, dispatcher: Dispatcher, observe: Observer = no_observer
    ) -> None:
        self._settings = settings
        self._dispatcher = dispatcher
        self._observe = observe
        self.looks_on: Callable[[Processor, str, str], Processor] | None = None
        """Is put around what processes the deliveries of a queue. It is given that processor, the
        queue's name, and the broker's user that receives them."""

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop`` is set and every delivery in hand is finished, or its time is up.

        Raises ``topology.TopologyMismatch``: waiting does not help.
        """
        with suppress(Unavailable):  # it was there a moment ago, and requests ask for it again
            await self._dispatcher.prepare()
        serves = (self._serve_dead_letters, self._serve_requests)
        tasks = [asyncio.create_task(self._keep(serve, stop)) for serve in serves]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, serve: Serve, stop: asyncio.Event) -> None:
        """Serve again after each loss of the connection, at growing intervals."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            try:
                async with await self._connect() as connection:
                    await serve(connection, stop)
                pause, why = FIRST_PAUSE, "the connection was lost"
            except topology.TopologyMismatch:
                raise
            except Exception as error:  # aiormq raises all kinds when a connection breaks early
                why = f"{type(error).__name__}: {error}"
            except asyncio.CancelledError:
                if is_ours():
                    raise
                why = "cancelled by aiormq"
            if not stop.is_set():
                # Workers that lost the same broker must not all come back in the same moment.
                jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
                log.warning("broker_unreachable", why=why, retry_in=round(jittered, 2))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), jittered)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect(self) -> Connection:
        return await connect(
            self._settings.amqp_url,
            heartbeat=heartbeat(self._settings.amqp_url),
            client_properties={"connection_name": "library-server"},
        )

    def queues(self, settings: Settings) -> list[topology.Queue]:
        """What has to be there before it consumes."""
        return topology.topology(settings)

    async def _declare(self, connection: Connection) -> None:
        async with connection.channel() as channel:
            for queue in self.queues(self._settings):
                await queue.declare(channel)

    async def _serve_requests(self, connection: Connection, stop: asyncio.Event) -> None:
        await self._declare(connection)
        channel = await connection.channel(publisher_confirms=False)
        replies = await connection.lane(channel)
        publisher = await self._confirmed(connection)
        async with DirectReplies(self._settings.amqp_url) as direct:
            processor = self.answers_with(
                self._dispatcher,
                self._settings,
                replies,
                direct,
                Retries(publisher, self._settings),
                self._dead_letters(publisher),
                self._observe,
            )
            consumer = Consumer(
                topology.REQUESTS,
                self._watched(processor, topology.REQUESTS),
                channel,
                replies,
                self._settings.prefetch,
                clustered=self._settings.clustered,
            )
            await self._consume(consumer, stop, ready=True)
        if stop.is_set():
            log.info(DRAINED)

    async def _serve_dead_letters(self, connection: Connection, stop: asyncio.Event) -> None:
        await self._declare(connection)
        channel = await connection.channel(publisher_confirms=False)
        lane = await connection.lane(channel)
        publisher = await self._confirmed(connection)
        processor = self._watched(self._dead_letters(publisher), topology.RAW_DEAD_LETTERS)
        consumer = Consumer(topology.RAW_DEAD_LETTERS, processor, channel, lane, ONE_AT_A_TIME)
        await self._consume(consumer, stop)

    async def _consume(
        self, consumer: Consumer, stop: asyncio.Event, *, ready: bool = False
    ) -> None:
        """Until its deliveries end, or ``stop`` is set and those in hand are finished."""
        await consumer.open()
        if ready:
            log.info(READY, queue=topology.REQUESTS, prefetch=self._settings.prefetch)
        await _first_of(stop.wait(), consumer.ended.wait())
        patience = self._settings.drain_timeout
        await consumer.drain(patience if stop.is_set() else min(patience, GRACE))

    def _watched(self, processor: Processor, queue: str) -> Processor:
        if self.looks_on is None:
            return processor
        return self.looks_on(processor, queue, self._settings.amqp_user)

    def _dead_letters(self, publisher: ConfirmedPublisher) -> DeadLetters:
        return DeadLetters(publisher, self._dispatcher.caller_of, self._settings.amqp_user)

    async def _confirmed(self, connection: Connection) -> ConfirmedPublisher:
        return await self.publishes_with.open(connection, partial(self._declare, connection))


async def _first_of(*awaitables: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
