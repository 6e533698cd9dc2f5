"""One RabbitMQ node of a home: what it is called, where it listens, and how it is set.

A lab has one. The three of a cluster share users, cookie and epmd, and each has data of its own.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from labkit.services import ports, stopping
from labkit.services.files import make_folder, write_atomically
from labkit.services.home import Home, Tls
from labkit.services.inherited import inherited
from labkit.services.plain_path import plain

OURS = re.compile(r"lab(?:-(\d+))?@localhost")
PLUGIN = "rabbitmq_management"
STANDARD_PORTS = {"amqp": 5672, "management": 15672, "dist": None}

CONFIGURATION = """\
{listener}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
default_user = {user}
default_pass = {password}
default_user_tags.administrator = true
log.file = false
log.console = true
log.console.level = info
management.sample_retention_policies.global.minute = 5
management.sample_retention_policies.global.hour = 60
management.sample_retention_policies.global.day = 1200
management.sample_retention_policies.basic.minute = {count_every}
management.sample_retention_policies.basic.hour = 60
management.sample_retention_policies.detailed.minute = {count_every}
raft.wal_max_size_bytes = 64000000
"""
PLAIN = "listeners.tcp.1 = 127.0.0.1:{amqp}"
ENCRYPTED = """\
listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:{amqp}
ssl_options.cacertfile = {tls.authority}
ssl_options.certfile = {tls.certificate}
ssl_options.keyfile = {tls.key}
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false"""
"""Clients check who the broker is; it knows them by their passwords."""

CLUSTERED = """\
cluster_formation.peer_discovery_backend = classic_config
cluster_partition_handling = pause_minority
"""
"""A node that sees less than half of its cluster stops serving, and goes on when it sees more: of
the two sides of a cut at most one changes anything."""

COUNT_EVERY = 1
"""Seconds between two times at which the broker counts what went through each queue: by itself it
does every five, and one is the least that can be set. The three policies go together; those of a
broker that is left as it is keep other times than ``minute``.
"""

QUORUM_TICK = 0.5
"""Seconds; by default 5. A look at a queue has to show what is in it now. But 3.10 breaks the
quorum queues of a node if the first tick of a new one comes before its first entry is committed
(`rabbit_quorum_queue:handle_tick` then meets the state of `rabbit_fifo_v0`), and on a busy machine
that took more than 0.1. Ticks also cost: at 0.1 the idle queues of 240 labs kept a core busy."""

SILENCE = 5
"""Seconds after which the nodes of a cluster give up one that says nothing; by default 60."""

ERLANG_FLAGS = (
    # The port that `rabbitmqctl` would use must not be seen from outside.
    "-kernel inet_dist_use_interface {127,0,0,1}",
    f"-kernel net_ticktime {SILENCE}",
    # They may go on trying to reach it, and each try may wait so long for its answer.
    "-kernel net_setuptime 1",
    # Several private nodes on one machine: sleep instead of spinning, and bind to no core.
    "+sbwt none +sbwtdcpu none +sbwtdio none +stbt u",
    # How often a quorum queue reports its counts; by itself it would every five seconds.
    f"-rabbit quorum_tick_interval {round(QUORUM_TICK * 1000)}",
)


@dataclass(frozen=True)
class Node:
    """The one with this ``number``, from 1."""

    home: Home
    number: int = 1

    @classmethod
    def all_of(cls, home: Home) -> list["Node"]:
        return [cls(home, number) for number in range(1, home.brokers + 1)]

    @property
    def name(self) -> str:
        """What its process, its log and its folder are called."""
        return _numbered(stopping.RABBITMQ, self.number)

    @property
    def erlang_name(self) -> str:
        """What the others, and the command line tools, call it."""
        return f"{_numbered('lab', self.number)}@localhost"

    @property
    def broker_name(self) -> str:
        """What a lab calls it."""
        return f"broker-{self.number}"

    @property
    def folder(self) -> Path:
        """With its data and its configuration."""
        return plain(self.home.path / self.name)

    @property
    def complete(self) -> bool:
        """Whether it was ever up, with this data."""
        return self._mark.exists()

    def note_complete(self) -> None:
        self._mark.touch(mode=0o600)

    @property
    def _mark(self) -> Path:
        return self.folder / "complete"

    def discard_data(self) -> None:
        """Its disk is empty; it must not run."""
        self._mark.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def make_folder(self) -> None:
        make_folder(self.home.path / self.name)

    def port(self, name: str) -> int | None:
        """That of ``amqp``, ``management`` or ``dist``."""
        return self.home.port(_numbered(name, self.number))

    async def assign_ports(self, *, remembered: bool) -> None:
        for name, standard in STANDARD_PORTS.items():
            preferred = standard if self.home.durable and self.number == 1 else None
            own_name = _numbered(name, self.number)
            await ports.assign(self.home, own_name, preferred, remembered=remembered)

    def write_configuration(self, user: str, password: str) -> None:
        """The first start makes this user. Its ports have to be assigned."""
        text = CONFIGURATION.format(
            listener=_listener(self.port("amqp"), self.home.tls),
            management=self.port("management"),
            user=user,
            password=password,
            count_every=COUNT_EVERY,
        )
        write_atomically(self.folder / "rabbitmq.conf", text + self._clustered())
        write_atomically(self.folder / "enabled_plugins", f"[{PLUGIN}].\n")

    def _clustered(self) -> str:
        """A node without data joins one of those in its list, which are up."""
        if self.home.brokers == 1:
            return ""
        names = [
            f"cluster_formation.classic_config.nodes.{node.number} = {node.erlang_name}\n"
            for node in Node.all_of(self.home)
            if node == self or node.complete
        ]
        return CLUSTERED + "".join(names)

    def environment(self) -> dict[str, str]:
        """Ours, and nothing that the user has set for another node."""
        folder = self.folder
        return inherited() | {
            "HOME": str(Node(self.home).folder),  # holds the Erlang cookie, which all share
            "ERL_EPMD_PORT": str(self.home.port(stopping.EPMD)),
            "ERL_EPMD_ADDRESS": ports.LOOPBACK,
            "RABBITMQ_NODENAME": self.erlang_name,
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_DIST_PORT": str(self.port("dist")),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(ERLANG_FLAGS),
            # Makes the start script replace itself by the node, so that its pid is the node's.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def broker_name(erlang_name: str) -> str:
    """``broker-2`` for the second node of a lab; for another's, as it is."""
    if ours := OURS.fullmatch(erlang_name):
        return f"broker-{ours[1] or 1}"
    return erlang_name


def _numbered(name: str, number: int) -> str:
    """The first, mostly the only one, has no number."""
    return name if number == 1 else f"{name}-{number}"


def _listener(port: int | None, tls: Tls | None) -> str:
    return (PLAIN if tls is None else ENCRYPTED).format(amqp=port, tls=tls)
