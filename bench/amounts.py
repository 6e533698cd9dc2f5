"""Large amounts, in one lab: several workers, a long backlog, many dead letters, many calls."""

import asyncio
import itertools
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from copy import copy
from typing import Any

import psutil

from bench import contest, flood
from bench.stopwatch import timed
from labkit import Lab
from labkit.client.amqp import AsyncAPIClient
from labkit.services.environment import ROOT
from labkit.workers import Found
from server.contract.properties import Properties
from server.contract.topology import DEAD_LETTERS, REQUESTS
from server.contract.vouching import user_of

MANY = 100_000
WORKERS = (1, 2, 4)
ACTIONS = ("ping", "create_book")
IN_FLIGHT = 64
WARM = 10_000
"""Calls after which a process has grown as far as it should."""
MIB = 2**20
NOWHERE = "nowhere"
"""No queue: what is answered there is dropped."""

Amounts = dict[str, float]


async def main() -> Amounts:
    """What was measured, by its name, which ends in its unit."""
    async with Lab.open("amounts", workers=0, rate_limit=1_000_000) as lab:
        amounts: Amounts = {}
        for measure in (_workers, _memory, _backlog, _dead_letters):
            print(f"  {measure.__name__.strip('_').replace('_', ' ')} …", flush=True)  # noqa: T201
            amounts |= await measure(lab)
    return amounts


async def _workers(lab: Lab) -> Amounts:
    """Calls a second, of one client with 64 in flight."""
    environment = os.environ | {"AMQP_URL": lab.amqp_url, "API_KEY": lab.api_key}
    amounts = {}
    for action in ACTIONS:
        ours = contest.ours("amqp", action, "ours")
        row = contest.Row(action, "closed", IN_FLIGHT, (ours,))
        async with contest.client(ours, environment) as client:
            for count in WORKERS:
                await lab.have_workers(count)
                figures = await client.measure(row)
                amounts[f"{action}_{count}_workers_calls_s"] = figures["calls_s"]
    return amounts


async def _memory(lab: Lab) -> Amounts:
    """What the worker and the client grow by, in 100,000 calls after the first 10,000."""
    await lab.have_workers(1)
    (worker,) = Found(lab.name, ROOT / ".lab" / "run").processes
    client = await lab.client()
    processes = {"worker": psutil.Process(worker.pid), "client": psutil.Process()}
    await _call(client, WARM)
    before = {name: process.memory_info().rss for name, process in processes.items()}
    await _call(client, MANY)
    return {
        f"{name}_grows_in_{MANY}_calls_mib": (process.memory_info().rss - before[name]) / MIB
        for name, process in processes.items()
    }


async def _call(client: AsyncAPIClient, count: int) -> None:
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await client.call("ping", timeout=60)

    await asyncio.gather(*(caller() for _ in range(IN_FLIGHT)))


async def _backlog(lab: Lab) -> Amounts:
    """From the worker's first answer to an empty queue."""
    await lab.stop_workers()
    published = await timed(flood.publish(lab.amqp_url, REQUESTS, _pings(lab.api_key, NOWHERE)))
    await lab.start_workers()
    await flood.until(lab.amqp_url, REQUESTS, lambda left: left < MANY)
    drained = await timed(flood.until(lab.amqp_url, REQUESTS, lambda left: left == 0))
    return {f"{MANY}_published_s": published, f"{MANY}_drained_s": drained}


async def _dead_letters(lab: Lab) -> Amounts:
    """One that the server made, and copies of it: without a ``reply_to``, and else in order."""
    ((properties, body),) = itertools.islice(_pings(lab.api_key, None), 1)
    await flood.publish(lab.amqp_url, REQUESTS, [(properties, body)])
    await flood.until(lab.amqp_url, DEAD_LETTERS, lambda there: there == 1)
    letter = await flood.first(lab.amqp_url, DEAD_LETTERS)
    copies = _copies(user_of(lab.amqp_url), *letter)
    await flood.publish(lab.amqp_url, DEAD_LETTERS, copies)
    desk = lab.dead_letters
    work: dict[str, Callable[[], Awaitable[Any]]] = {
        "listed": desk.list,
        "grouped": desk.groups,
        "replayed": desk.replay,
    }
    return {f"{MANY}_letters_{name}_s": await timed(do()) for name, do in work.items()}


def _pings(api_key: str, reply_to: str | None) -> Iterator[tuple[Properties, bytes]]:
    for number in range(MANY):
        name = f"many {number}"
        request = {"id": name, "version": "v1", "action": "ping", "auth": api_key}
        properties = Properties(correlation_id=name, message_id=name, delivery_mode=2)
        properties.reply_to = reply_to
        yield properties, json.dumps(request).encode()


def _copies(user: str, letter: Properties, body: bytes) -> Iterator[tuple[Properties, bytes]]:
    """All that are missing of ``MANY``, from this user of the broker's."""
    for number in range(1, MANY):
        properties = copy(letter)
        properties.message_id, properties.user_id = f"copy {number}", user
        yield properties, body
