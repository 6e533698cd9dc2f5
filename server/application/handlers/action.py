"""What the application has to know of an action."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

Handler = Callable[[Any, Any], Awaitable[BaseModel]]
"""(connection, payload) -> the reply's data; a refusal is raised as an ``ApiError``.

That of a public action is given the ``Database`` itself: it takes a connection when it needs one.
"""

ManyHandler = Callable[[Any, list[Any]], Awaitable[Sequence[BaseModel]]]
"""(connection, payloads) -> the data of each reply, in their order. All of them are done, or none.
It refuses nothing in the API's words: what it cannot do is done again by the handler.
"""


@dataclass(frozen=True)
class Action:
    """A handler with its payload's model.

    ``writes`` names the resource type of a write, which takes a librarian. ``many`` is the same for
    writes that share a transaction: one statement for all of them. ``public`` is for callers who
    cannot say yet who they are. ``reads`` is False for what can be answered without a connection to
    the database, and is given none.
    """

    handler: Handler
    payload: type[BaseModel]
    writes: str | None = None
    many: ManyHandler | None = None
    public: bool = False
    reads: bool = True

    @property
    def name(self) -> str:
        return self.handler.__name__
