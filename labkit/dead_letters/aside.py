"""Letters are moved out of the way, into ``api.dlq.unreadable``: no replay and no look meets them.

can be read      a copy is confirmed by the broker, then the letter leaves the queue
cannot be read   it cannot be copied either, so the broker is asked to move it: it is rejected
"""

import asyncio
import time

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection, DeliveredMessage

from labkit.broker.held import READY_TIMEOUT, Held
from labkit.dead_letters import copies
from labkit.dead_letters.letter import Letter
from labkit.dead_letters.post import Post
from labkit.dead_letters.reading import Pairs
from labkit.errors import NotMoved
from server.contract import topology
from server.contract.limits import Limits
from server.contract.topology import SET_ASIDE, Queue


class Aside:
    """Moves what ``held`` holds."""

    def __init__(self, held: Held, post: Post, there: Held) -> None:
        self._held = held
        self._post = post
        self._there = there

    @classmethod
    async def open(cls, connection: AbstractConnection, held: Held, post: Post) -> "Aside":
        """Raises ``NotMoved`` where a letter that is rejected would be dropped."""
        kinds = [Limits(), Limits(clustered=True)]
        await _declared(connection, *(topology.dead_letters(limits) for limits in kinds))
        channel = await _declared(connection, topology.unreadable())
        return cls(held, post, Held(channel, SET_ASIDE))

    async def move(self, letters: Pairs) -> int:
        """How many those are. Raises ``NotMoved`` if one was refused: it stays, with the rest."""
        for one, message in letters:
            if not one.is_readable:
                await self._reject(message)
        copying = [self._copy(one, message) for one, message in letters if one.is_readable]
        for result in await asyncio.gather(*copying, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        return len(letters)

    async def _copy(self, one: Letter, message: DeliveredMessage) -> None:
        await self._post.put(SET_ASIDE, *copies.moved(one))
        await self._held.remove(message)

    async def _reject(self, message: DeliveredMessage) -> None:
        """One at a time: a broker that is not able to move it drops it, and says nothing."""
        before, deadline = await self._there.ready(), time.monotonic() + READY_TIMEOUT
        await self._held.reject(message)
        while await self._there.ready() <= before:
            if time.monotonic() > deadline:
                raise NotMoved(f"{SET_ASIDE} has not taken a letter: see the queue's policies.")
            await asyncio.sleep(0.005)


async def _declared(connection: AbstractConnection, *kinds: Queue) -> AbstractChannel:
    """The queue is there, and of one of these kinds. Raises ``NotMoved``."""
    for kind in kinds:
        channel = await connection.channel()
        try:
            await channel.queue_declare(kind.name, durable=True, arguments=dict(kind.arguments))
        except aiormq.exceptions.ChannelPreconditionFailed as error:
            mismatch = topology.TopologyMismatch(kind.name, str(error))
        else:
            return channel
    raise NotMoved(str(mismatch)) from mismatch
