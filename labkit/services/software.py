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
INSTALL = {  # Debian's package, and Homebrew's
    "pip": ("python3-venv", "python@3.13"),
    "RabbitMQ": ("rabbitmq-server", "rabbitmq"),
    "PostgreSQL": ("postgresql", "postgresql@17"),
}
DOCKER = "Or, with Docker and nothing else: docker compose up -d --build --wait"


@dataclass(frozen=True)
class RabbitMQ:
    server: Path
    epmd: Path

    def version(self) -> str:
        """From the name of the folder it lives in: asking the broker itself takes a second."""
        match = re.search(r"(\d+\.\d+\.\d+)", str(self.server.resolve()))
        return match.group(1) if match else "of unknown version"


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


def rabbitmq() -> RabbitMQ:
    """Raises `MissingSoftware`, which says what to install."""
    server = _newest(RABBITMQ_SERVER) or _on_path("rabbitmq-server", unless="/usr/sbin")
    epmd = _newest(EPMD) or _on_path("epmd")
    if server is None or epmd is None:
        raise MissingSoftware(advice(["RabbitMQ"]))
    return RabbitMQ(server, epmd)


def postgresql() -> PostgreSQL:
    """Raises `MissingSoftware`, which says what to install."""
    server = _newest(POSTGRES) or _on_path("postgres")
    if server is None or not server.with_name("initdb").exists():
        raise MissingSoftware(advice(["PostgreSQL"]))
    return PostgreSQL(server.parent)


def missing() -> list[str]:
    """Which of the two is not here."""
    names = []
    for name, need in {"RabbitMQ": rabbitmq, "PostgreSQL": postgresql}.items():
        try:
            need()
        except MissingSoftware:
            names.append(name)
    return names


def advice(names: Sequence[str]) -> str:
    """What to install, one line for each name."""
    lines = [
        f"{name + ':':<11} Debian, Ubuntu and Windows (WSL): sudo apt install {INSTALL[name][0]}"
        f" · macOS: brew install {INSTALL[name][1]}"
        for name in names
    ]
    return "\n".join([f"Not installed: {' and '.join(names)}.", *lines, DOCKER])


def _newest(patterns: Sequence[str]) -> Path | None:
    """Of the first pattern that matches anything, the match with the highest version."""
    for pattern in patterns:
        if matches := glob.glob(pattern):
            return Path(max(matches, key=lambda path: [int(n) for n in re.findall(r"\d+", path)]))
    return None


def _on_path(name: str, unless: str | None = None) -> Path | None:
    found = shutil.which(name)
    if found is None or (unless and found.startswith(unless)):
        return None
    return Path(found).resolve()
