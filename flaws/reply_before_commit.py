"""Receive → work → reply → commit → ack: it looks quicker, since the caller does not wait for the
commit.

The reply says "ok" for something that may never come to be. Who dies in between has lied: the
request is delivered again and makes *another* book, with another id than the caller was given.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.dispatcher import Dispatcher
from server.application.effect import Effect
from server.application.hooks import Announce
from server.application.idempotency import Claim
from server.contract.envelope import Reply
from server.transports.amqp.delivery import Delivery
from server.transports.amqp.delivery_processor import DeliveryProcessor, LogEntry
from server.transports.amqp.worker import Worker


@dataclass
class EarlyReply:
    send: Callable[[Reply], Awaitable[None]]
    sent: bool = False

    async def now(self, reply: Reply) -> None:
        await self.send(reply)
        self.sent = True


_early: ContextVar[EarlyReply] = ContextVar("early reply")
"""That of the delivery which the current task works on: it goes past the application unseen."""


class RepliesInTheTransaction(Dispatcher):
    """The right application, but the effect ends in the reply, before the commit."""

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        early = _early.get()

        async def effect_and_reply(transaction: AsyncConnection) -> object:
            data = await effect(transaction)
            await early.now(Reply(data=data))
            return data

        return await super().once(claim, effect_and_reply, announce)


class RepliesOnce(DeliveryProcessor):
    """The right consumer, but what was answered in the transaction is not answered again."""

    async def _execute(self, delivery: Delivery, entry: LogEntry) -> Reply:
        async def send(reply: Reply) -> None:
            await super(RepliesOnce, self)._reply(delivery, reply, entry.id)
            self._replies.flush()  # at once, and not when the event loop comes to it

        _early.set(EarlyReply(send))
        return await super()._execute(delivery, entry)

    async def _reply(self, delivery: Delivery, reply: Reply, request_id: str | None) -> None:
        if not _early.get().sent:
            await super()._reply(delivery, reply, request_id)


class ReplyBeforeCommit(Worker):
    answers_with = RepliesOnce
