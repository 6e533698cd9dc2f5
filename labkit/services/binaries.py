"""Where RabbitMQ and PostgreSQL are installed on this system."""

import glob
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.services.errors import MissingSoftware

RABBITMQ_SERVER = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",  # Debian, Ubuntu; the one in sbin wants to be root
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
    "/opt/rabbitmq/sbin/rabbitmq-server",  # the official image
)
EPMD = (
    "/usr/lib/erlang/erts-*/bin/epmd",
    "/opt/homebrew/opt/erlang/lib/erlang/erts-*/bin/epmd",
    "/usr/local/opt/erlang/lib/erlang/erts-*/bin/epmd",
    "/opt/erlang/lib/erlang/erts-*/bin/epmd",
)
POSTGRES = (
    "/usr/lib/postgresql/*/bin/postgres",
    "/usr/pgsql-*/bin/postgres",  # Fedora, Red Hat
    "/opt/homebrew/opt/postgresql@*/bin/postgres",
    "/usr/local/opt/postgresql@*/bin/postgres",
)

INSTALL = {
    "pip": (
        "pip:        Debian, Ubuntu and Windows (WSL): sudo apt install python3-venv"
        " · macOS: brew install python@3.13"
    ),
    "RabbitMQ": (
        "RabbitMQ:   Debian, Ubuntu and Windows (WSL): sudo apt install rabbitmq-server"
        " · macOS: brew install rabbitmq"
    ),
    "PostgreSQL": (
        "PostgreSQL: Debian, Ubuntu and Windows (WSL): sudo apt install postgresql"
        " · macOS: brew install postgresql@17"
    ),
}
DOCKER = "Or, with Docker and nothing else: docker compose up -d --build --wait"


@dataclass(frozen=True)
class RabbitMQ:
    server: Path
    epmd: Path


@dataclass(frozen=True)
class PostgreSQL:
    """`directory` holds postgres, initdb and createdb, all of one version."""

    directory: Path

    def program(self, name: str) -> Path:
        return self.directory / name

    def version(self) -> str:
        """Such as 15.18."""
        command = [str(self.program("postgres")), "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        match = re.search(r"\d+(\.\d+)+", done.stdout)
        return match.group() if match else "of unknown version"


def rabbitmq() -> RabbitMQ | None:
    server = _newest(RABBITMQ_SERVER) or _on_path("rabbitmq-server", unless="/usr/sbin")
    epmd = _newest(EPMD) or _on_path("epmd")
    return RabbitMQ(server, epmd) if server and epmd else None


def rabbitmq_version(installed: RabbitMQ) -> str:
    """From the name of the folder it lives in: asking the broker itself takes a second."""
    match = re.search(r"(\d+\.\d+\.\d+)", str(installed.server.resolve()))
    return match.group(1) if match else "of unknown version"


def postgresql() -> PostgreSQL | None:
    server = _newest(POSTGRES) or _on_path("postgres")
    complete = server is not None and server.with_name("initdb").exists()
    return PostgreSQL(server.parent) if server and complete else None


def missing() -> list[str]:
    """Which of the two is not here."""
    found = {"RabbitMQ": rabbitmq(), "PostgreSQL": postgresql()}
    return [name for name, where in found.items() if where is None]


def need_rabbitmq() -> RabbitMQ:
    """Raises `MissingSoftware`, which says what to install."""
    if found := rabbitmq():
        return found
    raise MissingSoftware(advice(["RabbitMQ"]))


def need_postgresql() -> PostgreSQL:
    """Raises `MissingSoftware`, which says what to install."""
    if found := postgresql():
        return found
    raise MissingSoftware(advice(["PostgreSQL"]))


def advice(names: Sequence[str]) -> str:
    """What to install, one line for each name."""
    lines = [INSTALL[name] for name in names]
    return "\n".join([f"Not installed: {' and '.join(names)}.", *lines, DOCKER])


def _newest(patterns: Sequence[str]) -> Path | None:
    """Of the first pattern that matches anything, the match with the highest version."""
    for pattern in patterns:
        if matches := glob.glob(pattern):
            return Path(max(matches, key=_version_key))
    return None


def _version_key(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path)]


def _on_path(name: str, unless: str | None = None) -> Path | None:
    found = shutil.which(name)
    if found is None or (unless and found.startswith(unless)):
        return None
    return Path(found).resolve()
