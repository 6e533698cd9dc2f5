"""``lab.faults``: what can go wrong, on purpose, and undone again.

await lab.faults.kill("worker-1")                     now, as by kill -9
await lab.faults.kill("worker", at="committed")       as soon as a request gets there
async with await lab.faults.pause("database"): …      frozen for the length of the block
await lab.faults.messages.drop("reply")               the next reply is lost
await lab.faults.network.black_hole("worker-broker")  a cut cable
await lab.faults.undo()                               all is well again; lab.close() does it too
"""

import contextlib
import os
import random
import signal

import pandas as pd

from labkit.errors import FaultImpossible
from labkit.faults import connections
from labkit.faults.at_step.armed import ArmedFault
from labkit.faults.at_step.orders import ANY_WORKER, Orders
from labkit.faults.fault import Fault, Journal
from labkit.faults.messages import Messages
from labkit.faults.network.network import Network
from labkit.faults.scene import Scene
from labkit.faults.service_faults import ServiceFaults
from server.contract.steps import Step


class Faults:
    """The faults of one lab. Each method returns when the fault has begun, or is armed.

    ``at`` is the name of a step (``server.contract.steps.Step``): the fault waits until a request
    gets there, the first one, or that with ``request_id``. Each method raises ``FaultImpossible``
    for what cannot happen in this lab.
    """

    def __init__(self, scene: Scene, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  (no secret is made with it)
        """Whatever is left to chance comes from here: the same seed, the same choices."""
        self._scene = scene
        self._journal = Journal()
        self._orders = Orders(lambda: scene.workers.obedient, scene.plan, self._journal)
        self._services = ServiceFaults(scene.home, self._journal, scene.broker, scene.vhost)
        self.network = Network(scene.proxies, self._journal)
        """What can go wrong on the lines of a private lab."""
        self.messages = Messages(self._orders, self._journal, scene.amqp_url, self.random)
        """What can happen to a message on its way."""

    async def undo(self) -> None:
        """Heal everything, the last fault first."""
        await self._journal.undo()

    def happened(self) -> list[Fault]:
        """Each that has begun, in the order in which they were asked for."""
        return self._journal.happened()

    def timeline(self) -> pd.DataFrame:
        """One row for each fault that happened, in the order in which they were asked for.

        Columns: ``fault`` and ``target`` (str); ``at`` and ``healed`` (datetime64[us, UTC], NaT
        while it lasts).
        """
        return self._journal.timeline()

    @property
    def dropped(self) -> list[str]:
        """Ids of the requests that a fault took away: no reply to those will ever come."""
        return self.messages.dropped

    async def kill(
        self,
        target: str = ANY_WORKER,
        *,
        at: str | None = None,
        request_id: str | None = None,
        always: bool = False,
    ) -> Fault:
        """SIGKILL. A worker stays dead unless the lab is ``supervised``; broker and database are
        started again when the fault is healed. Of a cluster ``broker`` is all of its nodes,
        ``broker-2`` one, and ``leader of api.requests`` the one that leads this queue.

        ``always``: each worker that gets to the step, not the first one only; so a message is made
        that kills every worker that takes it.
        """
        if at is not None:
            return self._orders.at_step("kill", at, request_id, always=always)
        if self._services.names(target):
            return await self._services.kill(target)
        self._signal(target, signal.SIGKILL)
        return self._journal.at_once("kill worker", target)

    async def stop(
        self, target: str = ANY_WORKER, *, at: str | None = None, request_id: str | None = None
    ) -> Fault:
        """SIGTERM, as for an update: a worker finishes what it holds, and ends."""
        if at is not None:
            return self._orders.at_step("stop", at, request_id)
        if self._services.names(target):
            return await self._services.stop(target)
        self._signal(target, signal.SIGTERM)
        return self._journal.at_once("stop worker", target)

    async def restart(self, target: str) -> Fault:
        """Broker, node or database, stopped politely and started again. Returns when it answers."""
        return await self._services.restart(target)

    async def rolling_restart(self) -> Fault:
        """Each node of the cluster is stopped and started, one after the other, as for an update;
        each as soon as no queue needs it for its majority. Returns when all are up.
        """
        return await self._services.rolling_restart()

    async def partition(self, *side: str) -> Fault:
        """A cut through the cluster: the nodes of this ``side``, by name, on one side of it, the
        others on the other. A side that is a minority stops serving until the cut is healed.
        """
        return await self._services.partition(*side)

    async def lose_disk(self, target: str) -> Fault:
        """A node of the cluster is killed, and its data is gone. Healed, it comes back with an
        empty disk, joins the others, and gets everything from them.
        """
        return await self._services.lose_disk(target)

    async def pause(
        self, target: str = ANY_WORKER, *, at: str | None = None, request_id: str | None = None
    ) -> Fault:
        """SIGSTOP: alive, connected, and silent, until it is healed."""
        if at is not None:
            return self._orders.at_step("pause", at, request_id)
        if self._services.names(target):
            return await self._services.pause(target)
        pid = self._signal(target, signal.SIGSTOP)

        async def resume() -> None:
            _continue(pid)

        return self._journal.note(Fault("pause worker", target, resume))

    async def slow(
        self, seconds: float, *, at: str | None = None, request_id: str | None = None
    ) -> ArmedFault:
        """The first request that gets to the step stays there for some seconds. Without a step all
        workers are slow, from now on: each request takes that much longer.
        """
        if at is not None:
            return self._orders.at_step("slow", at, request_id, seconds)
        return self._orders.at_step("slow", Step.RECEIVED, request_id, seconds, always=True)

    async def fail(
        self, *, at: str, request_id: str | None = None, always: bool = False
    ) -> ArmedFault:
        """The first request that gets to the step meets a bug: an unexpected exception.
        ``always``: every request that gets there.
        """
        return self._orders.at_step("fail", at, request_id, always=always)

    async def hold(self, *, at: str, request_id: str | None = None) -> ArmedFault:
        """The first request that gets to the step stays there until it is healed. ``await
        fault.reached()``, and then do whatever has to happen at this very moment.
        """
        return self._orders.at_step("hold", at, request_id)

    async def close_connections(self, of: str = ANY_WORKER) -> Fault:
        """From the other end, with the reason: the broker closes those of every ``worker`` or
        ``client``, or the ``database`` those of every worker.
        """
        scene = self._scene
        if of not in (*scene.users, "database"):
            names = ", ".join([*scene.users, "database"])
            raise FaultImpossible(f"There is no user {of!r}. Choose one of: {names}.")
        fault = Fault("close connections", of)
        with self._journal.noting(fault):
            if of == "database":
                await connections.terminate_backends(scene.database_url)
            else:
                await connections.close_amqp(scene.broker, scene.vhost, scene.users[of])
        await fault.heal()  # there is nothing to undo
        return fault

    async def memory_alarm(self) -> Fault:
        """The broker has no memory left: publishers are blocked until it is healed,
        and no connection is closed.
        """
        return await self._services.memory_alarm()

    def _signal(self, name: str, number: signal.Signals) -> int:
        """Returns the pid that got it. ``worker`` is one of them, by chance."""
        alive = [worker for worker in self._scene.workers.processes if worker.alive()]
        fitting = [w for w in alive if name == ANY_WORKER or w.name.endswith(f"-{name}")]
        if not fitting:
            names = ", ".join(worker.name for worker in alive) or "none"
            raise FaultImpossible(f"No {name} of this lab is running. There is: {names}.")
        victim = self.random.choice(fitting)
        os.kill(victim.pid, number)
        return victim.pid


def _continue(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
