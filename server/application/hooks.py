"""The named steps of a request, announced to one observer.

Logs, diagrams and failure injection hang on it. The code that announces a step knows none of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context

from server.contract.steps import Step

Observer = Callable[[Step, str | None], Awaitable[None]]
"""Called after the step is done, with the request's id, or None while it is unknown."""


async def no_observer(step: Step, request_id: str | None) -> None:
    """The observer of production."""


Announce = Callable[[Step], Awaitable[None]]
"""An observer of one request."""


def announcing(observe: Observer, request_id: str) -> Announce:
    """Announces steps of this request, and in the context that it has now: a group commit runs in a
    task of its own, which is no request's.
    """
    if observe is no_observer:
        return _no_announcement
    context = copy_context()

    async def announce(step: Step) -> None:
        await asyncio.create_task(_observed(observe, step, request_id), context=context)

    return announce


def all_of(*observers: Observer) -> Observer:
    """One after the other."""
    watching = [each for each in observers if each is not no_observer]
    if len(watching) < 2:
        return watching[0] if watching else no_observer

    async def observe(step: Step, request_id: str | None) -> None:
        for each in watching:
            await each(step, request_id)

    return observe


async def _observed(observe: Observer, step: Step, request_id: str) -> None:
    await observe(step, request_id)


async def _no_announcement(step: Step) -> None:
    """What ``no_observer`` hears."""
