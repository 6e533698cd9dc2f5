"""Worker and REST of `make up` come back when they die, and stay away when they are stopped."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from labkit.launcher import server, supervisor
from labkit.services import logs
from labkit.services.home import Home
from labkit.services.process import Process, find, load, recorded, start
from tests.support import at

Services = dict[str, str]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    home.make()
    yield home
    for process in sorted(recorded(home.run_dir), key=supervisor.is_supervisor, reverse=True):
        process.kill()


@pytest.fixture
def services(vhost: str, empty_database: str) -> Services:
    server = at(os.environ["SERVER_AMQP_URL"], urlsplit(vhost).path[1:])
    key = {"API_KEY": "a key for the tests"}
    return {"SERVER_AMQP_URL": server, "DATABASE_URL": empty_database} | key


async def eventually(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        await asyncio.sleep(0.02)


def running(home: Home, name: str) -> Process:
    process = find(name, home.run_dir)
    assert process is not None
    return process


def comes_back(home: Home, name: str, was: Process) -> bool:
    """Another process serves: it has logged so."""
    process = find(name, home.run_dir)
    ready = [event for event in logs.events([home.log(name)]) if event["event"] == "ready"]
    return process is not None and process != was and len(ready) > 1


async def test_a_worker_that_is_killed_comes_back_and_it_is_said(
    home: Home, services: Services
) -> None:
    await server.up_worker(home, services)
    first = running(home, server.WORKER)
    os.kill(first.pid, signal.SIGKILL)
    await eventually(lambda: comes_back(home, server.WORKER, first))
    assert "restarted once" in str(supervisor.history(home, server.WORKER))
    second = running(home, server.WORKER)
    assert f"pid {second.pid}, crashed and restarted once" in await server.up_worker(home, services)
    assert running(home, server.WORKER) == second


async def test_rest_comes_back_on_its_port(home: Home, services: Services) -> None:
    await server.up_rest(home, services)
    port, first = home.port(server.REST), running(home, server.REST)
    os.kill(first.pid, signal.SIGKILL)
    await eventually(lambda: comes_back(home, server.REST, first))
    assert await server.rest_answers(home) == "ok"
    assert home.port(server.REST) == port


async def test_what_is_stopped_stays_stopped_and_so_does_its_supervisor(
    home: Home, services: Services
) -> None:
    await server.up_worker(home, services)
    watched, watcher = running(home, server.WORKER), supervisor.supervises(home, server.WORKER)
    assert watcher is not None
    await watched.stop()
    await eventually(lambda: not watcher.alive())
    assert find(server.WORKER, home.run_dir) is None
    await server.up_worker(home, services)
    await server.down(home, server.WORKER)
    assert not recorded(home.run_dir)


async def test_a_worker_outlives_its_supervisor_and_gets_another(
    home: Home, services: Services
) -> None:
    await server.up_worker(home, services)
    watched, watcher = running(home, server.WORKER), supervisor.supervises(home, server.WORKER)
    assert watcher is not None
    watcher.kill()
    assert "runs already" in await server.up_worker(home, services)
    assert running(home, server.WORKER) == watched
    os.kill(watched.pid, signal.SIGKILL)
    await eventually(lambda: comes_back(home, server.WORKER, watched))


async def test_what_crashes_at_every_start_is_given_up_and_it_is_said(home: Home) -> None:
    start("one", [sys.executable, "-c", ""], run_dir=home.run_dir, log=home.log("one"))
    supervisor.up(home, "one", "no such role", dict(os.environ))
    await eventually(lambda: supervisor.history(home, "one").gave_up, 60)
    events = list(logs.events([home.log("one-supervisor")]))
    assert [event["event"] for event in events] == [
        supervisor.SUPERVISING,
        *[supervisor.RESTARTED] * len(supervisor.PAUSES),
        supervisor.GAVE_UP,
    ]
    assert [event["after"] for event in events[1:-1]] == list(supervisor.PAUSES)
    assert "given up" in str(supervisor.history(home, "one"))
    left = load("one-supervisor", home.run_dir)
    assert left is not None
    await eventually(lambda: not left.alive())
