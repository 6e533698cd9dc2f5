"""At most one effect for each idempotency key: the promise, and ``once()``, which keeps it.

One transaction holds the claim of the key, the effect and the stored reply. Whatever dies, either
all three are there or none is. ``group_commit`` keeps the same promise for many writes together.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

from pydantic import BaseModel
from sqlalchemy import (
    ColumnElement,
    Row,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.effect import Effect
from server.application.hooks import Announce
from server.contract.envelope import BY_REQUEST_ID, Reply, Request
from server.contract.errors import ApiError, InProgress, KeyReused
from server.contract.steps import Step
from server.persistence.database import LOCK_NOT_AVAILABLE, Database, sqlstate
from server.persistence.models import IdempotencyKey
from server.persistence.rows import arrays, rows_of

First = Row[str, str | None, str | None]
"""fingerprint, reply, kept_under"""

COLLECTED_AT_ONCE = 5000

NAME = ("user_id", "resource_type", "key")
KEYS = IdempotencyKey.__table__.columns


_CLAIMED = [KEYS[name] for name in (*NAME, "fingerprint", "kept_under")]
_GIVEN = rows_of(_CLAIMED)
_CLAIM = (
    insert(IdempotencyKey)
    .from_select(_CLAIMED, select(*(_GIVEN.columns[column.name] for column in _CLAIMED)))
    .on_conflict_do_nothing()
    .returning(*(KEYS[name] for name in NAME))
)


@dataclass(frozen=True)
class Claim:
    """One accepted write: whose it is, the name it goes by, and a digest of what was asked.

    With a key, that is its name; but its request's id is claimed beside it. So a request stays the
    same one also when it comes once with its key and once without.
    """

    user_id: int
    resource_type: str
    key: str
    fingerprint: str
    request_id: str
    is_repeated: bool = False
    """It may have been made before, here or by a worker that is still at it."""

    @classmethod
    def of(
        cls,
        request: Request,
        payload: BaseModel,
        user_id: int,
        resource_type: str,
        *,
        is_repeated: bool = False,
    ) -> "Claim":
        asked = f"{request.version} {request.action} {payload.model_dump_json(exclude_unset=True)}"
        fingerprint = hashlib.sha256(asked.encode()).hexdigest()
        if request.idempotency_key is None:
            return cls(user_id, BY_REQUEST_ID, request.id, fingerprint, request.id, is_repeated)
        key = request.idempotency_key
        return cls(user_id, resource_type, key, fingerprint, request.id, is_repeated)

    @property
    def has_key(self) -> bool:
        return self.resource_type != BY_REQUEST_ID

    @property
    def by_id(self) -> "Claim":
        """The claim of the same request by its id alone."""
        return replace(self, resource_type=BY_REQUEST_ID, key=self.request_id)

    @property
    def row(self) -> dict[str, Any]:
        """As ``idempotency_keys`` has it."""
        names = ("user_id", "resource_type", "key", "fingerprint")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """All that it claims: its name, and beside a key its request's id, which leads there."""
        mine = self.row | {"kept_under": None}
        return [self.by_id.row | {"kept_under": self.key}, mine] if self.has_key else [mine]

    @cached_property
    def names(self) -> list[tuple[int, str, str]]:
        """The keys of its rows. All claim in this order, so that no two wait for each other."""
        claims = [self.by_id, self] if self.has_key else [self]
        return [(claim.user_id, claim.resource_type, claim.key) for claim in claims]


async def once(database: Database, claim: Claim, effect: Effect, announce: Announce) -> Reply:
    """Apply ``effect`` unless this claim was applied before; then give the first reply again.

    Raises ``KeyReused`` if the claim was made for another request, ``InProgress`` if the first
    one has not ended within the lock timeout, ``Unavailable`` if the database cannot be asked.
    """
    async with database.transaction() as transaction:
        first = await _claim(transaction, claim)
        if first is not None:
            return first
        await announce(Step.CLAIMED)
        reply = await _apply(transaction, effect)
        await announce(Step.APPLIED)
        await _store(transaction, claim, reply)
    await announce(Step.COMMITTED)
    return reply


