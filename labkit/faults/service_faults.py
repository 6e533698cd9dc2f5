"""Broker and database of a private lab: taken away, and given back; and the nodes of a cluster."""

import re
from collections.abc import Awaitable, Callable

from labkit.broker.management import Broker
from labkit.errors import FaultImpossible, NoSuchQueue
from labkit.faults.fault import Fault, Journal
from labkit.services import cluster_failures, failures
from labkit.services.home import Home
from labkit.services.node import Node, broker_name

SERVICE = re.compile(rf"{failures.DATABASE}|{failures.BROKER}(-\d+)?|leader of (?P<queue>.+)")
"""Whatever is no worker: a service, a node, or the node that leads a queue now."""

PARTITION = "partition"

Failure = Callable[[Home, str], Awaitable[None]]


class ServiceFaults:
    """``home`` is None where the services are others' too: then none of this can happen."""

    def __init__(self, home: Home | None, journal: Journal, broker: Broker, vhost: str) -> None:
        self._home = home
        self._journal = journal
        self._broker = broker
        self._vhost = vhost

    @staticmethod
    def names(target: str) -> bool:
        """Whether it is one of these, rather than a worker."""
        return SERVICE.fullmatch(target) is not None

    async def kill(self, target: str) -> Fault:
        return await self._end("kill", target, failures.kill, failures.start)

    async def stop(self, target: str) -> Fault:
        return await self._end("stop", target, failures.stop, failures.start)

    async def restart(self, target: str) -> Fault:
        """Returns when it answers again."""
        fault = await self._end("restart", target, failures.stop, failures.start)
        await fault.heal()
        return fault

    async def pause(self, target: str) -> Fault:
        return await self._end("pause", target, failures.pause, failures.resume)

    async def lose_disk(self, target: str) -> Fault:
        await self._node(self._cluster(), target)
        return await self._end(
            "lose disk of", target, cluster_failures.lose_disk, cluster_failures.replace
        )

    async def memory_alarm(self) -> Fault:
        home = self._private(failures.BROKER)

        async def end() -> None:
            await failures.end_memory_alarm(home)

        fault = Fault("memory alarm", failures.BROKER, end)
        with self._journal.noting(fault):
            await failures.raise_memory_alarm(home)
        return fault

    async def partition(self, *side: str) -> Fault:
        home = self._cluster()
        nodes = [await self._node(home, target) for target in side]
        if not 0 < len(set(nodes)) < home.brokers:
            raise FaultImpossible("A cut has two sides: leave at least one node on the other.")
        if any(f.name == PARTITION and f.healed is None for f in self._journal.happened()):
            raise FaultImpossible(
                "There is a cut already: heal it first. Of two at a time RabbitMQ 3.10 does not "
                "recover by itself."
            )

        async def heal() -> None:
            await cluster_failures.heal_partition(home, nodes)

        fault = Fault(PARTITION, ", ".join(nodes), heal)
        with self._journal.noting(fault):
            await cluster_failures.partition(home, nodes)
        return fault

    async def rolling_restart(self) -> Fault:
        home = self._cluster()
        fault = Fault("rolling restart", failures.BROKER)
        with self._journal.noting(fault):
            for node in Node.all_of(home):
                await cluster_failures.until_dispensable(node)
                await self.restart(node.broker_name)
        await fault.heal()  # there is nothing to undo
        return fault

    async def _end(self, verb: str, target: str, how: Failure, undo: Failure) -> Fault:
        home = self._private(target)
        name = await self._resolved(home, target)

        async def give_back() -> None:
            await undo(home, name)

        fault = Fault(f"{verb} {target}", name, give_back)

        with self._journal.noting(fault):
            await how(home, name)
        return fault

    def _private(self, target: str) -> Home:
        if self._home is None:
            raise FaultImpossible(
                f"The {target} is not this lab's alone: others work with it. Open the lab with "
                "private=True, and it gets one of its own."
            )
        return self._home

    def _cluster(self) -> Home:
        if self._home is None or self._home.brokers == 1:
            raise FaultImpossible(
                "That takes a cluster: Lab.open(…, private=True, brokers=3) opens a lab on one."
            )
        return self._home

    async def _resolved(self, home: Home, target: str) -> str:
        """The name of what is meant. Raises ``FaultImpossible``, ``NoSuchQueue``."""
        matched = SERVICE.fullmatch(target)
        if matched and (queue := matched["queue"]):
            return await self._leader_of(queue)
        if target not in (names := failures.names(home)):
            raise FaultImpossible(f"There is no {target!r}. Choose one of: {', '.join(names)}.")
        return target

    async def _node(self, home: Home, target: str) -> str:
        """The same, of what only a node suffers from."""
        name = await self._resolved(home, target)
        nodes = [node.broker_name for node in Node.all_of(home)]
        if name not in nodes:
            raise FaultImpossible(f"{target!r} is no node. Choose one of: {', '.join(nodes)}.")
        return name

    async def _leader_of(self, queue: str) -> str:
        self._cluster()
        found = {q["name"]: q for q in await self._broker.queues_last_reported(self._vhost)}
        if queue not in found:
            there_are = ", ".join(sorted(found))
            raise NoSuchQueue(f"There is no queue {queue!r}. Choose one of: {there_are}.")
        return broker_name(found[queue]["leader"])
