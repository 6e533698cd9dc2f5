"""What the application has to know of an action."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

Handler = Callable[[AsyncConnection, Any], Awaitable[BaseModel]]
"""(connection, payload) -> the reply's data; a refusal is raised as an ``ApiError``."""


@dataclass(frozen=True)
class Action:
    """A handler with its payload's model.

    ``writes`` names the resource type of a write, which takes a librarian. ``public`` is for
    whoever cannot say yet who it is.
    """

    handler: Handler
    payload: type[BaseModel]
    writes: str | None = None
    public: bool = False

    @property
    def name(self) -> str:
        return self.handler.__name__
