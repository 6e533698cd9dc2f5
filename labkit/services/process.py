"""Processes that outlive their starter, and are found again by a record of who they are.

A pid alone identifies nothing: the system hands it out again. A record therefore holds the pid
*and* the moment the process started; a process is ours only if both agree.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.services import identity, logs
from labkit.services.errors import ServiceError
from labkit.services.files import make_folder, read_json, tail, write_json


@dataclass(frozen=True)
class Process:
    """A recorded process, the leader of its own session: a terminal's Ctrl-C does not reach it."""

    name: str
    pid: int
    started: str
    log: Path
    record: Path

    def alive(self) -> bool:
        """Whether it runs. Collects its exit status if it is our child and has ended."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return identity.started(self.pid) == self.started

    def recorded(self) -> bool:
        """False once it was stopped on purpose (`make down`)."""
        return self.record.exists()

    def command(self) -> list[str]:
        """The program with its arguments, as it was started; empty once the record is gone."""
        content = read_json(self.record)
        return [str(part) for part in content.get("command", [])]

    def stop(self, number: signal.Signals = signal.SIGTERM, deadline: float = 10.0) -> None:
        """Signal it, wait up to `deadline` seconds, then kill it, and all that it left behind."""
        if self.alive():
            _signal([self.pid], number)
            # What is frozen hears nothing: let it go on, so that it can end.
            _signal([self.pid, *identity.descendants(self.pid)], signal.SIGCONT)
        end = time.monotonic() + deadline
        while self.alive() and time.monotonic() < end:
            time.sleep(0.02)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the process and its whole session; returns when they are gone."""
        end = time.monotonic() + 5
        while members := self._members():
            _signal(members, signal.SIGKILL)
            if time.monotonic() > end:
                raise ServiceError(f"{self.name} (pid {self.pid}) cannot be stopped: look at `ps`.")
            time.sleep(0.02)
        self._collect(end)
        self._forget()

    def _forget(self) -> None:
        """Another process may have started the next one of this name already: its record stays."""
        if load(self.name, self.record.parent) in (self, None):
            self.record.unlink(missing_ok=True)

    def _collect(self, end: float) -> None:
        """Take our child's exit status, which is there when the last of its threads has ended."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
                time.sleep(0.01)

    def log_tail(self, lines: int = 15) -> str:
        return tail(self.log, lines)

    def _members(self) -> list[int]:
        """The live processes of its session. A pid cannot be reused while its session has members,
        so these are ours unless another process is now called by our pid."""
        if not self.alive() and identity.started(self.pid) is not None:
            return []
        return identity.session(self.pid)


def start(
    name: str,
    argv: Sequence[str | Path],
    *,
    run_dir: Path,
    log: Path,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    cwd: Path | None = None,
) -> Process:
    """Start `argv` detached from the terminal, its output appended to `log`, and record it.

    `user` needs root. Raises `ServiceError` if the program cannot be started at all.
    """
    make_folder(run_dir)
    command = [str(part) for part in argv]
    descriptor = _open(log)
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            umask=0o077,  # data, logs and sockets are for their owner, whatever the user's umask
            start_new_session=True,
            **identity.run_as(user),
        )
    except OSError as error:
        raise ServiceError(f"{name} cannot be started: {error}") from error
    finally:
        os.close(descriptor)
    # It is to outlive this object, which would complain; `alive` collects the exit status.
    child.returncode = 0
    started = identity.started(child.pid) or ""
    process = Process(name, child.pid, started, log, run_dir / f"{name}.json")
    write_json(
        process.record,
        {
            "pid": child.pid,
            "started": started,
            "command": command,
            "log": str(log),
            "folder": _folder(run_dir),
        },
    )
    return process


def _open(log: Path) -> int:
    """A descriptor to append to the log, which begins at a new line: the one before may be cut."""
    make_folder(log.parent)
    if log.exists() and log.stat().st_size > logs.LIMIT:
        log.replace(logs.set_aside(log))
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")
    return descriptor


def _folder(run_dir: Path) -> str:
    """The folder itself, whatever its name: it may be renamed, and a copy of it is another one."""
    status = run_dir.stat()
    return f"{status.st_dev} {status.st_ino}"


def load(name: str, run_dir: Path) -> Process | None:
    """What the record says, whether that process lives or not; None in a copy of the folder, whose
    records are of the original's processes.
    """
    record = run_dir / f"{name}.json"
    content = read_json(record)
    if content and content.get("folder", _folder(run_dir)) != _folder(run_dir):
        return None
    try:
        return Process(
            name, int(content["pid"]), str(content["started"]), Path(content["log"]), record
        )
    except (KeyError, TypeError, ValueError):
        return None


def find(name: str, run_dir: Path) -> Process | None:
    """The process of that name, if it is alive and really ours."""
    process = load(name, run_dir)
    return process if process is not None and process.alive() else None


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def recorded(run_dir: Path) -> list[Process]:
    """Every process that has a record, alive or not."""
    names = sorted(path.stem for path in run_dir.glob("*.json"))
    return [process for name in names if (process := load(name, run_dir))]
