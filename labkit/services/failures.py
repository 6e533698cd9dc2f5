"""What can happen to a private broker or database: killed, stopped, frozen, out of memory; and
started again.

await failures.kill(home, "broker")        as by kill -9
await failures.start(home, "broker")       the same data, the same ports
"""

import asyncio
import dataclasses
import signal

from labkit.services import postgresql, rabbitmq
from labkit.services.broker_tools import BrokerTools
from labkit.services.errors import ServiceError
from labkit.services.home import Home
from labkit.services.process import Process, find, send

SERVICES = {"broker": rabbitmq, "database": postgresql}


async def kill(home: Home, service: str) -> None:
    """SIGKILL to all of its processes at once: nothing is flushed, no connection is closed."""
    process = _find(home, service)
    children = process.descendants()
    await asyncio.to_thread(process.kill)
    send(children, signal.SIGKILL)


async def stop(home: Home, service: str) -> None:
    """As an administrator stops it."""
    politely = signal.SIGINT if service == "database" else signal.SIGTERM
    await _find(home, service).stop(politely, deadline=30)


async def pause(home: Home, service: str) -> None:
    """It is there, and says nothing: connections stay open, and new ones wait."""
    process = _find(home, service)
    # The parent first: it would start new ones for those that are stopped.
    send([process.pid, *process.descendants()], signal.SIGSTOP)


async def resume(home: Home, service: str) -> None:
    """Harmless if it does not run: what was frozen has been killed or stopped since."""
    process = find(SERVICES[service].NAME, home.run_dir)
    if process is not None:
        send([*process.descendants(), process.pid], signal.SIGCONT)


async def raise_memory_alarm(home: Home, service: str) -> None:
    """RabbitMQ believes that it may use one byte, so it blocks all publishers
    (https://www.rabbitmq.com/docs/memory).
    """
    await _set_watermark(home, "absolute", "1")


async def end_memory_alarm(home: Home, service: str) -> None:
    """Part of the machine's memory, as it is by default, and as it is after each start: so it is
    harmless if the broker does not run.
    """
    if find(SERVICES[service].NAME, home.run_dir) is not None:
        await _set_watermark(home, "0.4")


async def _set_watermark(home: Home, *watermark: str) -> None:
    command = ("rabbitmqctl", "set_vm_memory_high_watermark", *watermark)
    await asyncio.to_thread(BrokerTools.at(home).run, *command)


async def start(home: Home, service: str) -> None:
    """Returns when it answers; it is harmless if it runs. Raises as ``private_services``, and
    ``NotReady`` if another program has taken its port meanwhile and keeps it.
    """
    await SERVICES[service].up(dataclasses.replace(home, settled=True))


def _find(home: Home, service: str) -> Process:
    process = find(SERVICES[service].NAME, home.run_dir)
    if process is None:
        raise ServiceError(f"The {service} does not run: it was killed or stopped before.")
    return process
