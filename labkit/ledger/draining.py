"""Waiting until a lab has nothing left to do."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.broker.management import FRESH
from labkit.errors import BrokerAway
from labkit.ui.progress import StatusLine
from server.contract.topology import RAW_DEAD_LETTERS, REQUESTS, RETRY_PREFIX

if TYPE_CHECKING:
    from labkit.lab import Lab

LOOKS_AGAIN = 0.05
SILENCE = 2.0
"""Seconds of waiting before it says what it waits for."""
BROKER = "the broker"

Left = dict[str, int]
"""Queue → requests that are not done with, be they ready or in a worker's hands."""


async def drained(lab: "Lab", waiting: Callable[[], int], within: float) -> Left:
    """Returns what is left in the queues: nothing, as soon as no call waits any more and they all
    were empty for ``FRESH``; or what there is after ``within`` seconds.

    Each queue reports its counts at a moment of its own. In that time each has done so once, so a
    request on its way from one to the next was seen in one of them.
    """
    began, empty_since = time.monotonic(), None
    line = StatusLine()
    while True:
        queues, now = await _left(lab), time.monotonic()
        calls = waiting()
        if calls or any(queues.values()):
            empty_since = None
        elif empty_since is None:
            empty_since = now
        elif now - empty_since > FRESH:
            line.clear()
            return queues
        if now - began > within:
            line.show(f"not drained within {within:.0f} s")
            return queues
        if now - began > SILENCE:
            line.show(f"waiting for {_said(queues, calls)} … {now - began:.0f} of {within:.0f} s")
        await asyncio.sleep(LOOKS_AGAIN)


async def _left(lab: "Lab") -> Left:
    try:
        queues = await lab.queues_last_reported()
    except BrokerAway:
        return {BROKER: 1}
    held = queues["ready"] + queues["unacked"]
    return {str(name): int(count) for name, count in held.items() if _is_of_requests(str(name))}


def _is_of_requests(queue: str) -> bool:
    return queue in (REQUESTS, RAW_DEAD_LETTERS) or queue.startswith(RETRY_PREFIX)


def _said(queues: Left, calls: int) -> str:
    left = [f"{count} in {name}" for name, count in queues.items() if count and name != BROKER]
    if BROKER in queues:
        left.append(BROKER)
    return ", ".join([*left, *([f"{calls} calls"] if calls else [])]) or "the last word of a queue"
