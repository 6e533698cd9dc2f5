"""The letters of a queue, in an operator's hands: any number of them, in the queue's own order.

A letter that is neither acknowledged nor given back is the queue's all the time. Whatever ends this
process, the broker puts it back to where it was.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from labkit.client.channel import address
from labkit.errors import BrokerAway, NoSuchQueue, QueueInUse
from server.contract import brokers, topology
from server.contract.limits import Limits
from server.contract.topology import DEAD_LETTERS, RESERVED_PREFIX

BATCH = 1000
"""Letters taken at a time: in memory they are whole, bodies and all."""
SILENCE = 0.5
"""Seconds. If no letter comes for so long, another consumer may have taken what was counted."""

READY_TIMEOUT = 5.0
"""Seconds in which the broker puts back at least some of what it is given back."""

LOST = (
    aiormq.exceptions.AMQPError,
    aiormq.exceptions.ChannelInvalidStateError,
    ConnectionError,
)
"""What is raised when the connection breaks."""


class Held:
    """Takes letters one batch after the other, and holds them until they are acknowledged or given
    back.

    There is no limit to what one channel may hold. A batch is a consumer that may be sent that many
    letters and is cancelled after them: some round trips for a thousand letters, instead of one for
    each, and never more of them here than were asked for.
    """

    def __init__(self, channel: AbstractChannel, queue: str, *, replicated: bool = False) -> None:
        """``replicated``: a quorum queue has no place of its own for what it gets back: it has
        to be given it in order.
        """
        self._channel = channel
        self._queue = queue
        self._replicated = replicated
        self._tags: dict[int, None] = {}
        """Delivery tags of what is held, in the order of the queue."""
        self._first: list[DeliveredMessage] = []
        """Came before any was asked for."""

    async def ready(self) -> int:
        """How many there are to be taken. Raises ``NoSuchQueue``."""
        try:
            declared = await self._channel.queue_declare(self._queue, passive=True)
        except aiormq.exceptions.ChannelNotFoundEntity as error:
            raise NoSuchQueue(f"There is no queue {self._queue!r} here.") from error
        return (declared.message_count or 0) + len(self._first)

    async def wait_for_leader(self) -> None:
        """A quorum queue that elects a leader says that it is empty. A consumer waits until it is
        led: this one has room for a letter, the first, which is kept for ``take``.
        """
        if self._replicated and not await self.ready():
            self._first = await self._consume(1, 0)

    async def all(
        self, batch: int = BATCH, most: int | None = None
    ) -> AsyncIterator[list[DeliveredMessage]]:
        """All that are in the queue now, or the first of them, in batches; not what comes behind
        them meanwhile.
        """
        left = await self.ready() if most is None else most
        while left and (taken := await self.take(min(batch, left))):
            left -= len(taken)
            yield taken

    async def take(self, most: int) -> list[DeliveredMessage]:
        """The next ones, fewer only if there are no more."""
        taken, self._first = self._first[:most], self._first[most:]
        if expected := min(most - len(taken), await self.ready()):
            taken += await self._consume(expected, expected)
        self._tags |= dict.fromkeys(message.delivery_tag or 0 for message in taken)
        return taken

    async def _consume(self, room: int, expected: int) -> list[DeliveredMessage]:
        """What comes to a consumer with that much ``room`` until all ``expected`` ones are here."""
        taken: list[DeliveredMessage] = []
        came = asyncio.Event()

        async def receive(message: DeliveredMessage) -> None:
            taken.append(message)
            came.set()

        await self._channel.basic_qos(prefetch_count=room)
        consumer = await self._channel.basic_consume(self._queue, receive)
        while len(taken) < expected:
            came.clear()
            try:
                await asyncio.wait_for(came.wait(), SILENCE)
            except TimeoutError:
                if not await self.ready():
                    break
        await self._channel.basic_cancel(consumer.consumer_tag or "")
        return taken

    async def remove(self, message: DeliveredMessage) -> None:
        """It leaves the queue."""
        await self._channel.basic_ack(message.delivery_tag or 0, wait=False)
        self._tags.pop(message.delivery_tag or 0, None)

    async def reject(self, message: DeliveredMessage) -> None:
        """The broker itself moves it, as it is, to where the queue dead-letters to; if it does to
        nowhere, it is dropped.
        """
        await self._channel.basic_reject(message.delivery_tag or 0, requeue=False, wait=False)
        self._tags.pop(message.delivery_tag or 0, None)

    async def give_back(self) -> None:
        """All that is held goes to where it was. Returns when it is there, as a rule.

        The broker tells no one when that is. A count may be answered before a requeue that was
        asked for earlier: so we look until all are there, unless another consumer takes them
        meanwhile.
        """
        await self.take(len(self._first))
        if not self._tags:
            return
        expected = await self.ready() + len(self._tags)
        if self._replicated:
            for tag in self._tags:
                await self._channel.basic_nack(tag, requeue=True, wait=False)
        else:
            await self._channel.basic_nack(0, multiple=True, requeue=True)
        self._tags.clear()
        await self._until_ready(expected)

    async def _until_ready(self, expected: int) -> None:
        """However many they are, as long as some more come back: 100,000 take many seconds."""
        most, since = -1, time.monotonic()
        while (ready := await self.ready()) < expected and time.monotonic() - since < READY_TIMEOUT:
            if ready > most:
                most, since = ready, time.monotonic()
            await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(amqp_url: str) -> AsyncIterator[AbstractConnection]:
    """A connection for as long as the block lasts. Raises ``BrokerAway``."""
    try:
        connection = await brokers.connected(amqp_url, aiormq.connect)
    except Exception as error:  # aiormq raises all kinds
        raise BrokerAway(address(amqp_url), error) from error
    try:
        yield connection
    except LOST as error:
        raise BrokerAway(address(amqp_url), error) from error
    except ExceptionGroup as errors:  # of tasks that worked side by side
        if (lost := errors.subgroup(LOST)) is None:
            raise
        raise BrokerAway(address(amqp_url), lost.exceptions[0]) from errors
    finally:
        await connection.close()


@asynccontextmanager
async def holding(connection: AbstractConnection, queue: str) -> AsyncIterator[Held]:
    """``queue`` in our hands alone; at the end it has all back that was not removed.

    Raises ``NoSuchQueue``, or ``QueueInUse`` while another operator has it.
    """
    await _lock(connection, queue)
    channel = await connection.channel()
    await Held(channel, queue).ready()
    held = Held(channel, queue, replicated=await _is_replicated(connection, queue))
    try:
        await held.wait_for_leader()
        yield held
    finally:
        if not channel.is_closed:
            await held.give_back()
            await channel.close()


async def _is_replicated(connection: AbstractConnection, queue: str) -> bool:
    """AMQP does not say of what kind a queue is, but whether it is as we would declare it."""
    if queue != DEAD_LETTERS:
        return queue.startswith(RESERVED_PREFIX)  # all others of ours are
    wanted = topology.dead_letters(Limits(clustered=True))
    channel = await connection.channel()
    try:
        await channel.queue_declare(queue, durable=True, arguments=dict(wanted.arguments))
    except aiormq.exceptions.ChannelPreconditionFailed:
        return False
    await channel.close()
    return True


async def _lock(connection: AbstractConnection, queue: str) -> None:
    """Two operators would each see what the other one has not. An exclusive queue is a lock that
    the broker opens by itself when its owner's connection ends.
    """
    channel = await connection.channel()
    try:
        await channel.queue_declare(f"{queue}.in-use", exclusive=True)
    except aiormq.exceptions.ChannelLockedResource as error:
        raise QueueInUse(
            f"Another operator is using {queue}, to look into it or to replay from it. "
            "Nothing was changed. Try again when they have finished."
        ) from error
    await channel.close()
