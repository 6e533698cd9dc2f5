"""Waiting until a service answers, which ends: when it does, when it failed, or when time is up."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from labkit.services.errors import NotReady
from labkit.services.handshake import WRONG_PASSWORD, Refused
from labkit.services.process import Process

Answer = TypeVar("Answer")

LOOK = 0.05
"""Seconds between two tries."""
STRANGER = 15.0
"""Seconds in which a process that cannot have its port has noticed, and ended."""


async def until_ready(
    process: Process, handshake: Callable[[], Awaitable[Answer]], *, deadline: float
) -> Answer:
    """What `handshake` answers, asked again for as long as it raises `OSError`.

    Raises `NotReady` with the log's tail if the process ends or `deadline` seconds pass,
    `PortTaken` if that was why it ended, `Refused` if the answer is a final no.
    """
    begun = time.monotonic()
    while True:
        alive = process.alive()  # asked first: what died after answering did answer
        try:
            return await handshake()
        except OSError as error:
            # It may be a stranger who took the port before our process could, and refuses us. Then
            # ours is about to end, and says why.
            final = isinstance(error, Refused) and error.final
            stranger = isinstance(error, Refused) and error.code in WRONG_PASSWORD
            if final and not (stranger and time.monotonic() < begun + STRANGER):
                raise
            reason = error
        if not alive:
            raise process.ended()
        if time.monotonic() > begun + deadline:
            raise NotReady(
                f"{process.name} does not answer after {deadline:.0f} s ({reason}). "
                f"The end of its log, {process.log}:\n{process.log_tail()}"
            )
        await asyncio.sleep(LOOK)


async def adopted(process: Process, wait: Callable[[], Awaitable[object]]) -> bool:
    """Whether a process that was found running gets through `wait`, which raises as `until_ready`.

    False if it ends instead: it was being stopped when it was found. What it left behind is ended.
    """
    try:
        await wait()
    except NotReady:
        if process.alive():
            raise
        process.kill()
        return False
    return True
