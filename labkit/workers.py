"""The server's processes of one lab: ``python -m server worker`` or ``rest``, as everywhere."""

import asyncio
import atexit
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from labkit.errors import WorkerFailed
from labkit.services import fork_server, logs, process
from labkit.services.inherited import inherited
from labkit.worker_settings import limits_of
from server.contract.limits import Limits
from server.contract.log_events import READY

COLUMNS = ["transport", "alive", "started"]
RIGHT = ("server", "worker")
OBEDIENT = ("labkit.faults.at_step.worker",)
"""Right, too; and it obeys a plan of faults, as every program but the server's own does."""
IMPORTED_LATE = ("server.transports.amqp.worker", "uvloop")
"""What the server imports only when it begins."""
PROGRAM = "program-"
"""Begins the name of what is none of ours, and is numbered by itself."""
RESTART_PAUSE = 0.2
"""Seconds between two looks of the supervisor."""
START_TIMEOUT = 20.0
DRAIN_TIMEOUT = 15.0
"""Seconds: a little more than a worker gives the requests that it holds."""


@dataclass(frozen=True)
class Found:
    """The live workers of the lab ``name``, by their records, whichever process started them."""

    name: str
    run_dir: Path

    @property
    def processes(self) -> list[process.Process]:
        kinds = ("worker-*", f"{PROGRAM}*", "rest")
        paths = [p for k in kinds for p in sorted(self.run_dir.glob(f"lab-{self.name}-{k}.json"))]
        return [w for path in paths if (w := process.find(path.stem, self.run_dir))]

    @property
    def obedient(self) -> bool:
        """Whether any of them obeys a plan of faults."""
        return any(
            "-m" in worker.command() and RIGHT[0] not in worker.command()
            for worker in self.processes
        )


