"""The server, as two processes of the lab: the worker on RabbitMQ, and the same API over HTTP."""

import hashlib
import json
import signal

from labkit.launcher import supervisor, venv
from labkit.services import environment, handshake, logs, ports
from labkit.services.errors import PortTaken
from labkit.services.home import Home
from labkit.services.process import find, load, start
from labkit.services.ready import until_ready
from server.contract.log_events import READY

WORKER, REST = ROLES = ("server", "rest")
"""What the two processes are called."""
REST_PORT = 8080
TRIES = 4
START_DEADLINE = 60.0
DRAIN_DEADLINE = 15.0
"""Seconds; longer than the server itself gives the requests it holds."""


async def up_worker(home: Home, services: dict[str, str]) -> str:
    """Start the worker, or adopt the one that runs with these very settings."""
    needed = {name: services[name] for name in ("DATABASE_URL", "API_KEY")}
    # It has its own user of the broker, and hears of no other.
    return await _up(home, WORKER, "worker", needed | {"AMQP_URL": services["SERVER_AMQP_URL"]})


async def up_rest(home: Home, services: dict[str, str]) -> str:
    """Start REST, or adopt the one that runs with these very settings; says where it is."""
    needed = {name: services[name] for name in ("DATABASE_URL", "API_KEY")}
    for attempt in range(TRIES):
        if find(REST, home.run_dir) is None:
            await down(home, REST)  # its supervisor would start it again meanwhile, on its port
            await ports.assign(home, REST, REST_PORT, remembered=attempt == 0)
        address = {"REST_HOST": ports.LOOPBACK, "REST_PORT": str(home.port(REST))}
        try:
            return f"{await _up(home, REST, 'rest', needed | address)}, port {home.port(REST)}"
        except PortTaken:
            continue
    raise ports.all_taken("REST")


def rest_url(home: Home) -> str:
    return f"http://{ports.LOOPBACK}:{home.port(REST)}"


async def down(home: Home, name: str) -> None:
    """Have it drain and end, for good; harmless if it does not run."""
    if (watcher := supervisor.supervises(home, name)) is not None:
        await watcher.stop()
    if (process := load(name, home.run_dir)) is not None:
        await process.stop(signal.SIGTERM, DRAIN_DEADLINE)


async def rest_answers(home: Home) -> str:
    """Its health. Raises `OSError` if it does not answer, or its database does not."""
    return await handshake.rest(rest_url(home))


async def _up(home: Home, name: str, role: str, needed: dict[str, str]) -> str:
    """From then on it is restarted when it dies. Raises `NotReady`, `PortTaken`."""
    settings = environment.dotenv() | needed | {"PYTHONUNBUFFERED": "1"}
    env = venv.environment() | settings
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    running = find(name, home.run_dir)
    if running is not None and running.wanted() and home.recall(f"{name} settings") == digest:
        if supervisor.supervises(home, name) is None:
            supervisor.up(home, name, role, env)
        crashes = str(supervisor.history(home, name))
        return ", ".join(filter(None, [f"runs already, pid {running.pid}", crashes]))
    await down(home, name)  # the broker has another address by now, or .env has changed
    pid = await _start(home, name, role, env)
    supervisor.up(home, name, role, env)
    home.remember(f"{name} settings", digest)
    return f"{role}, pid {pid}"


async def _start(home: Home, name: str, role: str, env: dict[str, str]) -> int:
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

    async def ready() -> None:
        if not any(event.get("event") == READY for event in logs.events([log], begun)):
            raise OSError("it has not yet logged that it is ready")

    await until_ready(process, ready, deadline=START_DEADLINE)
    return process.pid
