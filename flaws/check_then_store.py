"""The idempotency of many tutorials: look whether the key is known; if not, work and store it.

Between looking and storing there is time, and two requests that look in it both find nothing.
"""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from server.application.dispatcher import Dispatcher
from server.application.effect import Effect
from server.application.hooks import Announce
from server.application.idempotency import Claim
from server.contract.envelope import Reply
from server.contract.steps import Step
from server.persistence.database import Database
from server.persistence.models import IdempotencyKey


class CheckThenStore(Dispatcher):
    """The right application, but for the moment in which a key is looked up and kept."""

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        cached = await check_idempotency(self.database, claim)
        if cached is not None:
            return cached
        async with self.database.transaction() as transaction:
            reply = Reply(data=await effect(transaction))
        await announce(Step.COMMITTED)
        await store_idempotency(self.database, claim, reply)
        return reply


async def check_idempotency(database: Database, claim: Claim) -> Reply | None:
    statement = select(IdempotencyKey.reply).where(
        IdempotencyKey.user_id == claim.user_id,
        IdempotencyKey.resource_type == claim.resource_type,
        IdempotencyKey.key == claim.key,
    )
    async with database.reading() as connection:
        stored = (await connection.execute(statement)).scalar_one_or_none()
    return None if stored is None else Reply.from_stored(stored)


async def store_idempotency(database: Database, claim: Claim, reply: Reply) -> None:
    row = claim.row | {"reply": reply.to_stored()}
    async with database.transaction() as transaction:
        await transaction.execute(insert(IdempotencyKey).values(row).on_conflict_do_nothing())
