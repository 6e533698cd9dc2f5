"""Load from one process, with nothing but the standard library: every peer is measured alike."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

BODY = b'{"id":"uuid","version":"v1","action":"ping","auth":"supersecretapikey","data":{}}'
"""What is echoed: a request of the Library API."""
BOOK = {"title": "1984", "author": "George Orwell", "year": 1949}
WARM_UP = 0.3
"""Share of the time that is not counted, at the beginning."""

Call = Callable[[str], Awaitable[object]]
"""One request with this id; returns with its reply."""


async def closed_loop(call: Call, in_flight: int, seconds: float) -> None:
    """`in_flight` callers, each of which asks again as soon as it has its reply. It lasts until
    there are twice as many replies as callers, too: what is slow is measured for longer.
    """
    seen: list[tuple[float, float]] = []
    begin = time.perf_counter()
    counted, end = begin + seconds * WARM_UP, begin + seconds * (1 + WARM_UP)
    name = f"{time.time_ns():x}"

    async def caller(number: int) -> None:
        nonlocal end
        turn = 0
        while (start := time.perf_counter()) < end or len(seen) < 2 * in_flight:
            turn += 1
            await call(f"{name}-{number}-{turn}")
            seen.append((start, time.perf_counter()))
            if len(seen) == 2 * in_flight:
                end = max(end, seen[-1][1])

    await asyncio.gather(*map(caller, range(in_flight)))
    report(seen, counted, end)


async def open_loop(call: Call, rate: float, seconds: float) -> None:
    """`rate` requests a second, whether replies come or not. A request counts from the moment at
    which it was due: else a slow reply would hide those that waited behind it (coordinated
    omission).
    """
    seen: list[tuple[float, float]] = []
    begin = time.perf_counter()
    counted, end = begin + seconds * WARM_UP, begin + seconds * (1 + WARM_UP)
    name = f"{time.time_ns():x}"

    async def one(number: int, due: float) -> None:
        await call(f"{name}-{number}")
        seen.append((due, time.perf_counter()))

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * (end - begin))):
            due = begin + number / rate
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            group.create_task(one(number, due))
    report(seen, counted, end)


def report(seen: list[tuple[float, float]], begin: float, end: float) -> None:
    """Prints one line of JSON: calls a second that ended in the time counted, and latencies."""
    took = sorted((done - start) * 1000 for start, done in seen if begin <= done <= end)
    figures = {
        "calls_s": len(took) / (end - begin),
        "p50_ms": took[len(took) // 2],
        "p99_ms": took[int(len(took) * 0.99)],
        "max_ms": took[-1],
    }
    print(json.dumps(figures), flush=True)  # noqa: T201


async def run(call: Call) -> None:
    """As each line of the input says, `closed IN_FLIGHT SECONDS` or `open RATE SECONDS`, until it
    ends. So a client is started once, and idle while others are measured.
    """
    loop = asyncio.get_running_loop()
    while order := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        kind, number, seconds = order
        if kind == "open":
            await open_loop(call, float(number), float(seconds))
        else:
            await closed_loop(call, int(number), float(seconds))


def ready() -> None:
    """What a server prints once it consumes."""
    print("ready", flush=True)  # noqa: T201
