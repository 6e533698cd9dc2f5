"""What happens in a transaction that several writes share.

    all claims ──► effect, effect, … ──► all replies
    one statement                        one statement

Effects of one kind are one statement, too, as long as none of them has any trouble.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.effect import Effect, Handled, together
from server.application.handlers.action import ManyHandler
from server.application.hooks import Announce
from server.application.idempotency import KEYS, NAME, Claim, insert_claims
from server.contract.envelope import Reply
from server.contract.errors import ApiError
from server.contract.steps import Step
from server.persistence.database import LOCK_NOT_AVAILABLE, is_lost, sqlstate, took_too_long
from server.persistence.models import IdempotencyKey
from server.persistence.rows import arrays, rows_of

SLOW = 0.05
"""Seconds. If the effects of one transaction, two at least, take longer than that on average, they
are not for sharing. A single one says little: on a busy machine any may have to wait once.
"""

_STORED = [KEYS[name] for name in (*NAME, "reply")]
_DONE = rows_of(_STORED)
_STORE = (
    update(IdempotencyKey)
    .where(*(KEYS[name] == _DONE.columns[name] for name in NAME))
    .values(reply=_DONE.columns.reply)
)


@dataclass(eq=False)
class Write:
    """``announce`` is given the steps of its request."""

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


class SetAside(Exception):
    """These writes cannot share the transaction."""

    def __init__(self, writes: Iterable[Write]) -> None:
        self.writes = list(writes)


class TooSlow(Exception):
    """It takes too long to do all of this in one transaction."""


class NotAsOne(Exception):
    """A statement for many was refused, because of one of them: each has to have its own."""


async def work(
    transaction: AsyncConnection, batch: list[Write], *, as_one: bool
) -> dict[Write, Reply]:
    """All but the commit: everything that was promised of all of them, or an exception.

    ``as_one``: effects of one kind are one statement. Raises ``SetAside``, ``TooSlow``,
    ``NotAsOne``, or what says that the database cannot be asked.
    """
    try:
        await _claim(transaction, batch)
        replies = await _apply_all(transaction, batch, as_one=as_one)
        await _store(transaction, replies)
    except DBAPIError as error:
        if took_too_long(error):
            raise TooSlow from error
        raise
    return replies


async def _claim(transaction: AsyncConnection, batch: list[Write]) -> None:
    """All names of all writes, in one order: no two workers wait for each other."""
    rows = [row for write in batch for row in write.claim.rows]
    rows.sort(key=lambda row: tuple(row[name] for name in NAME))
    try:
        ours = await insert_claims(transaction, rows)
    except DBAPIError as error:
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        raise SetAside(batch) from error  # another worker has one of the claims, and is at it
    if len(ours) < len(rows):
        raise SetAside(write for write in batch if not ours.issuperset(write.claim.names))
    for write in batch:
        with _setting_aside(write):
            await write.announce(Step.CLAIMED)


async def _apply_all(
    transaction: AsyncConnection, batch: list[Write], *, as_one: bool
) -> dict[Write, Reply]:
    replies: dict[Write, Reply] = {}
    kinds, others = _kinds(batch) if as_one else ({}, batch)
    for many, writes in kinds.items():
        await _apply_as_one(transaction, many, writes, replies)
    begin = time.monotonic()
    for done, write in enumerate(others):
        if done > 1 and time.monotonic() - begin > SLOW * done:
            raise TooSlow
        await _apply(transaction, write, replies)
    return replies


def _kinds(batch: list[Write]) -> tuple[dict[ManyHandler, dict[Write, Handled]], list[Write]]:
    """The writes that can be one statement with others, and those that have their own."""
    kinds: dict[ManyHandler, dict[Write, Handled]] = {}
    for write in batch:
        effect = write.effect
        if isinstance(effect, Handled) and effect.action.many is not None:
            kinds.setdefault(effect.action.many, {})[write] = effect
    kinds = {many: writes for many, writes in kinds.items() if len(writes) > 1}
    as_one = {write for writes in kinds.values() for write in writes}
    return kinds, [write for write in batch if write not in as_one]


async def _apply_as_one(
    transaction: AsyncConnection,
    many: ManyHandler,
    writes: dict[Write, Handled],
    replies: dict[Write, Reply],
) -> None:
    for write, effect in writes.items():
        with _setting_aside(write):
            effect.require_permission()
    begin = time.monotonic()
    try:
        data = await together(transaction, many, list(writes.values()))
    except Exception as error:
        if is_lost(error) or took_too_long(error):
            raise
        raise NotAsOne from error
    if time.monotonic() - begin > SLOW * len(writes):
        raise TooSlow
    for write, each in zip(writes, data, strict=True):
        replies[write] = Reply(data=each)
        with _setting_aside(write):
            await write.announce(Step.APPLIED)


async def _apply(transaction: AsyncConnection, write: Write, replies: dict[Write, Reply]) -> None:
    with _setting_aside(write):
        replies[write] = Reply(data=await write.effect(transaction))
        await write.announce(Step.APPLIED)


async def _store(transaction: AsyncConnection, replies: dict[Write, Reply]) -> None:
    rows = [write.claim.row | {"reply": reply.to_stored()} for write, reply in replies.items()]
    await transaction.execute(_STORE, arrays(_STORED, rows))


@contextmanager
def _setting_aside(write: Write) -> Iterator[None]:
    """Whatever it ends in, a refusal, too, is this write's; a lost connection is no one's."""
    try:
        yield
    except Exception as error:
        if is_lost(error):
            raise
        if not isinstance(error, ApiError | DBAPIError):  # a bug: no other write led to it
            write.fails(error)
        raise SetAside([write]) from error
