"""A random fault every few seconds, each healed after a while."""

import asyncio
import random
import time
from contextlib import suppress

from bench.soak.menu import dealt
from labkit.errors import FaultImpossible
from labkit.faults.fault import Fault
from labkit.faults.faults import Faults

EVERY = (5.0, 15.0)
"""Seconds from one fault to the next."""
LASTS = (0.5, 4.5)
"""Seconds until it is healed."""


class Chaos:
    """``happened`` are the faults so far; ``now`` is the one that is active."""

    def __init__(
        self, faults: Faults, dice: random.Random, deck: random.Random, *, of_cluster: bool = False
    ) -> None:
        """``dice`` decide when, and ``deck`` what: whose order is the seed's alone."""
        self.happened: list[Fault] = []
        self.now: Fault | None = None
        self.failed: list[str] = []
        """Faults that could not be made or healed, in words: the lab is at fault then."""
        self._faults = faults
        self._dice = dice
        self._menu = dealt(deck, of_cluster=of_cluster)

    async def run(self, stop: asyncio.Event) -> None:
        due = self._next()
        while not await happens(stop, within=max(0.0, due - time.monotonic())):
            due = self._next()
            try:
                await self._one(stop)
            except FaultImpossible:  # its victim is not there just now: on to the next card
                due = time.monotonic()
            except Exception as error:  # whatever it is, the soak goes on and tells of it
                self.failed.append(f"{self.now}: {type(error).__name__}: {error}")
            finally:
                self.now = None

    def _next(self) -> float:
        return time.monotonic() + self._dice.uniform(*EVERY)

    async def _one(self, stop: asyncio.Event) -> None:
        make = next(self._menu)
        self.now = fault = await make(self._faults)
        await happens(stop, within=self._dice.uniform(*LASTS))
        if fault.happened():
            self.happened.append(fault)
        await fault.heal()


async def happens(event: asyncio.Event, within: float) -> bool:
    """Whether the event was set within this many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within)
    return event.is_set()
