"""A lab leaves nobody behind, however its opening or its close fails or is interrupted."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from labkit import Lab
from labkit.errors import LabNotOpen
from labkit.services import Home
from labkit.services.errors import ServiceError
from labkit.services.process import Process, recorded


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
    home = lab._require_open().grounds.home
    assert home is not None
    return home


def alive(processes: list[Process]) -> list[str]:
    return [process.name for process in processes if process.alive()]


async def test_whatever_cannot_be_ended_keeps_nothing_else_and_is_ended_by_the_next_close(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = await Lab.open(place, private=True)
    workers, home = lab._require_open().workers, home_of(lab)
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
    workers, client = lab._require_open().workers.processes, await lab.client()
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
