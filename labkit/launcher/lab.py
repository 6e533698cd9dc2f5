"""The student's lab: all services of this clone, started and stopped together."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from filelock import AsyncFileLock, Timeout

from labkit.launcher import browser, jupyter, server, supervisor, venv
from labkit.launcher.steps import Steps
from labkit.services import environment, handshake, postgresql, rabbitmq, stopping, users
from labkit.services.home import Home
from labkit.services.process import Process, recorded
from labkit.services.running import side_by_side

LONG_LIVED = (jupyter.NAME, *server.ROLES, rabbitmq.NAME, postgresql.NAME, rabbitmq.EPMD)
"""What the lab itself starts; notebooks record workers of theirs beside them."""

Step = Callable[[], Awaitable[str]]


def home() -> Home:
    return Home(environment.LAB)


async def up(steps: Steps, *, with_jupyter: bool = False) -> None:
    """Start what does not run, adopt what does, and write `lab.env`.

    If it fails or is interrupted, what this call has started is stopped again.
    """
    async with exclusive(steps) as ours:
        before = {process.pid for process in recorded(ours.run_dir) if process.alive()}
        try:
            await _start(steps, ours, with_jupyter=with_jupyter)
            environment.write_env(ours.env_file, _environment(ours))
        except BaseException:
            await _stop([p for p in recorded(ours.run_dir) if p.pid not in before], ours)
            raise


async def down(steps: Steps) -> None:
    """Stop everything that runs from this clone; data stays."""
    names: list[str] = []

    async def stop() -> str:
        processes = recorded(ours.run_dir)
        names.extend(p.name for p in processes if p.alive() and not supervisor.is_supervisor(p))
        await _stop(processes, ours)
        ours.env_file.unlink(missing_ok=True)
        browser.forget()
        return ", ".join(names) or "nothing was running"

    async with exclusive(steps) as ours:
        await steps.step("stopped", stop)


async def install(steps: Steps) -> None:
    """All packages are there: for the tests, which start services of their own."""
    await steps.step("Python", venv.complete)


@asynccontextmanager
async def exclusive(steps: Steps) -> AsyncIterator[Home]:
    """Two `make` at once in one clone take turns. The system releases the lock when its holder
    ends, however that happens.
    """
    ours = home()
    ours.make()
    lock = AsyncFileLock(ours.path / "lock", mode=0o600)
    try:
        await lock.acquire(timeout=0)
    except Timeout:
        steps.say("  … another `make` is at work")
        await lock.acquire()
    try:
        yield ours
    finally:
        await lock.release()


def addresses(ours: Home) -> str:
    """Where everything is, for people."""
    values = environment.read_env(ours.env_file)
    rows = {
        "JupyterLab": values.get("JUPYTER_URL", "not started: make lab"),
        "REST": f"{values['REST_URL']}/docs" if "REST_URL" in values else "not started: make up",
        "RabbitMQ": _management(values),
        "PostgreSQL": values.get("DATABASE_URL", "?"),
        "For programs": f"set -a; . {ours.env_file.relative_to(environment.ROOT)}",
    }
    return "\n".join(f"  {name:<12} {text}" for name, text in rows.items())


async def _start(steps: Steps, ours: Home, *, with_jupyter: bool) -> None:
    async with side_by_side() as group:

        def begin(title: str, work: Step, *after: asyncio.Task[None]) -> asyncio.Task[None]:
            return group.create_task(steps.step(title, work, *after))

        packages = begin("Python", venv.complete)
        if given := environment.given_services(os.environ):
            broker = begin("RabbitMQ", lambda: _theirs(given["AMQP_URL"]))
            database = begin("PostgreSQL", lambda: _theirs(given["DATABASE_URL"]))
        else:
            broker = begin("RabbitMQ", lambda: _rabbitmq(ours))
            database = begin("PostgreSQL", lambda: _postgresql(ours))

        def worker() -> Awaitable[str]:
            return server.up_worker(ours, _services(ours))

        begin("REST", lambda: server.up_rest(ours, _services(ours)), packages, database)
        begin("Server", worker, packages, database, broker)
        if with_jupyter:
            begin("JupyterLab", lambda: jupyter.up(ours), packages)


async def _theirs(url: str) -> str:
    return f"yours, at {await handshake.listens(url)}"


async def _rabbitmq(ours: Home) -> str:
    await rabbitmq.up(ours)
    return f"{await handshake.amqp(users.urls(ours)['AMQP_URL'])}, port {ours.port('amqp')}"


async def _postgresql(ours: Home) -> str:
    version = await handshake.postgresql((await postgresql.up(ours))["DATABASE_URL"])
    return f"{version}, port {ours.port(postgresql.NAME)}"


def _services(ours: Home) -> dict[str, str]:
    given = environment.given_services(os.environ)
    own = users.urls(ours) | postgresql.urls(ours)
    return (given or own) | {"API_KEY": environment.api_key(ours)}


def _environment(ours: Home) -> dict[str, str]:
    running = {process.name for process in recorded(ours.run_dir) if process.alive()}
    pages = {"REST_URL": (server.REST, server.rest_url), "JUPYTER_URL": (jupyter.NAME, jupyter.url)}
    urls = {variable: url(ours) for variable, (name, url) in pages.items() if name in running}
    return _services(ours) | urls | {environment.OWN: str(environment.LAB)}


def _management(values: dict[str, str]) -> str:
    if "MANAGEMENT_URL" not in values:
        return values.get("AMQP_URL", "?")
    parts = urlsplit(values["MANAGEMENT_URL"])
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}  user {parts.username}, password {parts.password}"


async def _stop(processes: list[Process], ours: Home) -> None:
    """Stop these: who uses a service goes before it."""
    services = {
        rabbitmq.NAME: rabbitmq.down,
        rabbitmq.EPMD: rabbitmq.down,
        postgresql.NAME: stopping.database,
    }
    for process in filter(supervisor.is_supervisor, processes):
        await process.stop()  # first, or it would restart what is stopped
    users_of_them = [process for process in processes if process.name not in services]
    await asyncio.gather(*(p.stop(signal.SIGTERM, server.DRAIN_DEADLINE) for p in users_of_them))
    stops = {services[process.name] for process in processes if process.name in services}
    await asyncio.gather(*(stop(ours) for stop in stops))
    for process in processes:
        process.kill()  # what a dead service's record still leads to