class Workers:
    """Starts and stops the workers of the lab ``name``, which are numbered from 1.

    They are recorded on disk: a lab that is opened again ends those that a killed kernel left
    behind, and so does ``make down``.
    """

    def __init__(
        self,
        name: str,
        environment: Mapping[str, str],
        home: Path,
        program: tuple[str, ...] = RIGHT,
        *,
        supervised: bool = False,
    ) -> None:
        """``program`` is the module, with arguments, that they run. ``supervised`` workers that die
        are started again, as they would by systemd or Kubernetes.
        """
        self.processes: list[process.Process] = []
        self.logs: dict[str, Path] = {}
        """Name → log of every worker of this lab, those that have ended among them."""
        self._begun: dict[str, logs.Marks] = {}
        """Name → where the log of its last start begins."""
        self._programs: dict[str, tuple[str, ...]] = {}
        self._started: dict[str, datetime] = {}
        self.names: dict[int, str] = {}
        """A process's id → its name, such as ``worker-1``, of all that were ever started."""
        self._settings: dict[str, dict[str, str]] = {}
        """Name → its own settings, beside the lab's."""
        self.limits: set[Limits] = set()
        """Those of every worker that was ever started."""
        self._program = program
        self._supervisor: asyncio.Task[None] | None = None
        self._supervised = supervised
        self._name = name
        self._environment = {**inherited(), **environment, "PYTHONPATH": str(home)}
        self._run_dir = home / ".lab" / "run"
        self._log_dir = home / ".lab" / "logs"
        atexit.register(self._kill)

    async def start(
        self, count: int, *program: str, environment: Mapping[str, str] | None = None
    ) -> None:
        """``count`` more workers, numbered on. Returns when all of them consume.

        ``program`` is a module with its arguments, to be run instead of the right server, and
        ``environment`` is for these workers alone.

        Raises ``WorkerFailed`` with the end of the log.
        """
        if count and (forks := self.warm_up()):
            await asyncio.to_thread(forks.wait_until_ready)
        first = len(self.processes) + 1
        names = [f"worker-{number}" for number in range(first, first + count)]
        started = [
            self._start(name, *(program or self._program), **(environment or {})) for name in names
        ]
        self.processes += started
        await asyncio.gather(*(self._ready(worker) for worker in started))
        if self._supervised and self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise())

    def warm_up(self) -> fork_server.ForkServer | None:
        """Have the server's packages imported, which takes a moment: the first start is quicker."""
        if not fork_server.is_possible():
            return None
        return fork_server.of_this_process(self._environment, *IMPORTED_LATE)

    @property
    def obedient(self) -> bool:
        """Whether any of them obeys a plan of faults."""
        programs = (self._programs[worker.name] for worker in self.processes)
        return any(_is_module(program) and program[0] != RIGHT[0] for program in programs)

    def are(self, count: int, environment: Mapping[str, str]) -> bool:
        """Whether just so many live, all of the lab's own program, with these settings."""
        alive = [worker.name for worker in self.processes if worker.alive()]
        ours = all(self._programs[name] == self._program for name in alive)
        same = all(self._settings[name] == dict(environment) for name in alive)
        return len(alive) == count == len(self.processes) and ours and same

    def table(self) -> pd.DataFrame:
        """One row for each process of now: see ``lab.workers``."""
        rows = {
            worker.name: {
                "transport": "REST" if "rest" in self._programs[worker.name] else "RabbitMQ",
                "alive": worker.alive(),
                "started": self._started[worker.name],
            }
            for worker in self.processes
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(RESTART_PAUSE)
            for number, worker in enumerate(self.processes):
                if not worker.alive() and worker.wanted():
                    kind = worker.name.removeprefix(f"lab-{self._name}-")
                    own = self._settings[worker.name]
                    self.processes[number] = self._start(kind, *self._programs[worker.name], **own)

    async def start_rest(self, port: int = 0) -> str:
        """The lab over HTTP, too: its URL, when it listens; at any free port if it is 0. Raises
        ``WorkerFailed``.
        """
        rest = self._start("rest", "server", "rest", REST_PORT=str(port))
        self.processes.append(rest)
        await self._ready(rest)
        return next(
            str(event["url"]) for event in self._events(rest) if event.get("event") == READY
        )

    def start_program(self, path: Path) -> process.Process:
        """One more, which is any program: returns at once, for it may never say that it is ready.

        Its settings are in its environment. What it prints is in its log, line by line.
        """
        number = 1 + sum(PROGRAM in name for name in self.logs)
        started = self._start(f"{PROGRAM}{number}", str(path), PYTHONUNBUFFERED="1")
        self.processes.append(started)
        return started

    def _start(self, kind: str, *program: str, **settings: str) -> process.Process:
        name = f"lab-{self._name}-{kind}"
        self._programs[name] = program
        self._started[name] = datetime.now(UTC)
        self._settings[name] = settings
        environment = {**self._environment, **settings}
        self.limits.add(limits_of(environment))
        started = self._started_as(name, program, environment)
        self.names[started.pid] = kind
        return started

    def _started_as(
        self, name: str, program: tuple[str, ...], environment: Mapping[str, str]
    ) -> process.Process:
        log = self._log(name)
        if _is_module(program) and (forks := self.warm_up()):
            return process.fork(
                name, program, forks, run_dir=self._run_dir, log=log, env=environment
            )
        command = [sys.executable, *(["-m"] if _is_module(program) else []), *program]
        return process.start(name, command, run_dir=self._run_dir, log=log, env=environment)

    def _log(self, name: str) -> Path:
        """New in a new lab; a worker that is started again goes on in it."""
        if name not in self.logs:
            self.logs[name] = log = self._log_dir / f"{name}.log"
            for file in (log, logs.set_aside(log)):
                file.unlink(missing_ok=True)
        self._begun[name] = logs.marks([self.logs[name]])
        return self.logs[name]

    def _events(self, worker: process.Process) -> Iterator[dict[str, Any]]:
        """What it has logged since its start."""
        return logs.events([worker.log], self._begun[worker.name])

    async def _ready(self, worker: process.Process) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not any(event.get("event") == READY for event in self._events(worker)):
            if not worker.alive():
                raise WorkerFailed(f"{worker.name} ended at its start. {self._last_words(worker)}")
            if time.monotonic() > deadline:
                raise WorkerFailed(f"{worker.name} is not ready yet. {self._last_words(worker)}")
            await asyncio.sleep(0.02)

    def _last_words(self, worker: process.Process) -> str:
        """What its log ends with: an event with its reason, or the last line of a traceback."""
        last = worker.log_tail(1)
        if events := [e for e in self._events(worker) if last.startswith("{")]:
            why = events[-1].get("why") or events[-1].get("error") or ""
            last = f"{events[-1].get('event', '')} {why}".strip()
        return f"Its last log line: {last.rstrip('.') or 'none'}. Full log: {worker.log}"

    async def stop(self) -> None:
        """Have them drain and end, those of an earlier run too."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
        found = Found(self._name, self._run_dir).processes
        dead = [worker for worker in self.processes if worker not in found]  # with their records
        stops = (worker.stop(signal.SIGTERM, DRAIN_TIMEOUT) for worker in (*found, *dead))
        await asyncio.gather(*stops)
        self.processes = []

    def _kill(self) -> None:
        """The kernel ends: there is no time for a drain."""
        for worker in self.processes:
            worker.kill()


def _is_module(program: tuple[str, ...]) -> bool:
    """Else it is the path of a file."""
    return not program[0].endswith(".py")
