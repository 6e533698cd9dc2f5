"""RabbitMQ's own command line tools, for a private broker of this machine.

They ask the node itself, over Erlang's distribution, for what no client can see or set. Each call
starts an Erlang, which takes about half a second.
"""

import subprocess
from collections.abc import Mapping
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
        try:
            done = subprocess.run(
                [self._folder / tool, "--quiet", "--node", self._node.erlang_name, *arguments],
                env=self._node.environment(),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=within,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolFailed(tool, f"the broker says nothing within {within:.0f} s.") from error
        if done.returncode:
            raise ToolFailed(tool, (done.stderr + done.stdout).strip())
        return done.stdout
