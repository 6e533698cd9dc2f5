"""The named steps of a request, told to one observer.

Logs, diagrams and failure injection hang on it. The code that announces a step knows none of them.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum


class Step(StrEnum):
    """In this order. A read skips ``claimed`` and ``committed``; a replay skips ``applied``."""

    RECEIVED = "received"
    PARSED = "parsed"
    AUTHENTICATED = "authenticated"
    CLAIMED = "claimed"
    APPLIED = "applied"
    COMMITTED = "committed"
    REPLIED = "replied"
    ACKED = "acked"


Observer = Callable[[Step, str | None], Awaitable[None]]
"""Called after the step is done, with the request's id, or None while it is unknown."""


async def nobody(step: Step, request_id: str | None) -> None:
    """The observer of production."""
