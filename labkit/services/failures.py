"""What can happen to a private broker or database: killed, stopped, frozen, out of memory; and
started again.

await failures.kill(home, "broker")        as by kill -9
await failures.start(home, "broker")       the same data, the same ports

Of a cluster "broker" is all of its nodes at once, and "broker-2" one of them. What only a cluster
suffers from is in ``cluster_failures``.
"""

import asyncio
import dataclasses
import signal

from labkit.services import postgresql, rabbitmq, stopping
from labkit.services.broker_tools import BrokerTools
from labkit.services.errors import ServiceError
from labkit.services.home import Home
from labkit.services.node import Node
from labkit.services.process import Process, find, send
from labkit.services.running import side_by_side

BROKER, DATABASE = "broker", "database"


def names(home: Home) -> list[str]:
    """Of what can fail."""
    return [BROKER, DATABASE, *_by_name(home)]


def node(home: Home, name: str) -> Node:
    """That of a cluster which is called ``broker-2``."""
    return _by_name(home)[name]


async def kill(home: Home, service: str) -> None:
    """SIGKILL to all of its processes at once: nothing is flushed, no connection is closed."""
    processes = _processes(home, service)
    children = [pid for process in processes for pid in process.descendants()]
    await asyncio.gather(*(asyncio.to_thread(process.kill) for process in processes))
    send(children, signal.SIGKILL)


async def stop(home: Home, service: str) -> None:
    """As an administrator stops it. Raises ``ServiceError`` if it does not run."""
    _processes(home, service)
    if service == DATABASE:
        await stopping.database(home)
    else:
        await asyncio.gather(*(rabbitmq.stop(node) for node in _nodes(home, service)))


async def pause(home: Home, service: str) -> None:
    """It is there, and says nothing: connections stay open, and new ones wait."""
    for process in _processes(home, service):
        # The parent first: it would start new ones for those that are stopped.
        send([process.pid, *process.descendants()], signal.SIGSTOP)


async def resume(home: Home, service: str) -> None:
    """Harmless if it does not run: what was frozen has been killed or stopped since."""
    for process in _running(home, service):
        send([*process.descendants(), process.pid], signal.SIGCONT)


async def raise_memory_alarm(home: Home) -> None:
    """RabbitMQ believes that it may use one byte, so it blocks all publishers
    (https://www.rabbitmq.com/docs/memory).
    """
    await _set_watermark(home, "{absolute, 1}")


async def end_memory_alarm(home: Home) -> None:
    """Part of the machine's memory, as it is by default, and as it is after each start: so it is
    harmless if the broker does not run.
    """
    await _set_watermark(home, "0.4")


async def _set_watermark(home: Home, watermark: str) -> None:
    """As ``rabbitmqctl set_vm_memory_high_watermark`` does."""
    order = f"vm_memory_monitor:set_vm_memory_high_watermark({watermark})"
    nodes = [node for node in Node.all_of(home) if find(node.name, home.run_dir)]
    runs = (asyncio.to_thread(BrokerTools.at(node).evaluate, order) for node in nodes)
    await asyncio.gather(*runs)


async def start(home: Home, service: str) -> None:
    """Returns when it answers; it is harmless if it runs. Raises as ``private_services``, and
    ``NotReady`` if another program has taken its port meanwhile and keeps it.
    """
    settled = dataclasses.replace(home, settled=True)
    if service == DATABASE:
        await postgresql.up(settled)
        return
    async with side_by_side() as group:
        for each in _nodes(settled, service):
            group.create_task(rabbitmq.node_up(each))


def _by_name(home: Home) -> dict[str, Node]:
    if home.brokers == 1:
        return {}
    return {each.broker_name: each for each in Node.all_of(home)}


def _nodes(home: Home, service: str) -> list[Node]:
    return Node.all_of(home) if service == BROKER else [node(home, service)]


def _running(home: Home, service: str) -> list[Process]:
    if service == DATABASE:
        records = [postgresql.NAME]
    else:
        records = [each.name for each in _nodes(home, service)]
    return [process for name in records if (process := find(name, home.run_dir)) is not None]


def _processes(home: Home, service: str) -> list[Process]:
    """Those that run. Raises ``ServiceError`` if none does."""
    if not (running := _running(home, service)):
        raise ServiceError(f"The {service} does not run: it was killed or stopped before.")
    return running
