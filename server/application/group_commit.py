"""Group commit: writes that arrive while another commit is under way share the next transaction.

    writes wait ──► all claims ──► effect, effect, … ──► all replies ──► COMMIT ──► each replies
                   one statement                        one statement   one wait for the disk

A commit costs one wait for the disk, whatever is in it, and a statement one round trip, however
many rows it has. What ``once()`` promises stays: claim, effect and reply of a write are all there,
or none is, whatever dies.

One write's trouble is not the others'. One that was made before, is refused, or needs a row that
another worker has locked, undoes the transaction; the others share another one, and it is done by
itself, with ``once()``. One that fails is not done again here: that is its transport's to decide.

Effects of one kind are one statement where there is one for many; others come one after the other.
That pays as long as they are quick. If they are not, the transaction is undone, and for a while
each write is done by itself, side by side with others.
"""

import asyncio
import time
from collections import deque
from collections.abc import Hashable
from typing import Any, TypeGuard

from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.batch import NotAsOne, SetAside, TooSlow, Write, work
from server.application.effect import Effect
from server.application.hooks import Announce
from server.application.idempotency import Claim, once
from server.contract.envelope import Reply
from server.contract.errors import ApiError
from server.contract.steps import Step
from server.persistence.database import Database

SHARED_AGAIN = 2
"""Times that what is left of a transaction is shared again; then each write is done by itself."""

SLOW_FOR = 1.0
"""Seconds after slow effects in which no transaction is shared."""


class GroupCommit:
    """``once()`` for many at a time. The database is borrowed.

    As many transactions run side by side as the database has connections for shared ones: one that
    has to wait does not keep the others waiting.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[Write] = deque()
        self._running: set[asyncio.Task[Any] | None] = set()
        self._by_themselves: set[asyncio.Task[None]] = set()
        self._slow_until = float("-inf")

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        """As ``once()``, and raises the same."""
        if claim.is_repeated or not self._is_sharing():
            return await once(self._database, claim, effect, announce)
        write = Write(claim, effect, announce)
        self._waiting.append(write)
        if len(self._running) < self._database.sharing:
            self._running.add(asyncio.create_task(self._run()))
        reply = await write.reply
        if write.is_shared:
            await announce(Step.COMMITTED)
        return reply

    def _is_sharing(self) -> bool:
        return self._database.commit_batch > 1 and time.monotonic() >= self._slow_until

    async def _run(self) -> None:
        """Until no write waits. It counts as running no longer than that: not a turn of the event
        loop more, in which a write could come that nothing would take.
        """
        try:
            while batch := self._next():
                await self._work_off(batch)
        finally:
            self._running.remove(asyncio.current_task())

    async def _work_off(self, batch: list[Write]) -> None:
        try:
            if self._is_sharing():
                await self._commit(batch, SHARED_AGAIN)
            else:
                await self._go_on(batch, SetAside(batch), 0)
        except BaseException as error:
            for write in batch:
                write.fails(error)
            raise

    def _next(self) -> list[Write]:
        """Those that wait, up to the largest batch. No two have a name in common: of those the
        claim of one only would be seen to be refused.
        """
        batch: list[Write] = []
        names: set[Hashable] = set()
        later: list[Write] = []
        while self._waiting and len(batch) < self._database.commit_batch:
            write = self._waiting.popleft()
            if write.reply.done():
                continue
            if names.isdisjoint(write.claim.names):
                names.update(write.claim.names)
                batch.append(write)
            else:
                later.append(write)
        self._waiting.extendleft(reversed(later))
        return batch

    async def _commit(self, batch: list[Write], shared_again: int, *, as_one: bool = True) -> None:
        """All of them get their replies, or errors."""
        try:
            async with self._database.sharing_transaction() as transaction:
                replies = await work(transaction, batch, as_one=as_one)
        except NotAsOne:
            await self._commit(batch, shared_again, as_one=False)
        except SetAside as aside:
            await self._go_on(batch, aside, shared_again)
        except TooSlow:
            self._slow_until = time.monotonic() + SLOW_FOR
            await self._go_on(batch, SetAside(batch), shared_again)
        except Exception as error:
            for write in batch:
                write.fails(error)
        else:
            for write, reply in replies.items():
                write.is_shared = True
                write.ends(reply)

    async def _go_on(self, batch: list[Write], aside: SetAside, shared_again: int) -> None:
        """Do the batch again, without those that are set aside: they are done by themselves, and
        nothing waits for them, for they may have to wait long.
        """
        if len(batch) == 1 and _is_refusal(aside.__cause__):
            # No other write was there to mislead it: it is not worked on again to be refused.
            batch[0].effect = _refusing(aside.__cause__)
        alone = aside.writes if shared_again else batch
        rest = [write for write in batch if write not in alone]
        for write in alone:
            if not write.reply.done():
                task = asyncio.create_task(self._alone(write))
                self._by_themselves.add(task)
                task.add_done_callback(self._by_themselves.discard)
        if rest:
            await self._commit(rest, shared_again - 1)

    async def _alone(self, write: Write) -> None:
        try:
            write.ends(await once(self._database, write.claim, write.effect, write.announce))
        except BaseException as error:
            write.fails(error)
            if not isinstance(error, Exception):
                raise


def _is_refusal(error: BaseException | None) -> TypeGuard[ApiError]:
    return isinstance(error, ApiError) and error.is_outcome


def _refusing(refusal: ApiError) -> Effect:
    async def effect(transaction: AsyncConnection) -> Any:
        raise refusal

    return effect
