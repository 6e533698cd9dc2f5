"""The clock of a run, which is never set, and by how much others are ahead of it.

PostgreSQL may be on another machine, whose clock differs; and a machine's clock may be set during a
run. What is measured at its beginning and at its end bounds what was so in between, unless a clock
was set there and back.
"""

import time
from dataclasses import dataclass

import asyncpg

TRIES = 5
"""The one with the shortest round trip tells most."""
NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"


@dataclass(frozen=True)
class Ahead:
    """Another clock is ahead of the run's, by ``least`` to ``most`` seconds."""

    least: float = 0.0
    most: float = 0.0

    def earliest(self, moment: float) -> float:
        """By the run's clock, of what the other one showed."""
        return moment - self.most

    def latest(self, moment: float) -> float:
        """The same; it was at this moment or before."""
        return moment - self.least

    def or_so(self, other: "Ahead") -> "Ahead":
        """Between what was measured at two moments."""
        return Ahead(min(self.least, other.least), max(self.most, other.most))


@dataclass(frozen=True)
class OtherClocks:
    """The clock of PostgreSQL, and that of this machine, by which workers log."""

    database: Ahead = Ahead()
    machine: Ahead = Ahead()

    @property
    def doubt(self) -> float:
        """Seconds by which a time of theirs may be wrong by the run's clock."""
        return max(each.most - each.least for each in (self.database, self.machine))

    def or_so(self, other: "OtherClocks") -> "OtherClocks":
        return OtherClocks(self.database.or_so(other.database), self.machine.or_so(other.machine))


class Clock:
    """Seconds since 1970, as this machine counted them when it was made."""

    def __init__(self) -> None:
        self._zero = time.time() - time.monotonic()

    def now(self) -> float:
        return self._zero + time.monotonic()

    async def others(self, connection: asyncpg.Connection) -> OtherClocks:
        """By how much they are ahead at this moment."""
        ahead = time.time() - self.now()
        tries = [await self._of(connection) for _ in range(TRIES)]
        shortest = min(tries, key=lambda each: each.most - each.least)
        return OtherClocks(shortest, Ahead(ahead, ahead))

    async def _of(self, connection: asyncpg.Connection) -> Ahead:
        before = self.now()
        shown = await connection.fetchval(NOW)
        return Ahead(shown - self.now(), shown - before)
