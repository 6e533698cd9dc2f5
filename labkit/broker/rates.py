"""How fast messages go through queues: what the broker has counted, by the time that it took."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import pandas as pd

from labkit.broker.management import Broker

PUBLISHED = {"published": "publish"}
DELIVERED = {"delivered": "deliver_get", "acknowledged": "ack", "redelivered": "redeliver"}
TABLES: tuple[Mapping[str, str], ...] = (PUBLISHED, DELIVERED)
"""Ours, and the broker's names for it. The broker counts up each table at a time of its own."""
COLUMNS = [*PUBLISHED, *DELIVERED]

GLANCE = 0.05
"""Seconds between two looks whether the broker has counted again: so well is its time known."""
LATE = 1.25
"""Of the time between two counts: when nothing was new for so long, it has counted that."""


@dataclass(frozen=True)
class Count:
    """What went through each queue since it is there, one column for each word of a table."""

    at: float
    """Seconds of a clock that only goes forward."""
    messages: pd.DataFrame

    def since(self, before: Self) -> pd.DataFrame:
        """How many it were in between. A queue that was not there, or was declared again, began at
        0.
        """
        earlier = before.messages.reindex(self.messages.index, fill_value=0)
        return (self.messages - earlier).where(self.messages >= earlier, self.messages)


Counts = tuple[Count, ...]
"""One of each table."""


class Meter:
    """Reads the broker's counters, each time right after it has counted.

    It counts up every second in a lab, and on a broker of your own every five, as a rule. Between
    two moments of ours there may be one of those times more or less, which would be wrong by all
    that it has counted; between two of its own there are as many messages as it says. They are the
    messages that clients publish and take; what the broker moves by itself, such as a dead letter,
    is in no counter.
    """

    def __init__(self, broker: Broker, vhost: str, every: float) -> None:
        self._broker = broker
        self._vhost = vhost
        self._every = every

    @classmethod
    async def of(cls, broker: Broker, vhost: str) -> Self:
        """Raises ``NoStatistics``, ``BrokerAway``."""
        return cls(broker, vhost, await broker.counts_every())

    async def read(self) -> Counts:
        """The next counts; where nothing is new within the time for one, those of now."""
        waiting = [_Waiting(count) for count in await self._look()]
        deadline = time.monotonic() + LATE * self._every
        while not all(each.fresh for each in waiting) and time.monotonic() < deadline:
            await asyncio.sleep(GLANCE)
            for each, count in zip(waiting, await self._look(), strict=True):
                each.see(count)
        return tuple(each.fresh or each.last for each in waiting)

    async def _look(self) -> Counts:
        at = time.monotonic()
        counters = await self._broker.counters(self._vhost)
        return tuple(Count(at, _frame(counters, words)) for words in TABLES)


class _Waiting:
    """For one table to be counted again."""

    def __init__(self, first: Count) -> None:
        self.fresh: Count | None = None
        self.last = self._first = first
        self._moment: float | None = None

    def see(self, now: Count) -> None:
        self.last = now
        if self._moment is None and not now.messages.equals(self._first.messages):
            self._moment = now.at
        elif self._moment is not None and self.fresh is None:
            # At that moment it may have been some of the queues. Now it is all of them.
            self.fresh = Count(self._moment, now.messages)


def between(before: Counts, after: Counts) -> pd.DataFrame:
    """Messages a second of each queue that is there now."""
    rates = [new.since(old) / (new.at - old.at) for old, new in zip(before, after, strict=True)]
    return pd.concat(rates, axis="columns")


def _frame(counters: Mapping[str, Mapping[str, int]], words: Mapping[str, str]) -> pd.DataFrame:
    rows = {
        queue: [counted.get(word, 0) for word in words.values()]
        for queue, counted in counters.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(words), dtype="int64")
