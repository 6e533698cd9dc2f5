"""`make doctor`: what works, and how to fix what does not."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from labkit.broker.permissions import USERS
from labkit.services import (
    binaries,
    environment,
    handshake,
    jupyter,
    lab,
    policies,
    ports,
    rest,
    supervisor,
    venv,
    worker,
)
from labkit.services.errors import ServiceError
from labkit.services.process import find

ENOUGH_DISK = 2_000_000_000
"""Bytes: packages 700 MB, and RabbitMQ stops accepting messages when little is left."""
SLOW = 60


class Wrong(Exception):
    """A check failed: what was seen, and the fix."""

    def __init__(self, seen: str, fix: str) -> None:
        super().__init__(seen)
        self.fix = fix


@dataclass(frozen=True)
class Check:
    name: str
    look: Callable[[], str]


def doctor() -> int:
    """Print a line for each check; returns 1 if any failed."""
    verdicts = [_verdict(check) for check in CHECKS]
    return 0 if all(verdicts) else 1


def _verdict(check: Check) -> bool:
    try:
        seen, fix = check.look(), ""
    except Wrong as wrong:
        seen, fix = str(wrong), wrong.fix
    except (OSError, ServiceError) as error:
        seen, fix = str(error), "make up"
    mark = "[FAIL]" if fix else "[OK]"
    print(f"{mark:<6} {check.name:<12} {seen}")  # noqa: T201 - the command's output
    if fix:
        print(f"       {'':<12} → {fix}")  # noqa: T201
    return not fix


def _python() -> str:
    return f"{platform.python_version()} ({platform.platform(terse=True)})"


def _packages() -> str:
    if not venv.complete():
        raise Wrong(".venv is missing, incomplete or not what requirements.txt asks for", "make up")
    return "as in requirements.txt"


def _rabbitmq() -> str:
    if (found := binaries.rabbitmq()) is None:
        raise Wrong("not installed", binaries.INSTALL["RabbitMQ"])
    return f"{binaries.rabbitmq_version(found)} at {found.server}"


def _postgresql() -> str:
    if (found := binaries.postgresql()) is None:
        raise Wrong("not installed", binaries.INSTALL["PostgreSQL"])
    return f"{found.version()} at {found.directory}"


def _disk() -> str:
    free = shutil.disk_usage(environment.ROOT).free
    if free < ENOUGH_DISK:
        raise Wrong(f"{free / 1e9:.1f} GB free", "free some space: 2 GB are needed")
    return f"{free / 1e9:.1f} GB free"


def _ports() -> str:
    """Ours are in use while the lab runs; taken standard ports are no fault, only worth knowing."""
    standard = {
        5672: "amqp",
        15672: "management",
        5432: "postgresql",
        8888: "jupyter",
        8080: "rest",
    }
    place = lab.home()
    others = [p for p, name in standard.items() if place.port(name) != p and not ports.is_free(p)]
    if others:
        return f"{', '.join(map(str, others))} used by other programs: the lab takes others"
    return "the standard ones are free or ours"


def _lab() -> dict[str, str]:
    values = environment.given_services(os.environ)
    values = values or environment.read_env(lab.home().env_file)
    if "AMQP_URL" not in values:
        raise Wrong("the lab is not running", "make up")
    return values


def _broker() -> str:
    values = _lab()
    for user in USERS:
        version = handshake.amqp(values.get(user.url, values["AMQP_URL"]))
    return f"RabbitMQ {version} lets {', '.join(user.name for user in USERS)} in"


def _management_url() -> str:
    values = _lab()
    if "MANAGEMENT_URL" not in values:
        raise Wrong("MANAGEMENT_URL is not set", "set it beside AMQP_URL")
    return values["MANAGEMENT_URL"]


def _management() -> str:
    return f"answers to {handshake.management(_management_url())}"


def _policies() -> str:
    found = list(policies.harmful(_management_url()))
    if found:
        load = "" if environment.given_services(os.environ) else ". .lab/lab.env; "
        raise Wrong(
            "; and ".join(map(str, found)), "; ".join([load + policy.removal for policy in found])
        )
    return "none changes what the queues api.* promise"


def _database() -> str:
    return f"PostgreSQL {handshake.postgresql(_lab()['DATABASE_URL'])} lets us in"


def _server() -> str:
    values = _lab()
    process = find(worker.NAME, lab.home().run_dir)
    if process is None:
        raise _dead(worker.NAME)
    _in_venv(PING, values, "it does not answer a ping", f"its log: {process.log}")
    return f"pid {process.pid} answers a ping{_crashes(worker.NAME)}"


def _crashes(name: str) -> str:
    """How often it was restarted; empty if it was not."""
    place = lab.home()
    crashes = str(supervisor.history(place, name))
    return f"; {crashes}: see its log, {place.log(name)}" if crashes else ""


def _dead(name: str) -> Wrong:
    place = lab.home()
    return Wrong(
        f"its process does not run{_crashes(name)}", f"make up; its log: {place.log(name)}"
    )


def _rest() -> str:
    _lab()
    place = lab.home()
    process = find(rest.NAME, place.run_dir)
    if process is None:
        raise _dead(rest.NAME)
    crashes = _crashes(rest.NAME)
    return f"pid {process.pid} says {rest.answers(place)} at {rest.url(place)}{crashes}"


def _jupyter() -> str:
    place = lab.home()
    if find(jupyter.NAME, place.run_dir) is None:
        return "not started (make lab starts it)"
    return f"JupyterServer {jupyter.answers(place)} at {jupyter.url(place)}"


def _imports() -> str:
    _in_venv("import labkit, server, ipykernel", {}, "a notebook cannot import labkit", "make up")
    return "labkit and server can be imported"


PING = """
import asyncio, os
from labkit.client.amqp import AsyncAPIClient
async def main():
    async with AsyncAPIClient(os.environ["AMQP_URL"], api_key=os.environ["API_KEY"]) as client:
        await client.call("ping", {}, timeout=5)
asyncio.run(main())
"""


def _in_venv(code: str, values: dict[str, str], seen: str, fix: str) -> None:
    if not venv.PYTHON.exists():
        raise Wrong("there is no .venv", "make up")
    done = subprocess.run(
        [venv.PYTHON, "-c", code],
        env=venv.environment() | values,
        capture_output=True,
        text=True,
        timeout=SLOW,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Wrong(f"{seen}: {reason}", fix)


CHECKS = [
    Check("Python", _python),
    Check("packages", _packages),
    Check("RabbitMQ", _rabbitmq),
    Check("PostgreSQL", _postgresql),
    Check("disk", _disk),
    Check("ports", _ports),
    Check("broker", _broker),
    Check("management", _management),
    Check("policies", _policies),
    Check("database", _database),
    Check("server", _server),
    Check("REST", _rest),
    Check("JupyterLab", _jupyter),
    Check("notebooks", _imports),
]
