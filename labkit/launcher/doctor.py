"""`make doctor`: what works, and how to fix what does not."""

import importlib
import os
import platform
import shutil
from collections.abc import Awaitable, Callable

from labkit.launcher import jupyter, lab, policies, server, supervisor, venv
from labkit.services import environment, handshake, ports, software
from labkit.services.errors import ServiceError
from labkit.services.permissions import USERS
from labkit.services.process import find

ENOUGH_DISK = 2_000_000_000
"""Bytes: packages 700 MB, and RabbitMQ stops accepting messages when little is left."""
STANDARD = {"amqp": 5672, "management": 15672, "postgresql": 5432, "jupyter": 8888, "rest": 8080}
CORRECT = "start it, or correct AMQP_URL, DATABASE_URL and MANAGEMENT_URL"
YOURS = "not needed: you use services of your own"


class Wrong(Exception):
    """A check failed: what was seen, and the fix."""

    def __init__(self, seen: str, fix: str) -> None:
        super().__init__(seen)
        self.fix = fix


async def doctor() -> int:
    """Print a line for each check; returns 1 if any failed."""
    results = [await _passes(name, look) for name, look in CHECKS.items()]
    return 0 if all(results) else 1


async def _passes(name: str, look: Callable[[], Awaitable[str]]) -> bool:
    try:
        seen, fix = await look(), ""
    except Wrong as wrong:
        seen, fix = str(wrong), wrong.fix
    except (OSError, ServiceError) as error:
        own_lab = os.environ.get(environment.OWN) == str(environment.LAB)
        theirs = not own_lab and any(name in os.environ for name in environment.ADDRESSES)
        seen, fix = str(error), CORRECT if theirs else "make up"
    print(f"{'[FAIL]' if fix else '[OK]':<6} {name:<12} {seen}")  # noqa: T201
    if fix:
        print(f"       {'':<12} → {fix}")  # noqa: T201
    return not fix


async def _python() -> str:
    return f"{platform.python_version()} ({platform.platform(terse=True)})"


async def _packages() -> str:
    if not venv.is_complete():
        raise Wrong(".venv is incomplete, or not what requirements.txt asks for", "make up")
    return "as in requirements.txt"


async def _rabbitmq() -> str:
    if environment.given_services(os.environ):
        return YOURS
    found = software.rabbitmq()
    return f"{found.version()} at {found.server}"


async def _postgresql() -> str:
    if environment.given_services(os.environ):
        return YOURS
    found = software.postgresql()
    return f"{found.version()} at {found.directory}"


async def _disk() -> str:
    free = shutil.disk_usage(environment.ROOT).free
    if free < ENOUGH_DISK:
        raise Wrong(f"{free / 1e9:.1f} GB free", "free some space: 2 GB are needed")
    return f"{free / 1e9:.1f} GB free"


async def _ports() -> str:
    """Ours are in use while the lab runs; taken standard ports are no fault, only worth knowing."""
    ours = lab.home()
    others = [p for name, p in STANDARD.items() if ours.port(name) != p and not ports.is_free(p)]
    if others:
        return f"{', '.join(map(str, others))} used by other programs: the lab takes others"
    return "the standard ones are free or ours"


def _addresses() -> dict[str, str]:
    values = environment.given_services(os.environ)
    values = values or environment.read_env(lab.home().env_file)
    if "AMQP_URL" not in values:
        raise Wrong("the lab is not running", "make up")
    return values | {"API_KEY": environment.api_key(lab.home())}


async def _broker() -> str:
    values = _addresses()
    for user in USERS:
        version = await handshake.amqp(values.get(user.url, values["AMQP_URL"]))
    return f"RabbitMQ {version} lets {', '.join(user.name for user in USERS)} in"


def _management_url() -> str:
    if (url := _addresses().get("MANAGEMENT_URL")) is None:
        raise Wrong("MANAGEMENT_URL is not set", "set it beside AMQP_URL")
    return url


async def _management() -> str:
    return f"answers to {await handshake.management(_management_url())}"


async def _policies() -> str:
    found = [policy async for policy in policies.harmful(_management_url())]
    if found:
        load = "" if environment.given_services(os.environ) else ". .lab/lab.env; "
        removals = "; ".join(load + policy.removal for policy in found)
        raise Wrong("; and ".join(map(str, found)), removals)
    return "none changes what the queues api.* promise"


async def _database() -> str:
    version = await handshake.postgresql(_addresses()["DATABASE_URL"])
    return f"PostgreSQL {version} lets us in"


async def _worker() -> str:
    from labkit.client.amqp import AsyncAPIClient  # its packages may be missing
    from server.contract.errors import ApiError

    values = _addresses()
    pid = _running(server.WORKER)
    try:
        async with AsyncAPIClient(values["AMQP_URL"], api_key=values["API_KEY"]) as client:
            await client.call("ping", {}, timeout=5)
    except ApiError as error:
        log = lab.home().log(server.WORKER)
        raise Wrong(f"it does not answer a ping: {error}", f"its log: {log}") from error
    return f"pid {pid} answers a ping{_crashes(server.WORKER)}"


async def _rest() -> str:
    pid, ours = _running(server.REST), lab.home()
    answer = await server.rest_answers(ours)
    return f"pid {pid} says {answer} at {server.rest_url(ours)}{_crashes(server.REST)}"


def _running(name: str) -> int:
    """Its pid."""
    _addresses()
    ours = lab.home()
    process = find(name, ours.run_dir)
    if process is None:
        log = ours.log(name)
        raise Wrong(f"its process does not run{_crashes(name)}", f"make up; its log: {log}")
    return process.pid


def _crashes(name: str) -> str:
    """How often it was restarted; empty if it was not."""
    ours = lab.home()
    crashes = str(supervisor.history(ours, name))
    return f"; {crashes}: see its log, {ours.log(name)}" if crashes else ""


async def _jupyter() -> str:
    ours = lab.home()
    if find(jupyter.NAME, ours.run_dir) is None:
        return "not started (make lab starts it)"
    return f"JupyterServer {await jupyter.answers(ours)} at {jupyter.url(ours)}"


async def _imports() -> str:
    try:
        for name in ("labkit.lab", "server.lifecycle", "ipykernel"):
            importlib.import_module(name)
    except ImportError as error:
        raise Wrong(f"a notebook cannot import labkit: {error}", "make up") from error
    return "labkit and server can be imported"


CHECKS: dict[str, Callable[[], Awaitable[str]]] = {
    "Python": _python,
    "packages": _packages,
    "RabbitMQ": _rabbitmq,
    "PostgreSQL": _postgresql,
    "disk": _disk,
    "ports": _ports,
    "broker": _broker,
    "management": _management,
    "policies": _policies,
    "database": _database,
    "server": _worker,
    "REST": _rest,
    "JupyterLab": _jupyter,
    "notebooks": _imports,
}
