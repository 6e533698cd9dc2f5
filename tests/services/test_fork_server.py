"""What is forked from a process that has imported it is a process like any other."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from labkit.services import fork_server, process
from labkit.services.errors import ServiceError
from labkit.services.fork_server import ForkServer
from labkit.services.inherited import inherited
from tests.support import ROOT, until

pytestmark = pytest.mark.skipif(
    not fork_server.is_possible(), reason="workers are forked on Linux only"
)

SAYS_WHO_IT_IS = """
    import json, os, signal, sys

    from server.contract.message_id import new_message_id

    def main() -> None:
        mask = os.umask(0)
        print(json.dumps({
            "arguments": sys.argv, "environment": dict(os.environ), "pid": os.getpid(),
            "session": os.getsid(0), "mask": mask, "input": sys.stdin.read(),
            "SIGCHLD": signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL,
            "id": new_message_id(), "descriptors": len(os.listdir("/proc/self/fd")),
        }), flush=True)
        signal.pause()
"""
FAILS = """
    def main() -> None:
        raise LookupError("no such thing")
"""


class Programs:
    """Packages in a folder, and a fork server that finds them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**inherited(), "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
        for name, source in {"says": SAYS_WHO_IT_IS, "fails": FAILS}.items():
            (folder / name).mkdir()
            (folder / name / "__main__.py").write_text(textwrap.dedent(source))
        self.server = ForkServer(self.environment)
        self.started: list[process.Process] = []

    def start(self, *program: str, **environment: str) -> process.Process:
        name = f"{program[0]}-{len(self.started)}"
        given: Mapping[str, str] = {**self.environment, **environment}
        log = self.folder / f"{name}.log"
        self.started.append(
            process.fork(
                name, program, self.server, run_dir=self.folder / "run", log=log, env=given
            )
        )
        return self.started[-1]


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    for each in made.started:
        each.kill()
    made.server.close()


def has_ended(started: process.Process) -> bool:
    return not started.alive()


def said(started: process.Process) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(until(started.log.read_text))
    return answer


@contextmanager
def another_process(programs: Programs, *program: str) -> Iterator[subprocess.Popen[str]]:
    """It starts the program with a fork server of its own, and says their pids."""
    source = f"""
        import os, signal
        from labkit.services.fork_server import ForkServer
        server = ForkServer(os.environ)
        output = os.open(os.devnull, os.O_WRONLY)
        print(server.start({program!r}, os.environ, output), server._server.pid, flush=True)
        signal.pause()
    """
    command = [sys.executable, "-c", textwrap.dedent(source)]
    with subprocess.Popen(
        command, env=programs.environment, stdout=subprocess.PIPE, encoding="utf-8"
    ) as running:
        yield running
        running.kill()


def test_a_forked_program_is_as_one_that_was_started(programs: Programs) -> None:
    first, second = (said(programs.start("says", "a b", "c", MINE=mine)) for mine in "12")
    assert first["arguments"] == ["says", "a b", "c"]
    assert first["environment"] == {**programs.environment, "MINE": "1"}
    assert second["environment"]["MINE"] == "2"
    assert (first["pid"], first["session"]) == (programs.started[0].pid,) * 2
    assert (first["mask"], first["input"], first["SIGCHLD"]) == (0o077, "", True)
    assert first["descriptors"] == second["descriptors"] == 4  # one is that of the look
    shown = psutil.Process(first["pid"]).cmdline()
    assert " ".join(shown).rstrip() == f"{sys.executable} -m says a b c"
    assert programs.started[0].command() == [sys.executable, "-m", "says", "a b", "c"]


def test_no_two_forked_programs_give_the_same_message_ids(programs: Programs) -> None:
    one, other = (said(programs.start("says"))["id"] for _ in range(2))
    assert one != other


def test_the_end_of_a_forked_program_is_seen_and_leaves_nothing(programs: Programs) -> None:
    one = programs.start("says")
    said(one)
    os.kill(one.pid, signal.SIGKILL)
    until(lambda: not one.alive())
    assert not psutil.pid_exists(one.pid)


def test_what_fails_says_why_in_its_log(programs: Programs) -> None:
    for name, why in {
        "fails": "LookupError: no such thing",
        "gone": "No module named 'gone'",
    }.items():
        started = programs.start(name)
        until(partial(has_ended, started))
        assert why in started.log.read_text()
    said(programs.start("says"))


def test_a_program_that_was_changed_is_started_as_it_is_now(programs: Programs) -> None:
    said(programs.start("says"))
    source = programs.folder / "says" / "__main__.py"
    source.write_text(source.read_text().replace('"input"', '"changed"'))
    assert "changed" in said(programs.start("says"))


def test_a_fork_server_ends_with_its_process_and_what_it_started_does_not(
    programs: Programs,
) -> None:
    with another_process(programs, "says") as running:
        assert running.stdout is not None
        program, server = map(int, running.stdout.readline().split())
        running.kill()
        until(lambda: not psutil.pid_exists(server))
        os.kill(program, 0)
        os.kill(program, signal.SIGKILL)


@pytest.mark.parametrize("has_heard", [False, True])
def test_one_that_is_interrupted_leaves_no_process_that_it_does_not_know(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, has_heard: bool
) -> None:
    answer = programs.server._answer
    log = programs.folder / "says-0.log"

    def interrupted() -> bytes:
        until(log.read_text)  # it runs, and waits for a signal
        if has_heard:
            answer()
        raise KeyboardInterrupt

    programs.server.wait_until_ready()
    monkeypatch.setattr(programs.server, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        programs.start("says")
    pid = json.loads(log.read_text())["pid"]
    until(lambda: not psutil.pid_exists(pid))
    assert not programs.server.alive()


def test_what_cannot_be_imported_beforehand_says_why_in_the_log_and_may_be_corrected(
    programs: Programs,
) -> None:
    source = programs.folder / "broken.py"
    source.write_text("this is no Python\n")
    uses = programs.folder / "says" / "__main__.py"
    uses.write_text("import broken\n" + textwrap.dedent(SAYS_WHO_IT_IS))
    programs.server.close()
    programs.server = ForkServer(programs.environment, "broken")
    first = programs.start("says")
    until(partial(has_ended, first))
    assert "SyntaxError" in first.log.read_text()
    source.write_text("")
    said(programs.start("says"))


def test_a_fork_server_that_was_killed_is_replaced(tmp_path: Path) -> None:
    first = fork_server.of_this_process(inherited())
    assert fork_server.of_this_process(inherited()) is first
    first.wait_until_ready()
    os.kill(first._server.pid, signal.SIGKILL)
    first._server.wait()
    with pytest.raises(ServiceError, match="cannot be started"):
        first.start(["says"], {}, 1)
    second = fork_server.of_this_process(inherited())
    assert second is not first
    second.wait_until_ready()
