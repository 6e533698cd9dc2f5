"""The RabbitMQ edge: a worker that consumes until it is told to stop."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import structlog
from aio_pika.abc import AbstractConnection

from server import topology
from server.application import Application
from server.connection import HEARTBEAT, connect
from server.consumer import Consumer
from server.direct_reply import DirectReplies
from server.intake import ONE_AT_A_TIME, Intake
from server.parking import Parking
from server.settings import Settings
from server.steps import Observer, nobody

log = structlog.get_logger()

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between attempts to reach the broker; each pause is twice the one before."""

Serve = Callable[[AbstractConnection, asyncio.Event], Awaitable[None]]
"""Serves over one connection until it is lost, or the event is set and all is drained."""


class Worker:
    """Consumes ``api.requests``, and parks what the broker gives up; each over a connection of its
    own, so that a message which breaks the one leaves the other alone.

    Reconnecting is a plain loop: everything is opened anew, in the same order as the first time.
    What was delivered before and not acknowledged comes again.
    """

    answers_with: Callable[..., Consumer] = Consumer

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
        parking = asyncio.create_task(self._keep(self._park_dead_letters, stop))
        try:
            await self._keep(self._serve_requests, stop)
            await parking
        finally:
            parking.cancel()
            await asyncio.gather(parking, return_exceptions=True)

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
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                why = "cancelled by aiormq"
            if not stop.is_set():
                # Workers that lost the same broker must not all come back in the same moment.
                jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311  (no secret)
                log.warning("no broker", why=why, retry_in=round(jittered, 2))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), jittered)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect(self) -> AbstractConnection:
        return await connect(
            self._settings.amqp_url,
            heartbeat=HEARTBEAT,
            client_properties={"connection_name": "library-server"},
        )

    def queues(self, settings: Settings) -> list[topology.Queue]:
        """What has to be there before it consumes."""
        return topology.topology(settings)

    async def _declare(self, connection: AbstractConnection) -> None:
        async with connection.channel() as channel:
            for queue in self.queues(self._settings):
                await queue.declare(channel)

    async def _serve_requests(self, connection: AbstractConnection, stop: asyncio.Event) -> None:
        await self._declare(connection)
        replies = await connection.channel(publisher_confirms=False)
        async with DirectReplies(self._settings.amqp_url) as direct:
            consumer = self.answers_with(
                self._application,
                self._settings,
                replies,
                direct,
                await self._parking(connection),
                self._observe,
            )
            intake = Intake(topology.REQUESTS, consumer, replies, self._settings.prefetch)
            await intake.open()
            log.info("ready", queue=topology.REQUESTS, prefetch=self._settings.prefetch)
            await _first_of(stop.wait(), intake.ended.wait())
            await intake.drain(self._settings.drain_timeout)
        if stop.is_set():
            log.info("drained")

    async def _parking(self, connection: AbstractConnection) -> Parking:
        safe = await connection.channel(on_return_raises=True)
        return Parking(safe, self._settings, partial(self._declare, connection))

    async def _park_dead_letters(self, connection: AbstractConnection, stop: asyncio.Event) -> None:
        await self._declare(connection)
        deliveries = await connection.channel(publisher_confirms=False)
        parking = await self._parking(connection)
        intake = Intake(topology.RAW_DEAD_LETTERS, parking, deliveries, ONE_AT_A_TIME)
        await intake.open()
        await _first_of(stop.wait(), intake.ended.wait())
        await intake.drain(self._settings.drain_timeout)


async def _first_of(*awaitables: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
