"""What a write does, by itself or together with others of its kind."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.handlers.action import Action, ManyHandler
from server.security.principal import Principal

Effect = Callable[[AsyncConnection], Awaitable[Any]]
"""What a write does, in the transaction that it is given. Returns the reply's data."""


@dataclass(frozen=True)
class Handled:
    """The effect of an action, by its handler."""

    action: Action
    payload: BaseModel
    principal: Principal

    def require_permission(self) -> None:
        """Raises ``Forbidden``."""
        self.principal.require_librarian()

    async def __call__(self, transaction: AsyncConnection) -> Any:
        self.require_permission()
        return as_json(await self.action.handler(transaction, self.payload))


async def together(
    transaction: AsyncConnection, many: ManyHandler, effects: Sequence[Handled]
) -> list[Any]:
    """All of them, which are permitted, with one statement, and the data of each. If one of them
    cannot be done, none is.
    """
    return [as_json(data) for data in await many(transaction, [each.payload for each in effects])]


def as_json(data: BaseModel) -> Any:
    return data.model_dump(mode="json")
