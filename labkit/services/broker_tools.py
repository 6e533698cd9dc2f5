"""RabbitMQ's own command line tools, for a private broker of this machine.

They ask the node itself, over Erlang's distribution, for what no client can see or set. Each call
starts an Erlang with Elixir, which takes a second of processor time, and many where other programs
are at work. Erlang's `erl_call` is a small program that takes some milliseconds.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from server.contract import brokers

from labkit.services import software
from labkit.services.environment import BROKER_HOME
from labkit.services.errors import ServiceError
from labkit.services.home import Home
from labkit.services.node import Node

TIMEOUT = 60.0
"""Seconds. Much longer than anything that is asked here should take."""


class ToolFailed(ServiceError):
    """The tool ended with an error; `output` is what it said, on both of its outputs."""

    def __init__(self, tool: str, output: str) -> None:
        super().__init__(f"{tool} failed: {output[:500]}")
        self.output = output


class BrokerTools:
    """Those for one private node, whose folder and cookie are this user's own."""

    def __init__(self, node: Node, installed: software.RabbitMQ) -> None:
        self._node = node
        self._folder = installed.server.parent
        self._erl_call = installed.epmd.with_name("erl_call")

    @classmethod
    def at(cls, node: Node) -> Self:
        """Raises `MissingSoftware`."""
        return cls(node, software.rabbitmq())

    @classmethod
    def of(cls, environment: Mapping[str, str], amqp_url: str) -> Self | None:
        """None if the broker at `amqp_url` is not a private one of this machine: it runs in Docker,
        or is a broker of the user's own.
        """
        folder = environment.get(BROKER_HOME)
        if not folder or "RabbitMQ" in software.missing():
            return None
        node = Node(Home(Path(folder)))
        # A shell may still have the variables of another lab.
        return cls.at(node) if urlsplit(brokers.first(amqp_url)).port == node.port("amqp") else None

    def run(self, tool: str, *arguments: str, within: float = TIMEOUT) -> str:
        """What `rabbitmqctl`, or another `tool`, prints `within` seconds. Raises `ToolFailed`."""
        named = ["--quiet", "--node", self._node.erlang_name]
        return self._run(self._folder / tool, [*named, *arguments], "", within)

    def evaluate(self, expression: str, *, within: float = TIMEOUT) -> str:
        """The value of an Erlang expression in the node, as `erl_call` prints it: for what no tool
        of RabbitMQ's does. Raises `ToolFailed`.
        """
        # The cookie is in its home, and on no command line.
        options = ["-R", "-sname", self._node.erlang_name, "-e"]
        said = self._run(self._erl_call, options, f"{expression}.\n", within)
        if not said.startswith("{ok, "):
            raise ToolFailed(self._erl_call.name, said)
        return said.removeprefix("{ok, ").removesuffix("}")

    def _run(self, program: Path, arguments: Sequence[str], given: str, within: float) -> str:
        try:
            done = subprocess.run(
                [program, *arguments],
                env=self._node.environment(),
                input=given,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=within,
                check=False,
            )
        except OSError as error:
            raise ToolFailed(program.name, str(error)) from error
        except subprocess.TimeoutExpired as error:
            said = f"the broker says nothing within {within:.0f} s."
            raise ToolFailed(program.name, said) from error
        if done.returncode:
            raise ToolFailed(program.name, (done.stderr + done.stdout).strip())
        return done.stdout
