"""Broker and database of a private lab: taken away, and given back."""

from collections.abc import Awaitable, Callable

from labkit.errors import FaultImpossible
from labkit.faults.fault import Fault, Journal
from labkit.services import failures
from labkit.services.home import Home

SERVICES = ("broker", "database")

Failure = Callable[[Home, str], Awaitable[None]]


class ServiceFaults:
    """``home`` is None where the services are others' too: then none of this can happen."""

    def __init__(self, home: Home | None, journal: Journal) -> None:
        self._home = home
        self._journal = journal

    async def kill(self, target: str) -> Fault:
        return await self._end(f"kill {target}", target, failures.kill, failures.start)

    async def stop(self, target: str) -> Fault:
        return await self._end(f"stop {target}", target, failures.stop, failures.start)

    async def restart(self, target: str) -> Fault:
        """Returns when it answers again."""
        fault = await self._end(f"restart {target}", target, failures.stop, failures.start)
        await fault.heal()
        return fault

    async def pause(self, target: str) -> Fault:
        return await self._end(f"pause {target}", target, failures.pause, failures.resume)

    async def memory_alarm(self) -> Fault:
        alarm, end = failures.raise_memory_alarm, failures.end_memory_alarm
        return await self._end("memory alarm", "broker", alarm, end)

    async def _end(self, name: str, target: str, how: Failure, undo: Failure) -> Fault:
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
