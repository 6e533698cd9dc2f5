"""Processes that outlive their starter, and are found again."""

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from labkit.services import process as processes
from labkit.services.errors import NotReady, PortTaken, ServiceError
from labkit.services.files import read_json, write_json
from labkit.services.handshake import Refused
from labkit.services.process import Process, find, load, recorded, start
from labkit.services.ready import until_ready
from tests.support import until

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("ready", flush=True)
time.sleep(60)
"""
Start = Callable[..., Process]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Start]:
    """Starts Python code as a recorded process; whatever is left of it ends with the test."""

    def start_code(code: str, name: str = "one") -> Process:
        log = tmp_path / f"{name}.log"
        return start(name, [sys.executable, "-c", code], run_dir=tmp_path / "run", log=log)

    yield start_code
    for process in recorded(tmp_path / "run"):
        process.kill()


def test_a_process_is_found_by_its_record_alone(run: Start, tmp_path: Path) -> None:
    process = run("import time; time.sleep(60)")
    found = find("one", tmp_path / "run")
    assert found is not None
    assert found.pid == process.pid


def test_what_has_ended_is_not_found_and_leaves_no_zombie(run: Start, tmp_path: Path) -> None:
    process = run("pass")
    until(lambda: find("one", tmp_path / "run") is None)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_a_recycled_pid_is_neither_trusted_nor_killed(run: Start, tmp_path: Path) -> None:
    stranger = run("import time; time.sleep(60)")
    stale = read_json(stranger.record) | {"started": "in another life"}
    write_json(tmp_path / "run" / "two.json", stale)
    assert find("two", tmp_path / "run") is None
    ours = load("two", tmp_path / "run")
    assert ours is not None
    await ours.stop()
    assert stranger.alive()


async def test_stop_kills_what_does_not_listen_and_all_its_children(run: Start) -> None:
    process = run(STUBBORN)
    until(lambda: "ready" in process.log_tail())
    assert len(process._members()) == 2
    await process.stop(signal.SIGTERM, deadline=0.2)
    assert process._members() == []
    assert not process.wanted()


async def test_it_is_known_to_be_stopped_on_purpose_before_it_has_ended(run: Start) -> None:
    process = run(STUBBORN)
    until(lambda: "ready" in process.log_tail())
    assert process.wanted()
    stopping = asyncio.create_task(process.stop(signal.SIGTERM, deadline=1))
    await asyncio.sleep(0.2)
    assert process.alive()
    assert not process.wanted()
    await stopping


def test_what_dies_by_itself_is_wanted_still(run: Start) -> None:
    process = run("pass")
    until(lambda: not process.alive())
    assert process.wanted()


def test_children_of_a_leader_that_died_are_still_found(run: Start, tmp_path: Path) -> None:
    process = run(STUBBORN)
    until(lambda: "ready" in process.log_tail())
    os.kill(process.pid, signal.SIGKILL)
    until(lambda: not process.alive())
    remembered = load("one", tmp_path / "run")
    assert remembered is not None
    remembered.kill()
    assert process._members() == []


def test_a_program_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="one cannot be started"):
        start("one", ["/no/such/program"], run_dir=tmp_path, log=tmp_path / "log")


async def test_waiting_for_what_ended_raises_with_its_last_words(run: Start) -> None:
    process = run("print('the disk is full')")
    with pytest.raises(NotReady, match="the disk is full"):
        await until_ready(process, refuse, deadline=10)


async def test_waiting_ends_at_the_deadline(run: Start) -> None:
    process = run("import time; time.sleep(60)")
    with pytest.raises(NotReady, match="does not answer after 0 s"):
        await until_ready(process, refuse, deadline=0.1)


async def test_a_stranger_on_the_port_is_not_taken_for_our_own_refusal(run: Start) -> None:
    process = run("import time; time.sleep(0.5); print('eaddrinuse')")
    with pytest.raises(PortTaken):
        await until_ready(process, let_no_one_in, deadline=30)


async def let_no_one_in() -> None:
    raise Refused("28P01", "password authentication failed")


async def refuse() -> None:
    raise ConnectionRefusedError


def test_ending_a_dead_process_leaves_the_record_of_the_next_one_of_its_name(run: Start) -> None:
    first = run("pass")
    second = run("import time; time.sleep(60)")
    first.kill()
    assert find("one", second.record.parent) == second


def test_the_processor_time_of_a_process_grows_while_it_computes(run: Start) -> None:
    process = run("while True: pass")
    before = process.cpu_seconds()
    assert before is not None
    until(lambda: (process.cpu_seconds() or 0) > before)


async def test_a_process_that_has_ended_has_no_processor_time(run: Start) -> None:
    process = run("pass")
    await process.stop()
    assert process.cpu_seconds() is None


async def test_on_a_full_disk_it_is_stopped_all_the_same(
    run: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    process = run(STUBBORN)
    until(lambda: "ready" in process.log_tail())
    monkeypatch.setattr(processes, "write_json", full)
    await process.stop(signal.SIGTERM, deadline=0.2)
    assert not process.alive()
    assert not process.wanted()


def test_what_cannot_be_recorded_does_not_run(
    run: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would never be found again."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(processes, "write_json", full)
    marked = f"import time; time.sleep(60)  # {tmp_path}"
    with pytest.raises(OSError, match="No space"):
        run(marked)
    assert not [p for p in psutil.process_iter() if marked in _command(p)]


async def test_what_was_recorded_before_the_machine_was_started_again_is_not_ours(
    run: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pid, and so its session, may be those of another program."""
    process = run(STUBBORN)
    with monkeypatch.context() as patched:
        patched.setattr(processes, "_boot", lambda: "the next one")
        assert load(process.name, tmp_path / "run") is None
    assert load(process.name, tmp_path / "run") == process
    await process.stop(deadline=0)


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []
