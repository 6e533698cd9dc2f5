"""Processes that outlive their starter, and are found again by a record of who they are.

A pid alone identifies nothing: the system hands it out again. A record therefore holds the pid
*and* the moment the process started; a process is ours only if both agree.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from labkit.services import logs
from labkit.services.errors import NotReady, PortTaken, ServiceError
from labkit.services.files import identity, make_folder, read_json, tail, write_json
from labkit.services.fork_server import ForkServer
from labkit.services.running import as_user

IN_USE = ("eaddrinuse", "already in use", "already bound")
"""What programs say when another one has their port."""
STOPPING = "stopping"


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
        return started(self.pid) == self.started

    def wanted(self) -> bool:
        """False from the moment that it is stopped on purpose (`make down`), or that another one
        has its place: its death is no crash then, and there is nothing to restart.
        """
        content = read_json(self.record)
        return self._is_of(content) and not content.get(STOPPING)

    def command(self) -> list[str]:
        """The program with its arguments, as it was started; empty once the record is gone."""
        content = read_json(self.record)
        return [str(part) for part in content.get("command", [])]

    def cpu_seconds(self) -> float | None:
        """The processor time that it has used since it started; None if it has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.alive():
                used = psutil.Process(self.pid).cpu_times()
                return float(used.user + used.system)
        return None

    def children(self) -> list[psutil.Process]:
        """Its children, and theirs. PostgreSQL's have sessions of their own."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def descendants(self) -> list[int]:
        """Their pids."""
        return [child.pid for child in self.children()]

    async def stop(self, number: signal.Signals = signal.SIGTERM, deadline: float = 10.0) -> None:
        """Signal it, wait up to `deadline` seconds, then kill it, and all that it left behind."""
        self._unwant()
        if self.alive():
            send([self.pid], number)
            # What is frozen hears nothing: let it go on, so that it can end.
            send([self.pid, *self.descendants()], signal.SIGCONT)
        end = time.monotonic() + deadline
        while self.alive() and time.monotonic() < end:  # noqa: ASYNC110  (no event tells of it)
            await asyncio.sleep(0.02)
        await asyncio.to_thread(self.kill)

    def kill(self) -> None:
        """SIGKILL to the process and its whole session; returns when they are gone."""
        self._unwant()
        end = time.monotonic() + 5
        while members := self._members():
            send(members, signal.SIGKILL)
            if time.monotonic() > end:
                raise ServiceError(f"{self.name} (pid {self.pid}) cannot be stopped: look at `ps`.")
            time.sleep(0.02)
        if started(self.pid) is None:  # else another process has the pid by now
            self._collect(end)
        # Another process may have started the next one of this name already: its record stays.
        if load(self.name, self.record.parent) in (self, None):
            self.record.unlink(missing_ok=True)

    def _is_of(self, content: Mapping[str, object]) -> bool:
        """A record is found by name: the process of this name may be another one by now."""
        return content.get("pid") == self.pid and content.get("started") == self.started

    def _unwant(self) -> None:
        """Before its first signal: its supervisor may look between its death and the last line."""
        content = read_json(self.record)
        if self._is_of(content):
            try:
                write_json(self.record, content | {STOPPING: True})
            except OSError:  # the disk is full; what has no record is not wanted either
                self.record.unlink(missing_ok=True)

    def _collect(self, end: float) -> None:
        """Take our child's exit status, which is there when the last of its threads has ended."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
                time.sleep(0.01)

    def _members(self) -> list[int]:
        """The live processes of its session. A pid cannot be reused while its session has members,
        so these are ours unless another process is now called by our pid."""
        if not self.alive() and started(self.pid) is not None:
            return []
        return [pid for pid in psutil.pids() if _session(pid) == self.pid and started(pid)]

    def log_tail(self, lines: int = 15) -> str:
        return tail(self.log, lines)

    def ended(self) -> NotReady:
        """The error for one that ended while it was waited for: with the end of its log."""
        log = self.log_tail(40).lower()
        kind = PortTaken if any(mark in log for mark in IN_USE) else NotReady
        return kind(
            f"{self.name} ended while starting. The end of its log, {self.log}:\n{self.log_tail()}"
        )


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
    command = [str(part) for part in argv]
    with _output(log) as descriptor:
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                umask=0o077,  # data, logs and sockets are for their owner, whatever their umask
                start_new_session=True,
                **as_user(user),
            )
        except OSError as error:
            raise ServiceError(f"{name} cannot be started: {error}") from error
    # It is to outlive this object, which would complain; `alive` collects the exit status.
    child.returncode = 0
    return _recorded(name, child.pid, command, log, run_dir)


def fork(
    name: str,
    program: Sequence[str],
    server: ForkServer,
    *,
    run_dir: Path,
    log: Path,
    env: Mapping[str, str],
) -> Process:
    """The same for `program`, a package with its arguments, which the fork server starts."""
    with _output(log) as descriptor:
        pid = server.start(program, env, descriptor)
    return _recorded(name, pid, [sys.executable, "-m", *program], log, run_dir)


@contextlib.contextmanager
def _output(log: Path) -> Iterator[int]:
    descriptor = logs.opened(log)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _recorded(name: str, pid: int, command: list[str], log: Path, run_dir: Path) -> Process:
    make_folder(run_dir)
    process = Process(name, pid, started(pid) or "", log, run_dir / f"{name}.json")
    content = {
        "pid": process.pid,
        "started": process.started,
        "command": command,
        "log": str(log),
        "folder": identity(run_dir),
        "boot": _boot(),
    }
    try:
        write_json(process.record, content)
    except BaseException:  # without a record it would never be found again
        process.kill()
        raise
    return process


def load(name: str, run_dir: Path) -> Process | None:
    """What the record says, whether that process lives or not; None in a copy of the folder, whose
    records are of the original's processes, and after the machine was started again: other
    programs have their pids by now.
    """
    record = run_dir / f"{name}.json"
    content = read_json(record)
    is_foreign = content.get("folder") != identity(run_dir)
    if content and (is_foreign or content.get("boot", _boot()) != _boot()):
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


def recorded(run_dir: Path) -> list[Process]:
    """Every process that has a record, alive or not."""
    names = sorted(path.stem for path in run_dir.glob("*.json"))
    return [process for name in names if (process := load(name, run_dir))]


def send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def started(pid: int) -> str | None:
    """When it started, in seconds since boot: a change of the clock does not change it. None if
    there is no such process, or only its exit status is left (a zombie).
    """
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return f"{process.create_time() - psutil.boot_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


@cache
def _boot() -> str:
    """Which start of the machine this is; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
