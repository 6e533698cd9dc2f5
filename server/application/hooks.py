"""The named steps of a request, announced to one observer.

Logs, diagrams and failure injection hang on it. The code that announces a step knows none of them.
"""

from collections.abc import Awaitable, Callable

from server.contract.steps import Step

Observer = Callable[[Step, str | None], Awaitable[None]]
"""Called after the step is done, with the request's id, or None while it is unknown."""


async def no_observer(step: Step, request_id: str | None) -> None:
    """The observer of production."""
