"""How long something takes."""

import time
from collections.abc import Awaitable


async def timed(work: Awaitable[object]) -> float:
    """Seconds until ``work`` is done."""
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin
