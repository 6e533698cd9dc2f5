"""Bugs around the transaction of a write: it is right itself, and what comes before or after is
not.
"""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

from flaws import rows
from flaws.now_and_then import CREATES, DELETES, UPDATES, NowAndThen, Right, WrongAround
from server.application.effect import Effect
from server.application.hooks import Announce
from server.application.idempotency import Claim
from server.contract.envelope import Reply, Request
from server.contract.errors import Conflict

LATER = 0.2
"""Seconds until what was put off is done."""


class OverwritesLater(WrongAround):
    """A job that tidies up titles after the commit, with no regard to who asked for what."""

    actions = UPDATES

    async def wrong(self, request: Request, right: Right) -> Reply:
        reply = await right()
        if reply.error is None:
            name = "name" if "name" in reply.data else "title"
            async with self.database.transaction() as another:
                tidy = {name: reply.data[name].title() + "."}
                await rows.change(another, rows.table_of(request), reply.data["id"], tidy)
        return reply


class BringsBack(WrongAround):
    """An undo, a cache that writes back, a second master: a deleted row is there again."""

    actions = DELETES

    async def wrong(self, request: Request, right: Right) -> Reply:
        table = rows.table_of(request)
        async with self.database.reading() as connection:
            deleted = await rows.get(connection, table, request.data["id"])
        reply = await right()
        if reply.error is None and deleted is not None:
            async with self.database.transaction() as another:
                await rows.add(another, table, deleted)
        return reply


class AppliesAndRefuses(WrongAround):
    """The check comes after the work, and the work is not undone."""

    actions = CREATES

    async def wrong(self, request: Request, right: Right) -> Reply:
        await right()
        return Reply.refusal(Conflict("There is one like this already.", {"isbn": None}))


class AnswersEarly(WrongAround):
    """Write-behind: "ok" at once, and the database hears of it when there is time."""

    actions = UPDATES

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self._later: set[asyncio.Task[Reply]] = set()

    async def wrong(self, request: Request, right: Right) -> Reply:
        async with self.database.reading() as connection:
            there = await rows.get(connection, rows.table_of(request), request.data["id"])
        if there is None:
            return await right()

        async def later() -> Reply:
            await asyncio.sleep(LATER)
            return await right()

        task = asyncio.create_task(later())
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return Reply(data=rows.answered(there) | rows.values(request))


class LosesTheKey(NowAndThen):
    """The key is read from a header that some clients do not send: a new one is made for them."""

    actions = CREATES

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        if claim.has_key and self.turns.is_wrong(claim.request_id):
            made_up = str(uuid.uuid4())
            claim = replace(claim, key=made_up, request_id=made_up)
        return await super().once(claim, effect, announce)
