"""The server, as processes of the lab: the worker on RabbitMQ here, and what `rest` shares."""

import hashlib
import json
import signal
import threading

from labkit.services import environment, logs, venv
from labkit.services.layout import Home
from labkit.services.process import find, start
from labkit.services.waiting import until_ready

NAME = "server"
START_DEADLINE = 60.0
DRAIN_DEADLINE = 15.0
"""Seconds; longer than the server itself gives the requests it holds."""


def up(home: Home, services: dict[str, str], cancel: threading.Event) -> str:
    """Start the worker, or adopt the one that runs with these very settings."""
    return run(home, NAME, "worker", _needed(services), cancel)


def run(home: Home, name: str, role: str, needed: dict[str, str], cancel: threading.Event) -> str:
    """Start the server in this role, or adopt the process that runs with these very settings."""
    settings = environment.dotenv() | needed | {"PYTHONUNBUFFERED": "1"}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    running = find(name, home.run_dir)
    if running is not None and home.recall(f"{name} settings") == digest:
        return f"runs already, pid {running.pid}"
    if running is not None:  # the broker has another address by now, or .env has changed
        running.stop(signal.SIGTERM, DRAIN_DEADLINE)
    log = home.log(name)
    begun = logs.marks([log])
    process = start(
        name,
        [venv.PYTHON, "-m", "server", role],
        run_dir=home.run_dir,
        log=log,
        env=venv.environment() | settings,
        cwd=environment.ROOT,
    )

    def ready() -> None:
        if not any(event.get("event") == "ready" for event in logs.events([log], begun)):
            raise OSError("it has not yet logged that it is ready")

    until_ready(process, ready, deadline=START_DEADLINE, cancel=cancel)
    home.remember(f"{name} settings", digest)
    return f"{role}, pid {process.pid}"


def _needed(services: dict[str, str]) -> dict[str, str]:
    """The worker gets its own user of the broker, and hears of no other."""
    needed = {name: services[name] for name in ("DATABASE_URL", "API_KEY")}
    return needed | {"AMQP_URL": services["SERVER_AMQP_URL"]}
