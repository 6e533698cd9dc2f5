"""Bugs in what is read: the database is right, and the answer is not."""

from abc import abstractmethod
from dataclasses import replace
from typing import Any

from flaws.now_and_then import LISTS, WrongRead
from server.contract.envelope import Reply, Request
from server.contract.errors import NotFound

Data = dict[str, Any]


class RemembersReads(WrongRead):
    """A cache that no change makes invalid: the first answer, for ever."""

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self._cache: dict[str, Data] = {}

    def could(self, request: Request, data: Data) -> bool:
        return self._cache.setdefault(_name(request), data) != data

    async def wrong(self, request: Request, reply: Reply, how: Any) -> Reply:
        return replace(reply, data=self._cache[_name(request)])


def _name(request: Request) -> str:
    return f"{request.version} {request.action} {request.data}"


class MakesUpValues(WrongRead):
    """A default that is taken where the column has a value."""

    async def wrong(self, request: Request, reply: Reply, how: Any) -> Reply:
        name = "birth_year" if "birth_year" in reply.data else "year"
        return replace(reply, data=reply.data | {name: 1900})


class CannotFind(WrongRead):
    """A replica that lags behind, or a permission that is taken for an absence."""

    async def wrong(self, request: Request, reply: Reply, how: Any) -> Reply:
        row_id = request.data["id"]
        return Reply.refusal(NotFound(f"There is no row {row_id}.", {"id": row_id}))


class MixesUpRows(WrongRead):
    """A variable that two requests share: each may find the other one's row in it."""

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*parts, **named)
        self._before: Data = {}
        self._last: Data = {}

    def could(self, request: Request, data: Data) -> bool:
        self._before, self._last = self._last, data
        return self._before.keys() == data.keys() and self._before["id"] != data["id"]

    async def wrong(self, request: Request, reply: Reply, how: Any) -> Reply:
        return replace(reply, data=self._before)


class WrongList(WrongRead):
    """A list of more than one row."""

    actions = LISTS

    def could(self, request: Request, data: Data) -> bool:
        return len(_rows(data)) > 2

    async def wrong(self, request: Request, reply: Reply, how: Any) -> Reply:
        name = next(iter(reply.data))
        return replace(reply, data=reply.data | {name: self.other(_rows(reply.data))})

    @abstractmethod
    def other(self, rows: list[Data]) -> list[Data]:
        """The rows that are answered instead."""


def _rows(data: Data) -> list[Data]:
    rows: list[Data] = next(iter(data.values()))
    return rows


class OmitsARow(WrongList):
    """An inner join, where some rows have nothing to join."""

    def other(self, rows: list[Data]) -> list[Data]:
        return [*rows[:1], *rows[2:]]


class DoublesARow(WrongList):
    """A join that finds two partners."""

    def other(self, rows: list[Data]) -> list[Data]:
        return [*rows[:2], *rows[1:]]


class SkipsTheLast(WrongList):
    """A page of one row less than its ``next`` believes."""

    def other(self, rows: list[Data]) -> list[Data]:
        return rows[:-1]


class SwapsTwo(WrongList):
    """A sort that is not total: what is equal by it comes in any order."""

    def other(self, rows: list[Data]) -> list[Data]:
        return [rows[1], rows[0], *rows[2:]]


class EndsEarly(WrongRead):
    """``<`` where it should be ``<=``: the last page but one says that it is the last."""

    actions = LISTS

    def could(self, request: Request, data: Data) -> bool:
        return data["next"] is not None

    async def wrong(self, request: Request, reply: Reply, how: Any) -> Reply:
        return replace(reply, data=reply.data | {"next": None})


class AskedAgain(WrongRead):
    """Without one of the fields of the request."""

    actions = LISTS

    forgets: str

    def could(self, request: Request, data: Data) -> bool:
        return request.data.get(self.forgets) is not None

    async def wrong(self, request: Request, reply: Reply, how: Any) -> Reply:
        less = {name: value for name, value in request.data.items() if name != self.forgets}
        return await super(WrongRead, self).execute(request.model_copy(update={"data": less}))


class ForgetsTheCursor(AskedAgain):
    """Every page is the first one."""

    forgets = "cursor"


class ForgetsTheFilter(AskedAgain):
    """A condition that is built, and then not added to the statement."""

    forgets = "genre"
