"""Waiting lines: requests that want the same thing go one after the other, and wait in memory.

PostgreSQL would let them wait, too, at the lock of a row. But each would hold one of the few
connections meanwhile, and soon no other request could get one.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class Crowded(Exception):
    """So many are waiting that one more would keep unrelated requests from being worked on."""


@dataclass
class _Line:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    people: int = 0
    """Those who wait, and the one whose turn it is."""


class Lines:
    """One line for each name that is wanted now. ``room`` is for all that wait, in all lines."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._waiting = 0
        self._lines: dict[Hashable, _Line] = {}

    @asynccontextmanager
    async def turn(self, name: Hashable, within: float) -> AsyncIterator[None]:
        """For the length of the block it is our turn in this line, and no one else's.

        Raises ``Crowded`` at once if there is no room to wait, and ``TimeoutError`` if the turn has
        not come ``within`` seconds.
        """
        line = self._lines.setdefault(name, _Line())
        line.people += 1
        try:
            await self._wait_in(line, within)
            try:
                yield
            finally:
                line.turn.release()
        finally:
            line.people -= 1
            if not line.people:
                del self._lines[name]

    async def _wait_in(self, line: _Line, within: float) -> None:
        if not line.turn.locked():
            await line.turn.acquire()
            return
        if self._waiting >= self._room:
            raise Crowded
        self._waiting += 1
        try:
            await asyncio.wait_for(line.turn.acquire(), within)
        finally:
            self._waiting -= 1
