"""A private RabbitMQ node: its own data, ports, cookie and epmd, all on the loopback interface."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from labkit.services import erlang, handshake, ports, software, stopping, users
from labkit.services.errors import NotReady, PortTaken, ServiceError
from labkit.services.files import make_folder, write_atomically
from labkit.services.home import Home, Tls
from labkit.services.inherited import inherited
from labkit.services.plain_path import plain
from labkit.services.process import Process, find, start
from labkit.services.ready import adopted, until_ready

NAME, EPMD = stopping.RABBITMQ, stopping.EPMD
NODE = "lab@localhost"
PLUGIN = "rabbitmq_management"
AMQP_PORT, MANAGEMENT_PORT = 5672, 15672
START_DEADLINE = 90.0
"""Seconds. It takes 4 to 7 on two idle cores; a busy classroom server is another matter."""
TRIES = 4

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

ERLANG_FLAGS = (
    # The port that `rabbitmqctl` would use must not be seen from outside.
    "-kernel inet_dist_use_interface {127,0,0,1}",
    # Several private nodes on one machine: sleep instead of spinning, and bind to no core.
    "+sbwt none +sbwtdcpu none +sbwtdio none +stbt u",
    # How often a quorum queue tells its counts; by itself it would every five seconds.
    f"-rabbit quorum_tick_interval {round(QUORUM_TICK * 1000)}",
)


async def up(home: Home) -> dict[str, str]:
    """Start the node, or adopt the one that runs; returns its addresses, one for each user.

    Data survives: queues and virtual hosts are those of the last time. Raises `NotReady`
    with the log's tail, or `MissingSoftware`.
    """
    running = find(NAME, home.run_dir)
    if running is not None and await adopted(running, lambda: _wait(running, home)):
        return users.urls(home)
    installed = software.rabbitmq()
    for attempt in range(TRIES):
        remembered = attempt == 0
        await _start_epmd(home, installed, remembered=remembered)
        try:
            await _start(home, installed, remembered=remembered)
            return users.urls(home)
        except BaseException as error:
            # Half-booted it does not listen to SIGTERM, and it has nothing to save.
            await stopping.broker(home, graceful=False)
            if not isinstance(error, PortTaken):
                raise
    raise NotReady(
        "RabbitMQ found each port taken that it tried: see what listens with `ss -ltnp`."
    )


async def _start_epmd(home: Home, installed: software.RabbitMQ, *, remembered: bool) -> None:
    """The Erlang port mapper. A node starts one by itself, which is then never stopped."""
    if find(EPMD, home.run_dir) is not None:
        return
    port = await ports.assign(home, EPMD, None, remembered=remembered)
    epmd = start(
        EPMD,
        [installed.epmd, "-port", str(port), "-address", ports.LOOPBACK],
        run_dir=home.run_dir,
        log=home.log(EPMD),
        env=environment(home),
    )
    await until_ready(epmd, lambda: handshake.epmd(port), deadline=10)


async def _start(home: Home, installed: software.RabbitMQ, *, remembered: bool) -> None:
    folder = _folder(home)
    make_folder(home.path / NAME)
    _discard_half_made(folder)
    for name, standard in {"amqp": AMQP_PORT, "management": MANAGEMENT_PORT, "dist": None}.items():
        preferred = standard if home.durable else None
        await ports.assign(home, name, preferred, remembered=remembered)
    _write_configuration(home)
    applications = erlang.narrow(installed.server, [PLUGIN], folder)
    write_atomically(folder / "rabbitmq-env.conf", applications)
    process = start(
        NAME,
        [installed.server],
        run_dir=home.run_dir,
        log=home.log(NAME),
        env=environment(home),
        cwd=folder,
    )
    await _wait(process, home)
    (folder / "complete").touch(mode=0o600)


async def _wait(process: Process, home: Home) -> None:
    """Until it lets its first user in; then it gets the others."""
    address = users.urls(home)
    checks: list[Callable[[], Awaitable[str]]] = [
        lambda: handshake.amqp(address["ADMIN_AMQP_URL"]),
        lambda: handshake.management(address["MANAGEMENT_URL"]),
    ]
    for check in checks:
        try:
            await until_ready(process, check, deadline=START_DEADLINE)
        except handshake.Refused as refused:
            raise ServiceError(_refusal(home, refused)) from refused
    await users.make(home)


def _refusal(home: Home, refused: handshake.Refused) -> str:
    return (
        f"RabbitMQ refuses us: {refused}. Its data was made with another password than that in "
        f"{home.memory}.\n"
        f"To begin with an empty broker: make down, then rm -r '{home.path / NAME}'"
    )


def _discard_half_made(folder: Path) -> None:
    """A first start that was killed may leave a node without its user, for ever."""
    if not (folder / "complete").exists():
        shutil.rmtree(folder / "data", ignore_errors=True)


def _folder(home: Home) -> Path:
    """With its data, its configuration and its cookie."""
    return plain(home.path / NAME)


def _write_configuration(home: Home) -> None:
    folder = _folder(home)
    text = CONFIGURATION.format(
        listener=_listener(home.port("amqp"), home.tls),
        management=home.port("management"),
        user=users.BORN_WITH,
        password=users.password(home),
        count_every=COUNT_EVERY,
    )
    write_atomically(folder / "rabbitmq.conf", text)
    write_atomically(folder / "enabled_plugins", f"[{PLUGIN}].\n")


def _listener(port: int | None, tls: Tls | None) -> str:
    return (PLAIN if tls is None else ENCRYPTED).format(amqp=port, tls=tls)


def environment(home: Home) -> dict[str, str]:
    """Ours, and nothing that the user has set for another node."""
    folder = _folder(home)
    return inherited() | {
        "HOME": str(folder),  # holds the Erlang cookie
        "ERL_EPMD_PORT": str(home.port(EPMD)),
        "ERL_EPMD_ADDRESS": ports.LOOPBACK,
        "RABBITMQ_NODENAME": NODE,
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_DIST_PORT": str(home.port("dist")),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(ERLANG_FLAGS),
        # Makes the start script replace itself by the node, so that its pid is the node's.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
