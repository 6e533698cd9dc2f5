"""What only a cluster suffers from: a cut between its nodes, a lost disk, a rolling update.

Nodes are called ``broker-1`` and so on, as in ``failures``.
"""

import asyncio
import dataclasses
import time
from collections.abc import Iterable

import httpx

from labkit.services import failures, rabbitmq, users
from labkit.services.broker_tools import BrokerTools
from labkit.services.errors import NotReady
from labkit.services.home import Home
from labkit.services.http_client import http_client
from labkit.services.node import Node
from labkit.services.process import find

BAR = "erlang:set_cookie(N, node())"
LET_IN = "erlang:set_cookie(N, erlang:get_cookie())"
DISCONNECT = "erlang:disconnect_node(N)"
LOOK = 0.2
"""Seconds between two looks at that."""
CHECK_TIMEOUT = 20.0
"""Seconds for each of them; a node that has just started may be slow to answer."""
CAUGHT_UP_WITHIN = 60.0
"""Seconds in which the queues of a node that was started have all that they missed."""


async def partition(home: Home, side: Iterable[str]) -> None:
    """The nodes of this side and the others neither see nor reach each other.

    Each gets a wrong cookie for those beyond the cut, and another one than they have for it, so no
    new connection is let in, as if by a firewall. Then the smaller side, of three nodes one, ends
    those that there are, all in a moment: nodes of which a third one still sees both take that for
    a partial partition, and all pause.
    """
    here, there = _sides(home, side)
    await _across(home, side, BAR)
    few, many = sorted((here, there), key=len)
    await asyncio.gather(*(_order(node, many, DISCONNECT) for node in _running(home, few)))


async def heal_partition(home: Home, side: Iterable[str]) -> None:
    """Returns when all that run serve again: a minority has paused, and starts by itself."""
    await _across(home, side, LET_IN)
    await asyncio.gather(*(rabbitmq.node_up(node) for node in _running(home)))


async def lose_disk(home: Home, name: str) -> None:
    """Killed, and its data is gone."""
    await failures.kill(home, name)
    await asyncio.to_thread(failures.node(home, name).discard_data)


async def replace(home: Home, name: str) -> None:
    """As operators replace a lost node: the others forget it, it starts empty under its old name,
    joins them, and gets a member of each quorum queue. Returns when it has.
    """
    lost = failures.node(home, name)
    other = next(node for node in _running(home) if node.number != lost.number)
    await _run(other, "rabbitmq-queues", "shrink", lost.erlang_name)
    await _run(other, "rabbitmqctl", "forget_cluster_node", lost.erlang_name)
    await failures.start(home, name)
    await _run(other, "rabbitmq-queues", "grow", lost.erlang_name, "all")


async def until_dispensable(node: Node) -> None:
    """Returns as soon as no queue needs it for its majority: so it may be stopped.

    Raises ``NotReady`` if others cannot do without it after ``CAUGHT_UP_WITHIN`` seconds.
    """
    end = time.monotonic() + CAUGHT_UP_WITHIN
    while reason := await _indispensable(node):
        if time.monotonic() > end:
            raise NotReady(f"{node.erlang_name} cannot be stopped: {reason}")
        await asyncio.sleep(LOOK)


async def _indispensable(node: Node) -> str:
    """Why RabbitMQ's health check for rolling upgrades says that it must not be stopped; empty if
    it may.
    """
    url = f"{users.management_url(node)}/api/health/checks/node-is-quorum-critical"
    try:
        async with http_client(url, timeout=CHECK_TIMEOUT) as http:
            response = await http.get(url)
    except httpx.TransportError as error:
        return f"it does not answer ({error or type(error).__name__})"
    return "" if response.is_success else response.text


async def _across(home: Home, side: Iterable[str], action: str) -> None:
    """Both sides do it to each node of the other."""
    here, there = _sides(home, side)
    orders = [_order(node, there, action) for node in _running(home, here)]
    orders += [_order(node, here, action) for node in _running(home, there)]
    await asyncio.gather(*orders)


def _sides(home: Home, side: Iterable[str]) -> tuple[list[Node], list[Node]]:
    names, nodes = set(side), Node.all_of(home)
    here = [node for node in nodes if node.broker_name in names]
    return here, [node for node in nodes if node.broker_name not in names]


async def _order(node: Node, beyond: Iterable[Node], action: str) -> None:
    names = ", ".join(f"'{other.erlang_name}'" for other in beyond)
    order = f"[begin {action} end || N <- [{names}]]"
    await asyncio.to_thread(BrokerTools.at(node).evaluate, order)


def _running(home: Home, nodes: Iterable[Node] | None = None) -> list[Node]:
    """Of these, or of all."""
    settled = dataclasses.replace(home, settled=True)
    wanted = Node.all_of(settled) if nodes is None else nodes
    return [node for node in wanted if find(node.name, home.run_dir)]


async def _run(node: Node, tool: str, *arguments: str) -> str:
    return await asyncio.to_thread(BrokerTools.at(node).run, tool, *arguments)
