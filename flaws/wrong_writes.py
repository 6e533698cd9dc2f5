"""Bugs in the transaction of a write: each does something else than was asked, and answers "ok"."""

from typing import Any, ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from flaws import rows
from flaws.now_and_then import CREATES, DELETES, UPDATES, WrongWrite
from server.application.effect import Effect
from server.contract.envelope import Request
from server.contract.errors import NotFound


class AddsACopy(WrongWrite):
    """A retry inside of the handler, though the first try had worked."""

    actions = CREATES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        name = "name" if "name" in request.data else "title"
        copy = request.data | {name: f"{request.data[name]} (copy)"}
        await rows.add(transaction, rows.table_of(request), copy)
        return await effect(transaction)


class DeletesAnother(WrongWrite):
    """A condition that fits one row more than the one that was meant."""

    actions = DELETES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        table = rows.table_of(request)
        other = await rows.another(transaction, table, request.data["id"])
        await rows.remove(transaction, table, other)
        return await effect(transaction)


class ChangesAnother(WrongWrite):
    """An update that forgot half of its WHERE."""

    actions = UPDATES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        table = rows.table_of(request)
        other = await rows.another(transaction, table, request.data["id"])
        await rows.change(transaction, table, other, rows.values(request) | self._unique(request))
        return await effect(transaction)

    @staticmethod
    def _unique(request: Request) -> rows.Row:
        return {"isbn": None} if request.action == "update_book" else {}


class DoesNotUpdate(WrongWrite):
    """The answer is made from the request, and the UPDATE was in the branch that was not taken."""

    actions = UPDATES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        there = await rows.get(transaction, rows.table_of(request), request.data["id"])
        if there is None:
            return await effect(transaction)
        return rows.answered(there) | rows.values(request)


class UpdatesTwice(WrongWrite):
    """Called by the handler and by a hook of the model, too."""

    actions = UPDATES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        await effect(transaction)
        return await effect(transaction)


class UpdatesHalf(WrongWrite):
    """A field that is in the payload, and not in the list of those that are written."""

    actions = UPDATES

    def concerns(self, request: Request) -> bool:
        return super().concerns(request) and len(rows.values(request)) > 1

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        table, row_id = rows.table_of(request), request.data["id"]
        there = await rows.get(transaction, table, row_id)
        if there is None:
            return await effect(transaction)
        written = rows.values(request)
        written.popitem()
        await rows.change(transaction, table, row_id, written)
        return rows.answered(there) | rows.values(request)


class WritesBack(WrongWrite):
    """Read, modify, write, of all columns: as the worker remembers the row, not as it is by now."""

    actions = (*CREATES, *UPDATES)
    memory: ClassVar[dict[tuple[str, int], rows.Row]] = {}

    def concerns(self, request: Request) -> bool:
        known = (rows.TABLES.get((request.version, "book"), ""), request.data.get("id", 0))
        return request.action == "update_book" and known in self.memory

    async def once(self, claim: Any, effect: Effect, announce: Any) -> Any:
        reply = await super().once(claim, effect, announce)
        if reply.error is None and isinstance(reply.data, dict) and "author" in reply.data:
            self.memory.setdefault(("books_v1", reply.data["id"]), dict(reply.data))
        return reply

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        table, row_id = rows.table_of(request), request.data["id"]
        remembered = self.memory[table.name, row_id]
        columns = {n: v for n, v in remembered.items() if n not in ("id", "created_at")}
        await rows.change(transaction, table, row_id, columns | rows.values(request))
        return remembered | rows.values(request)


class RepliesWithOtherData(WrongWrite):
    """The title is made neat for the answer, and stored as it came."""

    actions = CREATES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        data = await effect(transaction)
        name = "name" if "name" in data else "title"
        return data | {name: data[name].upper()}


class CommitsHalf(WrongWrite):
    """The effect has a transaction of its own, so one of the two may be there without the other."""

    actions = CREATES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        async with self.database.transaction() as of_its_own:
            return await effect(of_its_own)


class ForgetsTheEffect(WrongWrite):
    """A savepoint that is rolled back by a mistake, and the key is kept as if all were well."""

    actions = CREATES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        savepoint = await transaction.begin_nested()
        data = await effect(transaction)
        await savepoint.rollback()
        return data


class MissesTheRow(WrongWrite):
    """It asks a replica that lags behind whether the row is there, and believes it."""

    actions = UPDATES

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        row_id = request.data["id"]
        raise NotFound(f"There is no row {row_id}.", {"id": row_id})


class UsesAnIdAgain(WrongWrite):
    """It fills the gaps that deleted rows have left: ``SELECT min(free id)``."""

    actions = (*CREATES, *DELETES)

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self._free: dict[str, list[int]] = {}

    def concerns(self, request: Request) -> bool:
        if request.action not in self.actions:
            return False
        if request.action in DELETES:
            self._free.setdefault(rows.table_of(request).name, []).append(request.data["id"])
            return False
        return bool(self._free.get(rows.table_of(request).name))

    async def wrong(self, transaction: AsyncConnection, request: Request, effect: Effect) -> Any:
        table = rows.table_of(request)
        row_id = self._free[table.name].pop()
        if await rows.get(transaction, table, row_id) is not None:
            return await effect(transaction)
        return rows.answered(await rows.add(transaction, table, request.data | {"id": row_id}))
