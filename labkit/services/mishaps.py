"""What can happen to a private broker or database: killed, stopped, frozen, out of memory; and
started again.

mishaps.kill(home, "broker")        as by kill -9
mishaps.start(home, "broker")       the same data, the same ports
"""

import contextlib
import dataclasses
import os
import signal
import threading

from labkit.services import identity, postgresql, rabbitmq
from labkit.services.broker_tools import BrokerTools
from labkit.services.errors import ServiceError
from labkit.services.layout import Home
from labkit.services.process import Process, find

SERVICES = {"broker": rabbitmq, "database": postgresql}


def kill(home: Home, service: str) -> None:
    """SIGKILL to all of its processes at once: nothing is flushed, no connection is closed."""
    process = _find(home, service)
    children = identity.descendants(process.pid)
    process.kill()
    _signal(children, signal.SIGKILL)


def stop(home: Home, service: str) -> None:
    """As an administrator stops it."""
    politely = signal.SIGINT if service == "database" else signal.SIGTERM
    _find(home, service).stop(politely, deadline=30)


def pause(home: Home, service: str) -> None:
    """It is there, and says nothing: connections stay open, and new ones wait."""
    process = _find(home, service)
    # The parent first: it would start new ones for those that are stopped.
    _signal([process.pid, *identity.descendants(process.pid)], signal.SIGSTOP)


def resume(home: Home, service: str) -> None:
    """Harmless if it does not run: what was frozen has been killed or stopped since."""
    process = find(SERVICES[service].NAME, home.run_dir)
    if process is not None:
        _signal([*identity.descendants(process.pid), process.pid], signal.SIGCONT)


def raise_memory_alarm(home: Home, service: str) -> None:
    """RabbitMQ believes that it may use one byte, so it blocks all publishers
    (https://www.rabbitmq.com/docs/memory).
    """
    _set_watermark(home, "absolute", "1")


def end_memory_alarm(home: Home, service: str) -> None:
    """Part of the machine's memory, as it is by default, and as it is after each start: so it is
    harmless if the broker does not run.
    """
    if find(SERVICES[service].NAME, home.run_dir) is not None:
        _set_watermark(home, "0.4")


def _set_watermark(home: Home, *watermark: str) -> None:
    BrokerTools.at(home).run("rabbitmqctl", "set_vm_memory_high_watermark", *watermark)


def start(home: Home, service: str) -> None:
    """Returns when it answers; it is harmless if it runs. Raises as ``private_services``, and
    ``NotReady`` if another program has taken its port meanwhile and keeps it.
    """
    SERVICES[service].up(dataclasses.replace(home, settled=True), threading.Event())


def _find(home: Home, service: str) -> Process:
    process = find(SERVICES[service].NAME, home.run_dir)
    if process is None:
        raise ServiceError(f"The {service} does not run: it was killed or stopped before.")
    return process


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
