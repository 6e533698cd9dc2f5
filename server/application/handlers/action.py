"""What the application has to know of an action."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

Handler = Callable[[Any, Any], Awaitable[BaseModel]]
"""(connection, payload) -> the reply's data; a refusal is raised as an ``ApiError``.

That of a public action is given the ``Database`` itself: it takes a connection when it needs one.
"""


@dataclass(frozen=True)
class Action:
    """A handler with its payload's model.

    ``writes`` names the resource type of a write, which takes a librarian. ``public`` is for
    callers who cannot say yet who they are. ``reads`` is False for what can be answered without a
    connection to the database, and is given none.
    """

    handler: Handler
    payload: type[BaseModel]
    writes: str | None = None
    public: bool = False
    reads: bool = True

    @property
    def name(self) -> str:
        return self.handler.__name__
