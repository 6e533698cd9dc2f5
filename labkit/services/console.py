"""What a private broker knows, and no protocol tells: its own language, Erlang, spoken to it.

`erl_call` is a part of every Erlang. It needs some milliseconds, where `rabbitmqctl` starts an
Erlang of its own first.
"""

import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from labkit.services import binaries, rabbitmq
from labkit.services.environment import BROKER_HOME
from labkit.services.errors import ServiceError
from labkit.services.layout import Home

TIMEOUT = 60.0
"""Seconds. Much longer than anything that is asked here should take."""
DONE = "{ok, ok}"


class ConsoleError(ServiceError):
    """The broker did not understand, or could not do it."""


class Console:
    """Of one private node, whose folder and cookie are this user's own."""

    def __init__(self, home: Home, program: Path) -> None:
        self._environment = rabbitmq.environment(home)
        self._program = program

    @classmethod
    def at(cls, home: Home) -> Self:
        """Raises `MissingSoftware`."""
        return cls(home, _program(binaries.need_rabbitmq()))

    @classmethod
    def of(cls, environment: Mapping[str, str], amqp_url: str) -> Self | None:
        """None if the broker at `amqp_url` is not a private one of this machine: it runs in Docker,
        or is somebody's own.
        """
        folder, software = environment.get(BROKER_HOME), binaries.rabbitmq()
        if not folder or software is None:
            return None
        home, program = Home(Path(folder)), _program(software)
        # A shell may still have the variables of another lab.
        ours = urlsplit(amqp_url).port == home.port("amqp")
        return cls(home, program) if ours and program.exists() else None

    def run(self, program: str) -> str:
        """What these Erlang expressions print. Values have to be put in with `binary`.

        Raises `ConsoleError`.
        """
        # Two at once need two names. They stay in the broker's memory: no more of them than needed.
        me = f"console-{threading.get_native_id()}"
        try:
            done = subprocess.run(
                [self._program, "-h", me, "-sname", rabbitmq.NODE, "-fetch_stdout", "-e"],
                input=f"{program}, ok.\n",
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ConsoleError(f"The broker says nothing within {TIMEOUT:.0f} s.") from error
        printed, found, _ = done.stdout.rpartition(DONE)
        if done.returncode or not found:
            raise ConsoleError(f"The broker says: {(done.stderr + done.stdout).strip()[:500]}")
        return printed


def _program(software: binaries.RabbitMQ) -> Path:
    return software.epmd.with_name("erl_call")


def binary(text: str) -> str:
    """The text as Erlang reads it; whatever is in it, it is never a part of the program."""
    return f"<<{','.join(map(str, text.encode()))}>>"
