"""A service that is started again is where it was, also if other programs took ports meanwhile."""

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit.services import failures, handshake, ports
from labkit.services.errors import NotReady
from labkit.services.home import Home
from labkit.services.private import private_home
from labkit.services.process import find

STRANGER = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", flush=True)
time.sleep(60)
"""
BOTH = {"broker": "amqp", "database": "postgresql"}


@contextmanager
def stranger(port: int) -> Iterator[int]:
    """Another program listens there; its pid."""
    command = [sys.executable, "-c", STRANGER, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "FREE_TIMEOUT", 0.3)


def test_a_free_port_is_none_that_connections_get() -> None:
    low, high = ports._given_away()
    for _ in range(20):
        port = ports.any_free()
        assert ports.is_free(port)
        assert not low <= port <= high
        assert port < 49_152, "macOS"


def test_where_connections_get_every_port_any_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "GIVEN_AWAY", everything)
    assert ports.is_free(ports.any_free())


@pytest.mark.parametrize("service", BOTH)
async def test_a_private_service_comes_back_where_it_was_or_says_who_is_there(
    service: str, tmp_path: Path, impatient: None
) -> None:
    async with private_home(tmp_path / "home", durable=False) as (urls, home):
        port = home.port(BOTH[service])
        assert port is not None
        await failures.kill(home, service)
        with stranger(port) as pid, pytest.raises(NotReady, match=f"Port {port} .*pid {pid}"):
            await failures.start(home, service)
        await failures.start(home, service)
        assert home.port(BOTH[service]) == port
        await handshake.amqp(urls["ADMIN_AMQP_URL"])
        await handshake.postgresql(urls["DATABASE_URL"])


async def test_a_broker_that_is_just_being_stopped_is_started_again(tmp_path: Path) -> None:
    """It takes seconds to end, is alive meanwhile, and lets no client in."""
    async with private_home(tmp_path / "home", durable=False) as (urls, home):
        process = find("rabbitmq", home.run_dir)
        assert process is not None
        os.kill(process.pid, signal.SIGTERM)
        while "stopped TCP listener" not in process.log_tail(100):
            assert process.alive()
            await asyncio.sleep(0.01)
        await failures.start(home, "broker")
        assert find("rabbitmq", home.run_dir) != process
        await handshake.amqp(urls["ADMIN_AMQP_URL"])


async def test_a_port_is_waited_for(tmp_path: Path) -> None:
    home = dataclasses.replace(Home(tmp_path), settled=True)
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    home.remember("one port", port)
    asyncio.get_running_loop().call_later(0.3, taken.close)
    begun = time.monotonic()
    assert await ports.assign(home, "one", None) == port
    assert time.monotonic() - begun >= 0.2


def test_a_port_of_our_own_is_known_to_be_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert str(os.getpid()) in ports._holder(server.getsockname()[1])


@pytest.mark.parametrize("everywhere", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_is_listened_on_is_not_chosen(everywhere: str) -> None:
    with socket.create_server((everywhere, 0)) as taken:
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.choose([None, port]) != port


def test_the_port_of_the_last_time_is_chosen_again() -> None:
    port = ports.any_free()
    assert ports.choose([port, 5672]) == port
