"""``lab.faults``: what can go wrong, on purpose, and undone again.

await lab.faults.kill("worker-1")                     now, as by kill -9
await lab.faults.kill("worker", at="committed")       as soon as a request gets there
async with await lab.faults.pause("database"): …      frozen for the length of the block
await lab.faults.undo()                               all is well again; lab.close() does it too
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from labkit.errors import FaultImpossible
from labkit.faults.armed import ArmedFault
from labkit.faults.fault import Fault, Journal
from labkit.faults.plan import Order, Plan
from labkit.grounds import Grounds
from labkit.services import Home, mishaps
from labkit.workers import Workers
from server.steps import Step

SERVICES = ("broker", "database")
ANY_WORKER = "worker"


class Faults:
    """The faults of one lab, whose orders to workers are in ``folder``."""

    def __init__(self, workers: Workers, folder: Path, grounds: Grounds, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  (no secret is made with it)
        """Whatever is left to chance comes from here: the same seed, the same choices."""
        self._workers = workers
        self._home = grounds.home
        self._plan = Plan(folder)
        self._journal = Journal()
        self._plan.clear()

    async def undo(self) -> None:
        """Heal everything, the last fault first."""
        await self._journal.undo()

    def timeline(self) -> pd.DataFrame:
        """One row for each fault that happened: fault, target, at and healed (UTC)."""
        return self._journal.timeline()

    # Workers, broker, database.

    async def kill(
        self, target: str = ANY_WORKER, *, at: str | None = None, request_id: str | None = None
    ) -> Fault:
        """SIGKILL. A worker stays dead unless the lab is ``supervised``; broker and database are
        started again when the fault is healed.
        """
        if at is not None:
            return self._arm("kill", at, request_id)
        if target in SERVICES:
            return await self._down(f"kill {target}", target, mishaps.kill)
        self._signal(target, signal.SIGKILL)
        return self._journal.at_once("kill worker", target)

    async def stop(
        self, target: str = ANY_WORKER, *, at: str | None = None, request_id: str | None = None
    ) -> Fault:
        """SIGTERM, as for an update: a worker finishes what it holds, and ends."""
        if at is not None:
            return self._arm("stop", at, request_id)
        if target in SERVICES:
            return await self._down(f"stop {target}", target, mishaps.stop)
        self._signal(target, signal.SIGTERM)
        return self._journal.at_once("stop worker", target)

    async def restart(self, target: str) -> Fault:
        """Broker or database, stopped politely and started again. Returns when it answers."""
        fault = await self._down(f"restart {target}", target, mishaps.stop)
        await fault.heal()
        return fault

    async def pause(
        self,
        target: str = ANY_WORKER,
        *,
        at: str | None = None,
        request_id: str | None = None,
    ) -> Fault:
        """SIGSTOP: alive, connected, and silent, until it is healed."""
        if at is not None:
            fault = self._arm("pause", at, request_id)

            async def go_on() -> None:
                fault.armed.disarm()
                if fault.pid is not None:
                    _continue(fault.pid)

            fault.undo = go_on
            return fault
        if target in SERVICES:
            return await self._frozen(target)
        pid = self._signal(target, signal.SIGSTOP)

        async def resume() -> None:
            _continue(pid)

        return self._journal.note(Fault("pause worker", target, resume))

    async def slow(self, seconds: float, *, at: str, request_id: str | None = None) -> ArmedFault:
        """The first request that gets to the step stays there for some seconds."""
        return self._arm("slow", at, request_id, seconds)

    async def fail(self, *, at: str, request_id: str | None = None) -> ArmedFault:
        """The first request that gets to the step meets a bug: an exception that nobody foresaw."""
        return self._arm("fail", at, request_id)

    async def hold(self, *, at: str, request_id: str | None = None) -> ArmedFault:
        """The first request that gets to the step stays there until it is healed. ``await
        fault.reached()``, and then do whatever has to happen at this very moment.
        """
        return self._arm("hold", at, request_id)

    def _arm(self, what: str, at: str, request_id: str | None, seconds: float = 0.0) -> ArmedFault:
        step = _step(at)
        if not self._workers.obedient:
            raise FaultImpossible(
                "No worker of this lab obeys: start some that do, `await "
                'lab.start_workers(1, "flaws")`, or open the lab with private=True.'
            )
        armed = self._plan.arm(Order(step, what, seconds, request_id))

        async def disarm() -> None:
            armed.disarm()

        fault = ArmedFault(f"{what} at {step}", ANY_WORKER, disarm, at=None, armed=armed)
        self._journal.note(fault)
        return fault

    def _signal(self, name: str, number: signal.Signals) -> int:
        """Returns the pid that got it. ``worker`` is one of them, by chance."""
        alive = [worker for worker in self._workers.processes if worker.alive()]
        fitting = [w for w in alive if name == ANY_WORKER or w.name.endswith(f"-{name}")]
        if not fitting:
            names = ", ".join(worker.name for worker in alive) or "none"
            raise FaultImpossible(f"No {name} of this lab is running. There is: {names}.")
        victim = self.random.choice(fitting)
        os.kill(victim.pid, number)
        return victim.pid

    async def _down(self, name: str, target: str, how: Callable[[Home, str], None]) -> Fault:
        home = self._private(target)
        await asyncio.to_thread(how, home, target)

        async def start() -> None:
            await asyncio.to_thread(mishaps.start, home, target)

        return self._journal.note(Fault(name, target, start))

    async def _frozen(self, target: str) -> Fault:
        home = self._private(target)
        await asyncio.to_thread(mishaps.pause, home, target)

        async def resume() -> None:
            await asyncio.to_thread(mishaps.resume, home, target)

        return self._journal.note(Fault(f"pause {target}", target, resume))

    def _private(self, target: str) -> Home:
        if self._home is None:
            raise FaultImpossible(
                f"The {target} is not this lab's alone: others work with it. Open the lab with "
                "private=True, and it gets one of its own."
            )
        return self._home


def _step(name: str) -> Step:
    try:
        return Step(name)
    except ValueError:
        raise FaultImpossible(f"There is no step {name!r}; there is: {', '.join(Step)}.") from None


def _continue(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
