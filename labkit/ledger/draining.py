"""Waiting until a lab has nothing left to do."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from labkit.errors import BrokerAway
from labkit.ledger.collect import queued
from labkit.ui.progress import StatusLine

if TYPE_CHECKING:
    from labkit.lab import Lab

LOOKS = 2
"""A request on its way from one queue to the next could be missed by one look."""

SILENCE = 2.0
"""Seconds of waiting before it says what it waits for."""


async def drained(lab: "Lab", waiting: Callable[[], int], within: float) -> bool:
    """Whether, within this many seconds, no call waits any more and the queues are empty."""
    began, empty = time.monotonic(), 0
    line = StatusLine()
    while time.monotonic() - began < within:
        left = await _left(lab, waiting())
        empty = 0 if left else empty + 1
        if empty == LOOKS:
            line.clear()
            return True
        if time.monotonic() - began > SILENCE:
            line.show(f"waiting for {left} … {time.monotonic() - began:.0f} of {within:.0f} s")
    line.show(f"not drained within {within:.0f} s")
    return False


async def _left(lab: "Lab", waiting: int) -> str:
    """What is not done with yet, in words; empty if all is."""
    try:
        queues = await queued(lab)
    except BrokerAway:
        await asyncio.sleep(0.2)
        return "the broker"
    left = [f"{count} in {name}" for name, count in queues.items() if count]
    return ", ".join([*left, *([f"{waiting} calls"] if waiting else [])])
