"""The server, as processes of the lab: the worker on RabbitMQ here, and what `rest` shares."""

import hashlib
import json
import signal
import threading

from labkit.services import environment, logs, supervisor, venv
from labkit.services.layout import Home
from labkit.services.process import Process, find, load, start
from labkit.services.waiting import until_ready

NAME = "server"
START_DEADLINE = 60.0
DRAIN_DEADLINE = 15.0
"""Seconds; longer than the server itself gives the requests it holds."""


def up(home: Home, services: dict[str, str], cancel: threading.Event) -> str:
    """Start the worker, or adopt the one that runs with these very settings."""
    return run(home, NAME, "worker", _needed(services), cancel)


def run(home: Home, name: str, role: str, needed: dict[str, str], cancel: threading.Event) -> str:
    """Start the server in this role, or adopt the process that runs with these very settings.

    From then on it is restarted when it dies: see `supervisor`. Raises `NotReady`, `PortTaken`.
    """
    settings = environment.dotenv() | needed | {"PYTHONUNBUFFERED": "1"}
    env = venv.environment() | settings
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    running = find(name, home.run_dir)
    if running is not None and home.recall(f"{name} settings") == digest:
        if supervisor.supervises(home, name) is None:
            supervisor.up(home, name, role, env)
        crashes = str(supervisor.history(home, name))
        return ", ".join(filter(None, [f"runs already, pid {running.pid}", crashes]))
    down(home, name)  # the broker has another address by now, or .env has changed
    process = _start(home, name, role, env, cancel)
    supervisor.up(home, name, role, env)
    home.remember(f"{name} settings", digest)
    return f"{role}, pid {process.pid}"


def down(home: Home, name: str) -> None:
    """Have it drain and end, for good; harmless if it does not run."""
    supervisor.down(home, name)
    if (process := load(name, home.run_dir)) is not None:
        process.stop(signal.SIGTERM, DRAIN_DEADLINE)


def _start(
    home: Home, name: str, role: str, env: dict[str, str], cancel: threading.Event
) -> Process:
    log = home.log(name)
    begun = logs.marks([log])
    process = start(
        name,
        [venv.PYTHON, "-m", "server", role],
        run_dir=home.run_dir,
        log=log,
        env=env,
        cwd=environment.ROOT,
    )

    def ready() -> None:
        if not any(event.get("event") == "ready" for event in logs.events([log], begun)):
            raise OSError("it has not yet logged that it is ready")

    until_ready(process, ready, deadline=START_DEADLINE, cancel=cancel)
    return process


def _needed(services: dict[str, str]) -> dict[str, str]:
    """The worker gets its own user of the broker, and hears of no other."""
    needed = {name: services[name] for name in ("DATABASE_URL", "API_KEY")}
    return needed | {"AMQP_URL": services["SERVER_AMQP_URL"]}
