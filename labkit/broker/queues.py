"""The queues of one virtual host, as a table."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import pandas as pd

from labkit.broker import rates
from labkit.broker.management import Broker
from labkit.broker.rates import Counts, Meter
from labkit.services.node import broker_name

EVERY = 1.0
"""Seconds from one table to the next."""


async def queues(broker: Broker, vhost: str) -> pd.DataFrame:
    """One row per queue, by its name: its ``type`` (str), messages ``ready`` for delivery, and
    delivered but ``unacked`` (int64); of a cluster, its ``leader`` and ``members`` (str).
    """
    return _table(await broker.queues(vhost))


async def last_reported(broker: Broker, vhost: str) -> pd.DataFrame:
    """The same at once: each row is as old as its queue's last word."""
    return _table(await broker.queues_last_reported(vhost))


def _table(found: list[dict[str, Any]]) -> pd.DataFrame:
    rows = [
        (q["name"], q["type"], q["messages_ready"], q["messages_unacknowledged"]) for q in found
    ]
    table = pd.DataFrame(rows, columns=["queue", "type", "ready", "unacked"])
    if any(len(q.get("members", [])) > 1 for q in found):
        table["leader"] = [broker_name(q.get("leader") or q.get("node", "")) for q in found]
        table["members"] = [", ".join(sorted(map(broker_name, _members(q)))) for q in found]
    return table.set_index("queue").sort_index()


def _members(queue: dict[str, Any]) -> list[str]:
    """The nodes that have its messages and serve now; of a classic queue its only one."""
    if queue["type"] != "quorum":
        return [queue["node"]]
    online: list[str] = queue.get("online", [])  # none, for a moment, while nodes come and go
    return online


async def measured(broker: Broker, vhost: str, seconds: float = 1.0) -> pd.DataFrame:
    """The same with ``consumers``; and what goes through, measured for ``seconds`` from now on.

    Raises ``NoStatistics`` where the broker counts nothing.
    """
    meter = await Meter.of(broker, vhost)
    before, began = await meter.read(), time.monotonic()
    # Reading waits for the next count, which may be the one that ends the time.
    await asyncio.sleep(max(0.0, began + seconds - rates.GLANCE * 4 - time.monotonic()))
    return await _with_rates(broker, vhost, before, await meter.read())


async def watched(
    broker: Broker, vhost: str, *, with_rates: bool
) -> AsyncGenerator[pd.DataFrame, None]:
    """A new table about every second, for ever; the first one has no rates yet."""
    if not with_rates:
        while True:
            yield await queues(broker, vhost)
            await asyncio.sleep(EVERY)
    meter = await Meter.of(broker, vhost)
    yield await _with_consumers(broker, vhost)
    before = await meter.read()
    while True:
        after = await meter.read()
        yield await _with_rates(broker, vhost, before, after)
        before = after


async def _with_rates(broker: Broker, vhost: str, before: Counts, after: Counts) -> pd.DataFrame:
    table = await _with_consumers(broker, vhost)
    return table.join(rates.between(before, after).round(1))


async def _with_consumers(broker: Broker, vhost: str) -> pd.DataFrame:
    table, consumers = await queues(broker, vhost), await broker.consumers(vhost)
    return table.assign(consumers=[consumers[queue] for queue in table.index])
