"""Locks by key, in memory: requests that want the same thing are worked on one after the other.

PostgreSQL would let them wait, too, at the lock of a row. But each would hold one of the few
connections meanwhile, and soon no other request could get one.
"""

import asyncio
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field


class Busy(Exception):
    """Others have this key."""

    def __init__(self, key: Hashable) -> None:
        super().__init__(f"{key} is in use.")
        self.key = key


class TooManyWaiting(Busy):
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

    def hold(self, keys: Sequence[Hashable], within: float) -> "_Hold":
        """``async with`` it to hold the locks of these keys, taken in this order; first come, first
        served. It gives the keys that others had when it came.

        Raises ``TooManyWaiting`` at once if there is no room to wait, and ``Busy`` if a lock was
        not free within ``within`` seconds.
        """
        return _Hold(self, keys, within)

    async def take(self, key: Hashable, within: float) -> bool:
        """Whether others had it."""
        entry = self._locks.setdefault(key, _Lock())
        entry.users += 1
        try:
            return await self._acquire(key, entry, within)
        except BaseException:
            self._leave(key, entry)
            raise

    def release(self, key: Hashable) -> None:
        entry = self._locks[key]
        entry.lock.release()
        self._leave(key, entry)

    def _leave(self, key: Hashable, entry: _Lock) -> None:
        entry.users -= 1
        if not entry.users:
            del self._locks[key]

    async def _acquire(self, key: Hashable, entry: _Lock, within: float) -> bool:
        if entry.users == 1:  # it is free, and there is no queue
            await entry.lock.acquire()
            return False
        if self._waiting >= self._room:
            raise TooManyWaiting(key)
        self._waiting += 1
        try:
            await asyncio.wait_for(entry.lock.acquire(), within)
            return True
        except TimeoutError:
            raise Busy(key) from None
        finally:
            self._waiting -= 1


class _Hold:
    """A class, and no generator with a decorator: every write comes by, and this takes a third."""

    __slots__ = ("_held", "_keys", "_locks", "_within")

    def __init__(self, locks: KeyedLocks, keys: Sequence[Hashable], within: float) -> None:
        self._locks = locks
        self._keys = keys
        self._within = within
        self._held: list[Hashable] = []

    async def __aenter__(self) -> list[Hashable]:
        others_had = []
        try:
            for key in self._keys:
                if await self._locks.take(key, self._within):
                    others_had.append(key)
                self._held.append(key)
            return others_had
        except BaseException:
            self._release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        while self._held:
            self._locks.release(self._held.pop())
