"""At most one effect for each idempotency key: ``once()`` is where every write happens.

One transaction holds the claim of the key, the effect and the stored reply. Whatever dies, either
all three are there or none is.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Row, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract import Reply, Request
from server.database import LOCK_NOT_AVAILABLE, Database, sqlstate
from server.errors import ApiError, InProgress, KeyReused
from server.models import IdempotencyKey
from server.steps import Step

Effect = Callable[[AsyncConnection], Awaitable[Any]]
"""What a write does, in the transaction that it is given. Returns the reply's data."""

Announce = Callable[[Step], Awaitable[None]]

BY_REQUEST_ID = "request"
"""The resource type under which writes without a key are claimed, by their request's id."""


COLLECTED_AT_ONCE = 5000


@dataclass(frozen=True)
class Claim:
    """One accepted write: whose it is, the name it goes by, and a digest of what was asked."""

    user_id: int
    resource_type: str
    key: str
    fingerprint: str

    @classmethod
    def of(cls, request: Request, payload: BaseModel, user_id: int, resource_type: str) -> "Claim":
        asked = f"{request.version} {request.action} {payload.model_dump_json(exclude_unset=True)}"
        fingerprint = hashlib.sha256(asked.encode()).hexdigest()
        if request.idempotency_key is None:
            return cls(user_id, BY_REQUEST_ID, request.id, fingerprint)
        return cls(user_id, resource_type, request.idempotency_key, fingerprint)


async def once(database: Database, claim: Claim, effect: Effect, announce: Announce) -> Reply:
    """Apply ``effect`` unless this claim was applied before; then give the first reply again.

    Raises ``KeyReused`` if the claim was made for another request, ``InProgress`` if the first
    one has not ended within the lock timeout, ``Unavailable`` if the database cannot be asked.
    """
    async with database.transaction() as transaction:
        while not await _claim(transaction, claim):
            first = await _find(transaction, claim)
            if first is not None:
                return _replay(first, claim)
            # The first one's key was collected between our two statements: it is free again.
        await announce(Step.CLAIMED)
        reply = await _apply(transaction, effect)
        await announce(Step.APPLIED)
        await _store(transaction, claim, reply)
    await announce(Step.COMMITTED)
    return reply


async def _claim(transaction: AsyncConnection, claim: Claim) -> bool:
    """True if the key is ours now. Waits for whoever holds it, until the lock timeout."""
    statement = (
        insert(IdempotencyKey)
        .values(
            user_id=claim.user_id,
            resource_type=claim.resource_type,
            key=claim.key,
            fingerprint=claim.fingerprint,
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    )
    try:
        return (await transaction.execute(statement)).one_or_none() is not None
    except DBAPIError as error:
        if sqlstate(error) == LOCK_NOT_AVAILABLE:
            raise InProgress from error
        raise


async def _find(transaction: AsyncConnection, claim: Claim) -> Row[str, str | None] | None:
    """What the first one left. It has to be a statement of its own.

    Under READ COMMITTED every statement sees what was committed before it began. The INSERT that
    waited began before the first one's COMMIT, so a SELECT inside it would find nothing.
    """
    statement = select(IdempotencyKey.fingerprint, IdempotencyKey.reply).where(_is(claim))
    return (await transaction.execute(statement)).one_or_none()


def _replay(first: Row[str, str | None], claim: Claim) -> Reply:
    if first.fingerprint != claim.fingerprint:
        name = "id" if claim.resource_type == BY_REQUEST_ID else "idempotency key"
        raise KeyReused(
            f"The {name} {claim.key!r} was used before, for another request. "
            f"Send that one again, or this one under an {name} of its own."
        )
    return Reply.from_stored(first.reply)


async def _apply(transaction: AsyncConnection, effect: Effect) -> Reply:
    """The effect's data, or its refusal, which undoes the effect but keeps the claim.

    A refusal is an answer like any other, and a duplicate gets the same. A transient error is no
    answer: it takes the claim with it.
    """
    try:
        async with transaction.begin_nested():
            return Reply(data=await effect(transaction))
    except ApiError as refusal:
        if refusal.is_transient:
            raise
        return Reply.refusal(refusal)


async def _store(transaction: AsyncConnection, claim: Claim, reply: Reply) -> None:
    await transaction.execute(
        update(IdempotencyKey).where(_is(claim)).values(reply=reply.to_stored())
    )


async def collect(database: Database, retention: float) -> int:
    """Forget keys that are older than ``retention`` seconds. Returns how many.

    A key that is used again after that is a new one. Batches keep each transaction short.
    """
    old = IdempotencyKey.created_at < func.now() - timedelta(seconds=retention)
    row: ColumnElement[str] = literal_column("ctid")
    batch = select(row).select_from(IdempotencyKey).where(old).limit(COLLECTED_AT_ONCE)
    statement = delete(IdempotencyKey).where(row.in_(batch.with_for_update(skip_locked=True)))
    collected = 0
    while True:
        async with database.transaction() as transaction:
            gone = (await transaction.execute(statement)).rowcount
        collected += gone
        if gone < COLLECTED_AT_ONCE:
            return collected


def _is(claim: Claim) -> Any:
    return (
        (IdempotencyKey.user_id == claim.user_id)
        & (IdempotencyKey.resource_type == claim.resource_type)
        & (IdempotencyKey.key == claim.key)
    )
