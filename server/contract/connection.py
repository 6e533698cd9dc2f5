"""A connection to the broker, as the server and the client open it."""

import asyncio
import logging
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, TimeoutType
from aiormq.abc import DeliveredMessage

from server.contract import brokers
from server.contract import undecodable as undecodable  # both sides read tolerantly
from server.contract.lane import Lane, Tapped

# Our errors repeat its warnings, in the caller's place and words. A program that wants
# to see them configures logging, and does.
logging.getLogger("aiormq").addHandler(logging.NullHandler())


def _has_no_message(record: logging.LogRecord) -> bool:
    """Of one that comes back unexpectedly it would tell the whole body, and so a key."""
    return not any(isinstance(each, DeliveredMessage) for each in record.args or ())


logging.getLogger("aiormq.channel").addFilter(_has_no_message)

CONNECT_TIMEOUT, HEARTBEAT = 5, 10
"""Seconds. A broker that says nothing for three heartbeats is gone."""
CONNECT_TIMEOUT_OF_ONE, HEARTBEAT_OF_ONE = 2, 3
"""The same, where there are others to go to."""


class Connection(aio_pika.Connection):
    """One that cannot be opened is closed here, as any other is. The garbage collector would do it
    late, in whatever thread it runs: where that has no event loop, with a warning.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tapped = self.kwargs["transport_factory"] = Tapped()

    async def lane(self, channel: AbstractChannel) -> Lane:
        """The messages of this open channel go past aio-pika from now on: see ``Lane``."""
        underlay = await channel.get_underlay_channel()
        tune = underlay.connection.connection_tune
        return self._tapped.lane(underlay.number, tune.frame_max)

    async def connect(self, timeout: TimeoutType = None) -> None:  # noqa: ASYNC109
        try:
            await super().connect(timeout)
        except BaseException:
            await self.close()
            raise


def is_ours() -> bool:
    """Whether it is this task that is cancelled, and not something in aiormq that it waits for:
    that is a lost connection.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def heartbeat(amqp_url: str) -> int:
    """Seconds, for who has to notice soon that the broker is gone."""
    return HEARTBEAT_OF_ONE if brokers.are_several(amqp_url) else HEARTBEAT


async def connect(amqp_url: str, **options: Any) -> Connection:
    """As ``aio_pika.connect``, to the first of the ``brokers`` that lets us in; raises whatever it
    raises: many kinds, when a connection breaks.
    """
    timeout = CONNECT_TIMEOUT_OF_ONE if brokers.are_several(amqp_url) else CONNECT_TIMEOUT

    async def connect_to(broker: str) -> Connection:
        connection: Connection = await aio_pika.connect(
            broker, timeout=timeout, connection_class=Connection, **options
        )
        return connection

    return await brokers.connected(amqp_url, connect_to)
