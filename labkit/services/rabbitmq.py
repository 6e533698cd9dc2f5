"""A private RabbitMQ: one node, or a cluster of several, all on the loopback interface."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from server.contract import brokers

from labkit.services import erlang, handshake, ports, software, stopping, users
from labkit.services.broker_tools import BrokerTools, ToolFailed
from labkit.services.errors import MissingSoftware, PortTaken, ServiceError
from labkit.services.files import write_atomically
from labkit.services.home import Home
from labkit.services.node import PLUGIN, Node
from labkit.services.process import Process, find, start
from labkit.services.ready import adopted, until_ready
from labkit.services.running import side_by_side

NAME, EPMD = stopping.RABBITMQ, stopping.EPMD
START_DEADLINE = 90.0
"""Seconds. It takes 4 to 7 on two idle cores; a busy classroom server is another matter."""
TRIES = 4
END_STATISTICS = "gen_event:delete_handler(rabbit_event, rabbit_mgmt_db_handler, stop)"
END_TIMEOUT = 4.0
"""Seconds: a node that is frozen does not answer."""


async def up(home: Home) -> dict[str, str]:
    """Start the broker, or adopt what runs; returns its addresses, one for each user.

    The nodes of a cluster start side by side; when it is new, the first one before the others, for
    one that joins it half-booted meets tables that are not finished, and ends. Data survives:
    queues and virtual hosts are those of the last time. Raises `NotReady` with the log's tail, or
    `MissingSoftware`.
    """
    _share_cookie(home)
    nodes = Node.all_of(home)
    if not any(node.complete for node in nodes):
        await node_up(nodes.pop(0))
    async with side_by_side() as group:
        for node in nodes:
            group.create_task(node_up(node))
    await users.make(home)
    return users.urls(home)


async def node_up(node: Node) -> None:
    """Start this one, or adopt it; of a cluster, the others let it in again. Raises as ``up``."""
    home = node.home
    node.make_folder()
    running = find(node.name, home.run_dir)
    if running is not None and await adopted(running, lambda: _wait(running, node)):
        return
    installed = software.rabbitmq()
    for attempt in range(TRIES):
        remembered = attempt == 0
        await _start_epmd(node, installed, remembered=remembered)
        try:
            await _start(node, installed, remembered=remembered)
        except BaseException as error:
            # Half-booted it does not listen to SIGTERM, and it has nothing to save.
            await stopping.node(home, node.name, graceful=False)
            if not isinstance(error, PortTaken):
                raise
        else:
            return
    raise ports.all_taken("RabbitMQ")


async def down(home: Home) -> None:
    """Stop its nodes, and then the port mapper. Harmless if none runs."""
    await asyncio.gather(*map(stop, Node.all_of(home)))
    await stopping.broker(home)


async def stop(node: Node) -> None:
    """It ends what it does; harmless if it does not run.

    Its statistics first: as they end they change a setting, which nothing answers while RabbitMQ
    itself is ending, and after five seconds they give up.
    """
    if find(node.name, node.home.run_dir) is None:
        return
    await _end_statistics(node)
    await stopping.node(node.home, node.name)


async def _end_statistics(node: Node) -> None:
    with suppress(ToolFailed, MissingSoftware):
        tools = BrokerTools.at(node)
        await asyncio.to_thread(tools.evaluate, END_STATISTICS, within=END_TIMEOUT)


def _share_cookie(home: Home) -> None:
    """Made before the nodes are: of several that start at once each would make its own."""
    first = Node(home)
    first.make_folder()
    cookie = first.folder / ".erlang.cookie"
    if not cookie.exists():
        write_atomically(cookie, secrets.token_hex(16), mode=0o400)


async def _start_epmd(node: Node, installed: software.RabbitMQ, *, remembered: bool) -> None:
    """The Erlang port mapper. A node starts one by itself, which is then never stopped."""
    home = node.home
    if find(EPMD, home.run_dir) is not None:
        return
    port = await ports.assign(home, EPMD, None, remembered=remembered)
    epmd = start(
        EPMD,
        [installed.epmd, "-port", str(port), "-address", ports.LOOPBACK],
        run_dir=home.run_dir,
        log=home.log(EPMD),
        env=node.environment(),
    )
    await until_ready(epmd, lambda: handshake.epmd(port), deadline=10)


async def _start(node: Node, installed: software.RabbitMQ, *, remembered: bool) -> None:
    if not node.complete:  # a first start that was killed may leave it without its user, for ever
        node.discard_data()
    await node.assign_ports(remembered=remembered)
    node.write_configuration(users.BORN_WITH, users.password(node.home))
    applications = erlang.narrow(installed.server, [PLUGIN], node.folder)
    write_atomically(node.folder / "rabbitmq-env.conf", applications)
    process = start(
        node.name,
        [installed.server],
        run_dir=node.home.run_dir,
        log=node.home.log(node.name),
        env=node.environment(),
        cwd=node.folder,
    )
    await _wait(process, node)
    node.note_complete()


async def _wait(process: Process, node: Node) -> None:
    """Until it lets its first user in, over AMQP and over HTTP."""
    address = users.urls(node.home)
    amqp = brokers.each(address["ADMIN_AMQP_URL"])[node.number - 1]
    management = brokers.each(address["MANAGEMENT_URL"])[node.number - 1]
    checks: list[Callable[[], Awaitable[str]]] = [
        lambda: handshake.amqp(amqp),
        lambda: handshake.management(management),
    ]
    for check in checks:
        try:
            await until_ready(process, check, deadline=START_DEADLINE)
        except handshake.Refused as refused:
            raise ServiceError(_refusal(node, refused)) from refused


def _refusal(node: Node, refused: handshake.Refused) -> str:
    return (
        f"RabbitMQ rejected the lab's login ({refused}): its data was created with a different "
        f"password from the one in {node.home.memory}.\n"
        f"To begin with an empty broker: make down, then rm -r '{node.home.path / node.name}'"
    )
