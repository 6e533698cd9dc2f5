"""One lab for all exercises of a lesson, as a student has it."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest_asyncio

from labkit import Lab

LabOf = Callable[[str], Awaitable[Lab]]
"""Of the lesson with this number, ``"07"``."""


def unopened(lesson: str, name: str) -> Lab:
    if lesson == "07":  # its exercises break services, so they need some of their own
        return Lab.open(name, private=True, retry_delays="0.2,0.5,1,2")
    if lesson == "11":
        return Lab.open(name, private=True, brokers=3)
    if lesson == "08":
        return Lab.open(name, max_queue_length=20)
    return Lab.open(name, rest=lesson == "09")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab_of() -> AsyncIterator[LabOf]:
    """Opens it for the first who asks, and closes the one before: a cluster keeps a core busy."""
    async with AsyncExitStack() as stack:
        labs: dict[str, Lab] = {}

        async def of(lesson: str) -> Lab:
            if lesson not in labs:
                await stack.pop_all().aclose()
                labs.clear()
                name = f"lesson-{lesson}-{os.getpid()}"
                labs[lesson] = await stack.enter_async_context(unopened(lesson, name))
            return labs[lesson]

        yield of
