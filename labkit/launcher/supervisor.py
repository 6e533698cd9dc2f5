"""`python -m labkit.launcher.supervisor HOME NAME ROLE`: starts the server's process again when it
dies, as systemd or Docker would. It outlives its starter, as what it watches does.

A process whose record is gone, or says that it is stopping, was stopped on purpose: then the
supervisor ends, too. If only the supervisor dies, the process goes on, and `make up` gives it a new
one.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from labkit.launcher import venv
from labkit.services import environment, logs
from labkit.services.home import Home
from labkit.services.process import Process, find, load, start

LOOK = 0.1
"""Seconds between two looks."""
PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before the first restart, the second … within `WINDOW`. After the last it gives up."""
WINDOW = 60.0
"""Seconds without a crash in which all earlier ones are forgotten, one by one."""
SUPERVISING, RESTARTED, GAVE_UP = "supervising", "restarted", "gave_up"


@dataclass(frozen=True)
class History:
    """What a supervisor did since it was started."""

    restarts: int
    last: str
    """When it restarted last: UTC, ISO 8601."""
    gave_up: bool

    def __str__(self) -> str:
        if self.gave_up:
            return f"given up after {len(PAUSES)} restarts within {WINDOW:.0f} s"
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        return f"crashed and restarted {times}, last at {self.last}" if self.restarts else ""


def up(home: Home, name: str, role: str, env: dict[str, str]) -> None:
    """Supervise the process of this name, which runs; it is restarted in this environment."""
    start(
        _name(name),
        [venv.PYTHON, "-m", __name__, home.path, name, role],
        run_dir=home.run_dir,
        log=home.log(_name(name)),
        env=env,
        cwd=environment.ROOT,
    )


def supervises(home: Home, name: str) -> Process | None:
    """The supervisor of this process, if it is alive."""
    return find(_name(name), home.run_dir)


def is_supervisor(process: Process) -> bool:
    return process.name.endswith(_name(""))


def history(home: Home, name: str) -> History:
    restarts, last, gave_up = 0, "", False
    for event in logs.events([home.log(_name(name))]):
        if event.get("event") == SUPERVISING:
            restarts, last, gave_up = 0, "", False
        elif event.get("event") == RESTARTED:
            restarts, last = restarts + 1, str(event.get("time"))
        elif event.get("event") == GAVE_UP:
            gave_up = True
    return History(restarts, last, gave_up)


def _name(name: str) -> str:
    return f"{name}-supervisor"


class Supervisor:
    """Of one process, by its record."""

    def __init__(self, home: Home, name: str, role: str) -> None:
        self._home = home
        self._name = name
        self._role = role
        self._crashes: list[float] = []
        self._stopped = False
        signal.signal(signal.SIGTERM, self._stop)

    def run(self) -> None:
        """Until it gets a signal, what it watches is stopped on purpose, or it gives up."""
        _log(SUPERVISING, self._name)
        for crashed in self._crashed():
            pause = self._pause()
            if pause is None:
                _log(GAVE_UP, self._name, crashes=len(self._crashes), within=WINDOW)
                return
            end = time.monotonic() + pause
            while time.monotonic() < end and not self._stopped:
                time.sleep(LOOK)
            if not self._stopped and crashed.wanted():
                again = self._restart()
                _log(RESTARTED, self._name, was=crashed.pid, pid=again.pid, after=pause)

    def _crashed(self) -> Iterator[Process]:
        """The process, each time that it is found dead; ends when it was stopped on purpose."""
        while not self._stopped and (process := load(self._name, self._home.run_dir)) is not None:
            if process.alive():
                time.sleep(LOOK)
            elif process.wanted():
                yield process
            else:
                return

    def _pause(self) -> float | None:
        """Before the next restart; None if there were too many."""
        now = time.monotonic()
        self._crashes = [*(t for t in self._crashes if now - t < WINDOW), now]
        earlier = len(self._crashes) - 1
        return PAUSES[earlier] if earlier < len(PAUSES) else None

    def _restart(self) -> Process:
        return start(
            self._name,
            [sys.executable, "-m", "server", self._role],
            run_dir=self._home.run_dir,
            log=self._home.log(self._name),
            env=os.environ,
            cwd=environment.ROOT,
        )

    def _stop(self, *_: object) -> None:
        """Heard between two looks: a process that is being started gets its record first."""
        self._stopped = True


def _log(event: str, process: str, **fields: object) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    line = {"event": event, "time": now, "process": process, **fields}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    path, name, role = sys.argv[1:]
    Supervisor(Home(Path(path)), name, role).run()