async def _claim(transaction: AsyncConnection, claim: Claim) -> Reply | None:
    """None if the claim is ours now; else the reply of the request that made it."""
    ours: set[str] = set()
    while claim.resource_type not in (ours := ours | await _insert(transaction, claim)):
        first = await _find(transaction, claim)
        if first is not None and first.kept_under is not None:
            kept = await _kept(transaction, claim, first)
            if kept is None:  # the key was collected, and its request's id leads nowhere
                await _forget(transaction, claim, first)
            first = kept
        if first is not None:
            return _replay(first, claim)
        # What the first one left was collected meanwhile, or leads nowhere: it is free again.
    if claim.has_key and BY_REQUEST_ID not in ours:
        return await _same_without_key(transaction, claim)
    return None


async def _insert(transaction: AsyncConnection, claim: Claim) -> set[str]:
    """The resource types of the names that are ours now. Waits for another transaction that holds
    one of them, until the lock timeout.
    """
    try:
        return {kind for _, kind, _ in await insert_claims(transaction, claim.rows)}
    except DBAPIError as error:
        if sqlstate(error) == LOCK_NOT_AVAILABLE:
            raise InProgress from error
        raise


async def insert_claims(
    transaction: AsyncConnection, rows: list[dict[str, Any]]
) -> set[tuple[int, str, str]]:
    """The names of those that are ours now; the others were there."""
    return {tuple(row) for row in await transaction.execute(_CLAIM, arrays(_CLAIMED, rows))}


async def _find(transaction: AsyncConnection, claim: Claim) -> First | None:
    """What the first one left. It has to be a statement of its own.

    Under READ COMMITTED every statement sees what was committed before it began. The INSERT that
    waited began before the first one's COMMIT, so a SELECT inside it would find nothing.
    """
    key = IdempotencyKey
    statement = select(key.fingerprint, key.reply, key.kept_under).where(_is(claim))
    return (await transaction.execute(statement)).one_or_none()


async def _kept(transaction: AsyncConnection, claim: Claim, first: First) -> First | None:
    """The row that has the reply: an id only names it, if its request had a key."""
    key = IdempotencyKey
    statement = select(key.fingerprint, key.reply, key.kept_under).where(
        key.user_id == claim.user_id,
        key.resource_type != BY_REQUEST_ID,
        key.key == first.kept_under,
        key.fingerprint == first.fingerprint,
    )
    return (await transaction.execute(statement.limit(1))).one_or_none()


async def _forget(transaction: AsyncConnection, claim: Claim, first: First) -> None:
    """Unless another one has it by now."""
    same = IdempotencyKey.kept_under == first.kept_under
    await transaction.execute(delete(IdempotencyKey).where(_is(claim), same))


def _replay(first: First, claim: Claim) -> Reply:
    if first.fingerprint != claim.fingerprint:
        name = "idempotency key" if claim.has_key else "id"
        raise KeyReused(
            f"The {name} {claim.key!r} was used before, for another request. "
            f"Send that one again, or this one under an {name} of its own."
        )
    return Reply.from_stored(first.reply)


async def _same_without_key(transaction: AsyncConnection, claim: Claim) -> Reply | None:
    """The reply, if the very same request was applied under this id without its key.

    Another request may have the same id: its key tells them apart.
    """
    first = await _find(transaction, claim.by_id)
    if first is None or first.kept_under is not None or first.fingerprint != claim.fingerprint:
        return None
    reply = Reply.from_stored(first.reply)
    await _store(transaction, claim, reply)
    return reply


async def _apply(transaction: AsyncConnection, effect: Effect) -> Reply:
    """The effect's data, or its refusal, which undoes the effect but keeps the claim.

    What the work itself ends in is an outcome like any other, and a duplicate gets the same. Other
    errors, a transient one or a lack of permission, are none: they take the claim with them.
    """
    try:
        async with transaction.begin_nested():
            return Reply(data=await effect(transaction))
    except ApiError as refusal:
        if not refusal.is_outcome:
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
