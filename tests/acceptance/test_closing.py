"""A lab leaves nobody behind, however its opening or its close fails or is interrupted."""

import asyncio
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from labkit import Lab
from labkit.errors import LabNotOpen
from labkit.faults.network.proxy import Proxy
from labkit.services.broker_tools import BrokerTools
from labkit.services.errors import ServiceError
from labkit.services.home import Home
from labkit.services.process import Process, recorded
from tests.support import eventually, running_in


def lines() -> list[str]:
    """The proxies' threads in this process."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("proxy ")]


def fails_once(close: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Instead of the first close there is an error."""
    errors = [ServiceError("It does not end.")]

    async def closed() -> None:
        if errors:
            raise errors.pop()
        await close()

    return closed


def home_of(lab: Lab) -> Home:
    home = lab._open_workspace().grounds.home
    assert home is not None
    return home


def alive(processes: list[Process]) -> list[str]:
    return [process.name for process in processes if process.alive()]


async def test_whatever_cannot_be_ended_keeps_nothing_else_and_is_ended_by_the_next_close(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = await Lab.open(place, private=True)
    workers, home = lab._open_workspace().workers, home_of(lab)
    running, services, client = workers.processes, recorded(home.run_dir), await lab.client()
    kill = await lab.faults.kill("broker")
    monkeypatch.setattr(kill, "undo", fails_once(kill.undo))
    monkeypatch.setattr(client, "close", fails_once(client.close))
    monkeypatch.setattr(workers, "stop", fails_once(workers.stop))
    with pytest.raises(ExceptionGroup, match="cannot be undone") as raised:
        await lab.close()
    assert raised.value.__notes__ == ["And then: ServiceError('It does not end.')"] * 2
    assert alive(services) == lines() == []
    assert alive(running)
    await lab.close()
    assert alive(running) == []
    assert not home.path.exists(), "a broker was started anew, for nobody"
    with pytest.raises(LabNotOpen):
        lab.log()


async def test_a_close_that_is_interrupted_ends_the_workers_and_the_next_goes_on(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = await Lab.open(place)
    workers, client = lab._open_workspace().workers.processes, await lab.client()
    began, close = asyncio.Event(), client.close

    async def hangs() -> None:
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(client, "close", hangs)
    closing = asyncio.create_task(lab.close())
    await began.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert alive(workers) == []
    monkeypatch.setattr(client, "close", close)
    await lab.close()
    await lab.close()
    with pytest.raises(LabNotOpen):
        lab.log()


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which private labs put theirs, in this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def started(private: Path) -> list[Process]:
    return [process for run in private.glob("*/run") for process in recorded(run)]


def left(private: Path) -> list[object]:
    """What is still there of private labs: processes, threads and folders."""
    return [*running_in(private), *lines(), *private.iterdir()]


async def test_an_opening_that_is_interrupted_while_services_start_leaves_nothing(
    place: str, private: Path
) -> None:
    opening = asyncio.ensure_future(_open(place))

    async def broker_starts() -> bool:
        assert not opening.done()
        return any(process.name == "rabbitmq" for process in started(private))

    await eventually(broker_starts, within=60)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert left(private) == []


async def test_an_opening_that_fails_or_is_interrupted_later_leaves_nothing(
    place: str, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the second of the three lines; and when all is there, but before there are workers."""
    listen, cancelled = Proxy.open, asyncio.CancelledError

    async def open_(proxy: Proxy) -> Proxy:
        await listen(proxy)
        if len(lines()) == 2:
            raise cancelled
        return proxy

    with monkeypatch.context() as patched:
        patched.setattr(Proxy, "open", open_)
        with pytest.raises(cancelled):
            await _open(place)
    assert left(private) == []
    monkeypatch.setattr(BrokerTools, "of", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await _open(place)
    assert left(private) == []


async def _open(place: str) -> Lab:
    return await Lab.open(place, private=True)
