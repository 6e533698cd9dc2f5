"""Locks by key, in memory: requests that want the same thing are worked on one after the other.

PostgreSQL would let them wait, too, at the lock of a row. But each would hold one of the few
connections meanwhile, and soon no other request could get one.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class TooManyWaiting(Exception):
    """One more waiting request would keep unrelated ones from being worked on."""


@dataclass
class _Lock:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    """The request that holds it, and those that wait for it."""


class KeyedLocks:
    """One lock for each key in use. At most ``room`` requests wait, for all of them together."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._waiting = 0
        self._locks: dict[Hashable, _Lock] = {}

    @asynccontextmanager
    async def hold(self, key: Hashable, within: float) -> AsyncIterator[None]:
        """Holds the lock of ``key`` for the length of the block; first come, first served.

        Raises ``TooManyWaiting`` at once if there is no room to wait, and ``TimeoutError`` if the
        lock was not free within ``within`` seconds.
        """
        entry = self._locks.setdefault(key, _Lock())
        entry.users += 1
        try:
            await self._acquire(entry.lock, within)
            try:
                yield
            finally:
                entry.lock.release()
        finally:
            entry.users -= 1
            if not entry.users:
                del self._locks[key]

    async def _acquire(self, lock: asyncio.Lock, within: float) -> None:
        if not lock.locked():
            await lock.acquire()
            return
        if self._waiting >= self._room:
            raise TooManyWaiting
        self._waiting += 1
        try:
            await asyncio.wait_for(lock.acquire(), within)
        finally:
            self._waiting -= 1
