"""Ends that are reached whatever fails, or is interrupted, on the way to them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Made = TypeVar("Made")


async def in_thread(work: Callable[[], Made]) -> Made:
    """Not to be interrupted: what is half started could not be stopped by anyone.

    A cancellation meanwhile takes effect at its end.
    """
    # A future, not a task: a loop that shuts down cancels all of those.
    working = asyncio.get_running_loop().run_in_executor(None, work)
    interruption: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is not None:
        working.exception()  # or asyncio complains that it was never retrieved
        raise interruption
    return working.result()


async def close_all(*closes: Callable[[], Awaitable[None]]) -> None:
    """One after the other; none is left out because of what became of those before it.

    Raises the first error after all, with a note of each other one; an interruption goes before
    errors.
    """
    errors: list[BaseException] = []
    for close in closes:
        try:
            await close()
        except BaseException as error:
            errors.append(error)
    if errors:
        errors.sort(key=lambda error: isinstance(error, Exception))
        for other in errors[1:]:
            errors[0].add_note(f"And then: {other!r}")
        raise errors[0]
