"""Which port a service listens on."""

import asyncio
import random
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from labkit.services.errors import NotReady
from labkit.services.home import Home

LOOPBACK = "127.0.0.1"
OURS = range(20_000, 32_768)
"""Where free ports are looked for. Linux and macOS begin above with those that they give to the
connections of any program: one of ours, while its service is down, is given to none.
"""
GIVEN_AWAY = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Where Linux says which ports those are; an administrator may have changed it."""
FREE_TIMEOUT = 20.0
"""Seconds to wait for a port that has to be the same again."""


async def assign(home: Home, name: str, standard: int | None, *, remembered: bool = True) -> int:
    """The port on which this service is to listen; from now on it is remembered.

    That of the last time if it is free, else the standard one, else any; without ``remembered``,
    any. Of a home whose addresses are known to others, it is that of the last time or none:
    raises `NotReady`, which says who has it, after `FREE_TIMEOUT` seconds.
    """
    port = home.port(name)
    if home.settled and port is not None:
        await _wait_until_free(port, name)
    else:
        port = choose([port, standard] if remembered else [])
    home.remember(f"{name} port", port)
    return port


def is_free(port: int) -> bool:
    """Whether a service could listen on this port of the loopback interface now."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        # macOS lets us bind beside a program that listens on all interfaces: ask it first.
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def any_free() -> int:
    """One that no connection of another program gets by chance, if there is any such."""
    low, high = _given_away()
    candidates = [port for port in OURS if not low <= port <= high]
    random.SystemRandom().shuffle(candidates)
    return next(filter(is_free, candidates), 0) or _any()


def choose(preferred: Iterable[int | None]) -> int:
    """The first preferred port that is free, else any. It is not reserved: see `PortTaken`."""
    return next((port for port in preferred if port and is_free(port)), 0) or any_free()


def all_taken(service: str) -> NotReady:
    return NotReady(f"Every port that {service} tried is in use: `ss -ltnp` shows by what.")


def _given_away() -> tuple[int, int]:
    try:
        low, high = map(int, GIVEN_AWAY.read_text().split())
    except (OSError, ValueError):
        return 32_768, 65_535
    return low, high


def _any() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


async def _wait_until_free(port: int, name: str) -> None:
    end = time.monotonic() + FREE_TIMEOUT
    while not is_free(port):
        if time.monotonic() > end:
            raise NotReady(
                f"Port {port} ({name}) is taken by {_holder(port)}. Others know the service by "
                "this port, so it takes no other one. End that program, then start it again."
            )
        await asyncio.sleep(0.1)


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        if listens and connection.pid is not None:
            return f"{psutil.Process(connection.pid).name()}, pid {connection.pid}"
    return "another user's program (see `sudo ss -ltnp`)"
