"""Servers that are right most of the time: every so often they do one thing wrong, without a word.

So are the bugs that a test with three requests never finds. Each is a mistake that was made in real
systems, in a few lines, and its log says which request it happened to: ``wrong_on_purpose``.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, ClassVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.dispatcher import Dispatcher
from server.application.effect import Effect
from server.application.hooks import Announce
from server.application.idempotency import Claim
from server.contract.envelope import Reply, Request

log = structlog.get_logger()

GETS = ("get_book", "get_author")
LISTS = ("get_books", "get_authors")
CREATES = ("create_book", "create_author")
UPDATES = ("update_book", "update_author")
DELETES = ("delete_book",)
WRITES = (*CREATES, *UPDATES, *DELETES)

Right = Callable[[], Awaitable[Reply]]
"""Does what was asked for."""

_request: ContextVar[Request] = ContextVar("the request that is worked on")


class Turns:
    """Of what could go wrong, every so many times it does."""

    every: ClassVar[int] = 20

    def __init__(self) -> None:
        self._numbers: Iterator[int] = itertools.count(1)

    def is_wrong(self, request_id: str | None) -> bool:
        """Counts this one."""
        wrong = next(self._numbers) % self.every == 0
        if wrong:
            log.warning("wrong_on_purpose", id=request_id)
        return wrong


class NowAndThen(Dispatcher, ABC):
    """The right application, but for some requests of these ``actions``."""

    actions: ClassVar[tuple[str, ...]]

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.turns = Turns()

    async def execute(self, request: Request, **how: Any) -> Reply:
        _request.set(request)
        return await super().execute(request, **how)

    def concerns(self, request: Request) -> bool:
        """Whether it could go wrong at all."""
        return request.action in self.actions


class WrongRead(NowAndThen):
    """What is answered is not what was read."""

    actions: ClassVar[tuple[str, ...]] = GETS

    async def execute(self, request: Request, **how: Any) -> Reply:
        reply = await super().execute(request, **how)
        possible = reply.error is None and self.concerns(request)
        if possible and self.could(request, reply.data) and self.turns.is_wrong(request.id):
            return await self.wrong(request, reply, how)
        return reply

    def could(self, request: Request, data: Any) -> bool:
        """Whether with this data it would be noticed."""
        return True

    @abstractmethod
    async def wrong(self, request: Request, reply: Reply, how: Any) -> Reply:
        """What happens instead."""


class WrongWrite(NowAndThen):
    """What is done in the transaction is not what was asked for."""

    actions: ClassVar[tuple[str, ...]] = WRITES

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        request = _request.get()
        if not self.concerns(request):
            return await super().once(claim, effect, announce)

        async def perhaps_wrong(transaction: AsyncConnection) -> Any:
            if self.turns.is_wrong(request.id):
                return await self.wrong(transaction, request, effect)
            return await effect(transaction)

        return await super().once(claim, perhaps_wrong, announce)

    @abstractmethod
    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        """What happens instead."""


class WrongAround(NowAndThen):
    """The transaction is right, and what happens around it is not."""

    actions: ClassVar[tuple[str, ...]] = WRITES

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        request = _request.get()

        async def right() -> Reply:
            return await super(WrongAround, self).once(claim, effect, announce)

        if self.concerns(request) and self.turns.is_wrong(request.id):
            return await self.wrong(request, right)
        return await right()

    @abstractmethod
    async def wrong(self, request: Request, right: Right) -> Reply:
        """What happens instead."""
