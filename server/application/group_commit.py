"""Group commit: writes that arrive while another commit is under way share the next transaction.

    writes wait ──► all claims ──► effect, effect, … ──► all replies ──► COMMIT ──► each replies
                   one statement                        one statement   one wait for the disk

A commit costs one wait for the disk, whatever is in it, and a statement one round trip, however
many rows it has. What ``once()`` promises stays: claim, effect and reply of a write are all there,
or none is, whatever dies.

One write's trouble is not the others'. One that was made before, is refused, or needs a row that
another worker has locked, undoes the transaction; the others share another one, and it is done by
itself, with ``once()``. One that fails is not done again here: that is its transport's to decide.

In a shared transaction effects come one after the other. That pays as long as they are quick. If
they are not, the transaction is undone, and for a while each write is done by itself, side by side
with others.
"""

import asyncio
import time
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.hooks import Announce
from server.application.idempotency import (
    KEYS,
    NAME,
    Claim,
    Effect,
    arrays,
    insert_claims,
    once,
    rows_of,
)
from server.contract.envelope import Reply
from server.contract.errors import ApiError
from server.contract.steps import Step
from server.persistence.database import LOCK_NOT_AVAILABLE, Database, is_lost, sqlstate
from server.persistence.models import IdempotencyKey

SHARED_AGAIN = 2
"""Times that what is left of a transaction is shared again; then each write is done by itself."""

SLOW = 0.05
"""Seconds. If the effects of one transaction, two at least, take longer than that on average, they
are not for sharing. A single one says little: on a busy machine any may have to wait once.
"""
SLOW_FOR = 1.0
"""Seconds after that in which no transaction is shared."""

_DONE = rows_of(*NAME, "reply")
_STORE = (
    update(IdempotencyKey)
    .where(*(KEYS[name] == _DONE.columns[name] for name in NAME))
    .values(reply=_DONE.columns.reply)
)


@dataclass(eq=False)
class _Write:
    claim: Claim
    effect: Effect
    announce: Announce
    reply: asyncio.Future[Reply] = field(default_factory=asyncio.Future)
    is_shared: bool = False
    """It was committed together with others."""

    def ends(self, reply: Reply) -> None:
        if not self.reply.done():  # its caller may have gone
            self.reply.set_result(reply)

    def fails(self, error: BaseException) -> None:
        if not self.reply.done():
            self.reply.set_exception(error)


class _SetAside(Exception):
    """These writes cannot share the transaction."""

    def __init__(self, writes: Iterable[_Write]) -> None:
        self.writes = list(writes)


class GroupCommit:
    """``once()`` for many at a time. The database is borrowed.

    As many transactions run side by side as the database has connections for shared ones: one that
    has to wait does not keep the others waiting.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Write] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._slow_until = float("-inf")

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        """As ``once()``, and raises the same."""
        if claim.is_repeated or not self._is_sharing():
            return await once(self._database, claim, effect, announce)
        write = _Write(claim, effect, announce)
        self._waiting.append(write)
        if len(self._running) < self._database.sharing:
            task = asyncio.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        reply = await write.reply
        if write.is_shared:
            await announce(Step.COMMITTED)
        return reply

    def _is_sharing(self) -> bool:
        return self._database.commit_batch > 1 and time.monotonic() >= self._slow_until

    async def _run(self) -> None:
        """Until no write waits."""
        while batch := self._next():
            try:
                await self._commit(batch, SHARED_AGAIN)
            except BaseException as error:
                for write in batch:
                    write.fails(error)
                raise

    def _next(self) -> list[_Write]:
        """Those that wait, up to the largest batch. No two have a name in common: of those the
        claim of one only would be seen to be refused.
        """
        batch: list[_Write] = []
        names: set[Hashable] = set()
        later: list[_Write] = []
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

    async def _commit(self, batch: list[_Write], shared_again: int) -> None:
        """All of them get their replies, or errors."""
        try:
            replies = await self._together(batch)
        except _SetAside as aside:
            await self._go_on(batch, aside, shared_again)
        except Exception as error:
            for write in batch:
                write.fails(error)
        else:
            for write, reply in zip(batch, replies, strict=True):
                write.is_shared = True
                write.ends(reply)

    async def _go_on(self, batch: list[_Write], aside: _SetAside, shared_again: int) -> None:
        """Do the batch again, without those that are set aside: they are done by themselves."""
        if len(batch) == 1 and _is_refusal(aside.__cause__):
            # No other write was there to mislead it: it is not worked on again to be refused.
            batch[0].effect = _refusing(aside.__cause__)
        alone = aside.writes if shared_again else batch
        rest = [write for write in batch if write not in alone]
        async with asyncio.TaskGroup() as group:
            if rest:
                group.create_task(self._commit(rest, shared_again - 1))
            for write in alone:
                if not write.reply.done():
                    group.create_task(self._alone(write))

    async def _together(self, batch: list[_Write]) -> list[Reply]:
        """Raises ``_SetAside``, or ``Unavailable`` if the database cannot be asked."""
        async with self._database.sharing_transaction() as transaction:
            await _claim(transaction, batch)
            replies = await self._apply_all(transaction, batch)
            await _store(transaction, batch, replies)
        return replies

    async def _apply_all(self, transaction: AsyncConnection, batch: list[_Write]) -> list[Reply]:
        replies: list[Reply] = []
        begin = time.monotonic()
        for write in batch:
            if len(replies) > 1 and time.monotonic() - begin > SLOW * len(replies):
                self._slow_until = time.monotonic() + SLOW_FOR
                raise _SetAside(batch)
            replies.append(await _apply(transaction, write))
        return replies

    async def _alone(self, write: _Write) -> None:
        try:
            write.ends(await once(self._database, write.claim, write.effect, write.announce))
        except Exception as error:
            write.fails(error)


def _is_refusal(error: BaseException | None) -> TypeGuard[ApiError]:
    return isinstance(error, ApiError) and error.is_outcome


def _refusing(refusal: ApiError) -> Effect:
    async def effect(transaction: AsyncConnection) -> Any:
        raise refusal

    return effect


async def _claim(transaction: AsyncConnection, batch: list[_Write]) -> None:
    """All names of all writes, in one order: no two workers wait for each other."""
    rows = [row for write in batch for row in write.claim.rows]
    rows.sort(key=lambda row: tuple(row[name] for name in NAME))
    try:
        ours = await insert_claims(transaction, rows)
    except DBAPIError as error:
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        raise _SetAside(batch) from error  # another worker has one of the claims, and is at it
    if len(ours) < len(rows):
        raise _SetAside(write for write in batch if not ours.issuperset(write.claim.names))
    for write in batch:
        with _setting_aside(write):
            await write.announce(Step.CLAIMED)


async def _apply(transaction: AsyncConnection, write: _Write) -> Reply:
    with _setting_aside(write):
        reply = Reply(data=await write.effect(transaction))
        await write.announce(Step.APPLIED)
    return reply


async def _store(transaction: AsyncConnection, batch: list[_Write], replies: list[Reply]) -> None:
    rows = [
        write.claim.row | {"reply": reply.to_stored()}
        for write, reply in zip(batch, replies, strict=True)
    ]
    await transaction.execute(_STORE, arrays((*NAME, "reply"), rows))


@contextmanager
def _setting_aside(write: _Write) -> Iterator[None]:
    """Whatever it ends in, a refusal, too, is this write's; a lost connection is no one's."""
    try:
        yield
    except Exception as error:
        if is_lost(error):
            raise
        if not isinstance(error, ApiError | DBAPIError):  # a bug: no other write led to it
            write.fails(error)
        raise _SetAside([write]) from error
