"""Broker and database of a private lab: taken away, and given back."""

from collections.abc import Awaitable, Callable

from labkit.errors import FaultImpossible
from labkit.faults.fault import Fault, Journal
from labkit.services import mishaps
from labkit.services.home import Home

SERVICES = ("broker", "database")

Mishap = Callable[[Home, str], Awaitable[None]]


class Outages:
    """``home`` is None where the services are others' too: then none of this can happen."""

    def __init__(self, home: Home | None, journal: Journal) -> None:
        self._home = home
        self._journal = journal

    async def kill(self, target: str) -> Fault:
        return await self._end(f"kill {target}", target, mishaps.kill, mishaps.start)

    async def stop(self, target: str) -> Fault:
        return await self._end(f"stop {target}", target, mishaps.stop, mishaps.start)

    async def restart(self, target: str) -> Fault:
        """Returns when it answers again."""
        fault = await self._end(f"restart {target}", target, mishaps.stop, mishaps.start)
        await fault.heal()
        return fault

    async def pause(self, target: str) -> Fault:
        return await self._end(f"pause {target}", target, mishaps.pause, mishaps.resume)

    async def memory_alarm(self) -> Fault:
        alarm, end = mishaps.raise_memory_alarm, mishaps.end_memory_alarm
        return await self._end("memory alarm", "broker", alarm, end)

    async def _end(self, name: str, target: str, how: Mishap, undo: Mishap) -> Fault:
        home = self._private(target)

        async def give_back() -> None:
            await undo(home, target)

        fault = Fault(name, target, give_back)

        with self._journal.noting(fault):
            await how(home, target)
        return fault

    def _private(self, target: str) -> Home:
        if target not in SERVICES:
            raise FaultImpossible(f"There is no {target!r}; there is: {', '.join(SERVICES)}.")
        if self._home is None:
            raise FaultImpossible(
                f"The {target} is not this lab's alone: others work with it. Open the lab with "
                "private=True, and it gets one of its own."
            )
        return self._home
