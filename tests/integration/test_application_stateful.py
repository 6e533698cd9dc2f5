"""The application against a model of it: thousands of requests that nobody thought of, in order.

Hypothesis makes up the requests, several users with the same few keys among them, and shrinks what
goes wrong to the shortest run of requests that does.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from server.application.dispatcher import Dispatcher
from server.application.idempotency import collect
from server.contract.envelope import Reply, Request
from server.contract.steps import Step
from server.persistence.database import Database
from server.security import accounts, authentication
from server.security.principal import Role
from server.settings import Settings
from tests.integration.library_model import COLUMNS, Answer, Ask, LibraryModel

LIBRARIANS = ("Lena", "Omar")
READER = "Rita"

Result = TypeVar("Result")


class Crash(Exception):
    """The worker ends in the middle of a request."""


class Place:
    """A real database with three users, and an application that crashes when it is told to."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        self._database = Database(settings)
        self._dispatcher = Dispatcher(self._database, self._observe)
        self._keys: dict[str, str] = {}
        self.crashes_at: Step | None = None

    async def _observe(self, step: Step, request_id: str | None) -> None:
        if step is self.crashes_at:
            self.crashes_at = None
            raise Crash

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    async def prepare(self) -> None:
        await self._database.create_tables()
        async with self._database.transaction() as transaction:
            await authentication.prepare(transaction, "the key from the settings")
            for name in (*LIBRARIANS, READER):
                role = Role.READER if name == READER else Role.LIBRARIAN
                await accounts.add_user(transaction, name, role, None)
                self._keys[name] = await accounts.make_key(transaction, name, "key")

    async def empty(self) -> None:
        tables = ", ".join([*COLUMNS, "idempotency_keys"])
        async with self._database.transaction() as transaction:
            await transaction.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))

    async def execute(self, ask: Ask) -> Reply:
        request = {
            "id": ask.id,
            "version": ask.version,
            "action": ask.action,
            "data": ask.data,
            "auth": self._keys[ask.user],
            "idempotency_key": ask.key,
        }
        return await self._dispatcher.execute(Request.model_validate(request))

    async def several(self, ask: Ask, times: int) -> list[Reply]:
        return await asyncio.gather(*(self.execute(ask) for _ in range(times)))

    async def rows(self) -> dict[str, dict[int, Any]]:
        found = {}
        async with self._database.reading() as connection:
            for table, columns in COLUMNS.items():
                rows = await connection.execute(text(f"SELECT * FROM {table}"))
                found[table] = {
                    row.id: {name: getattr(row, name) for name in columns} for row in rows
                }
        return found

    async def forget_keys(self) -> None:
        await collect(self._database, retention=0)

    async def outcomes(self) -> int:
        statement = text("SELECT count(*) FROM idempotency_keys WHERE reply IS NOT NULL")
        async with self._database.reading() as connection:
            return int((await connection.execute(statement)).scalar_one())

    def close(self) -> None:
        self.run(self._database.close())
        self._runner.close()


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


IDS = st.integers(1, 6)
"""Few, so that they often are those of rows that exist, or did."""
WORDS = st.sampled_from(["Dune", "Emma", "Война и мир", "Łódź"])
YEARS = optional(st.integers(1800, 1805))
ISBNS = st.sampled_from(["9780451524935", "9780306406157"])
BOOK_V1 = {"title": WORDS, "author": WORDS}
BOOK_V2 = {"title": WORDS, "author_id": IDS}
EXTRA_V1 = {"year": YEARS, "isbn": optional(WORDS)}
EXTRA_V2 = {"genre": optional(WORDS), "year": YEARS, "isbn": optional(ISBNS)}
EXTRA_AUTHOR = {"birth_year": YEARS, "country": optional(WORDS)}


def writes(version: str, noun: str, needed: dict[str, Any], extra: dict[str, Any]) -> Any:
    create = st.fixed_dictionaries(needed, optional=extra)
    update = st.fixed_dictionaries({"id": IDS}, optional=needed | extra)
    delete = st.fixed_dictionaries({"id": IDS})
    return st.one_of(
        st.tuples(st.just(version), st.just(f"create_{noun}"), create),
        st.tuples(st.just(version), st.just(f"update_{noun}"), update.filter(lambda d: len(d) > 1)),
        st.tuples(st.just(version), st.just(f"delete_{noun}"), delete),
    )


WRITES = st.one_of(
    writes("v1", "book", BOOK_V1, EXTRA_V1),
    writes("v2", "book", BOOK_V2, EXTRA_V2),
    writes("v2", "author", {"name": WORDS}, EXTRA_AUTHOR),
)
USERS = st.sampled_from([*LIBRARIANS, *LIBRARIANS, READER])
KEYS = optional(st.sampled_from(["k1", "k2", "k3"]))
CRASHES = st.sampled_from([Step.AUTHENTICATED, Step.CLAIMED, Step.APPLIED, Step.COMMITTED])


class Machine(RuleBasedStateMachine):
    asked = Bundle("asked")

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.model = LibraryModel(LIBRARIANS)
        self._count = 0
        place.run(place.empty())

    def _new_id(self) -> str:
        self._count += 1
        return f"request-{self._count}"

    @rule(target=asked, user=USERS, what=WRITES, key=KEYS)
    def write(self, user: str, what: tuple[str, str, Any], key: str | None) -> Ask:
        ask = Ask(user, *what, key, self._new_id())
        self.ask(ask)
        return ask

    @rule(ask=asked)
    def ask(self, ask: Ask) -> None:
        """For the first time, or again: then it is a client that saw no reply."""
        known = self.model.before(ask)
        reply = self.place.run(self.place.execute(ask))
        self._agree(ask, known, reply)

    @rule(ask=asked, user=USERS)
    def somebody_else_uses_the_same_names(self, ask: Ask, user: str) -> None:
        self.ask(Ask(user, ask.version, ask.action, ask.data, ask.key, ask.id))

    @rule(ask=asked, what=WRITES)
    def the_same_names_are_used_for_something_else(self, ask: Ask, what: Any) -> None:
        version, action, data = what
        self.ask(Ask(ask.user, version, action, data, ask.key, ask.id))

    @rule(target=asked, user=USERS, what=WRITES, key=KEYS, step=CRASHES)
    def crash(self, user: str, what: tuple[str, str, Any], key: str | None, step: Step) -> Ask:
        """Whatever the worker got done, asking again ends as if nothing had happened."""
        ask = Ask(user, *what, key, self._new_id())
        known = self.model.before(ask)
        self.place.crashes_at = step
        try:
            self._agree(ask, known, self.place.run(self.place.execute(ask)))
        except Crash:
            reply = self.place.run(self.place.execute(ask))
            assert known is not None or reply.replayed == (step is Step.COMMITTED)
            self._agree(ask, known, reply, first=False)
        finally:
            self.place.crashes_at = None
        return ask

    @rule(target=asked, user=USERS, what=WRITES, key=KEYS)
    def several_at_once(self, user: str, what: tuple[str, str, Any], key: str | None) -> Ask:
        ask = Ask(user, *what, key, self._new_id())
        known = self.model.before(ask)
        replies = self.place.run(self.place.several(ask, times=3))
        assert len({reply.to_bytes("") for reply in replies}) == 1
        replies.sort(key=lambda reply: reply.replayed)
        assert known is not None or [r.replayed for r in replies] == [False, True, True]
        self._agree(ask, known, replies[0])
        return ask

    @rule()
    def names_are_forgotten(self) -> None:
        self.place.run(self.place.forget_keys())
        self.model.answered.clear()

    def _agree(self, ask: Ask, known: Answer | None, reply: Reply, first: bool = True) -> None:
        if known is not None:
            assert reply.outcome == known.outcome
            assert reply.data == known.data
            assert reply.replayed == (ask.name in self.model.answered and self._was_stored(known))
            return
        assert not (first and reply.replayed)
        assert reply.outcome == (self.model.refusal(ask) or "ok")
        if reply.outcome == "ok":
            assert ask.verb != "create" or reply.data["id"] not in self.model.tables[ask.table]
            self.model.apply(ask, reply.data["id"])
            self._shows_the_row(ask, reply.data)
        self.model.remember(ask, Answer(reply.outcome, reply.data))

    def _was_stored(self, known: Answer) -> bool:
        return known.outcome not in ("forbidden", "key_reused")

    def _shows_the_row(self, ask: Ask, data: dict[str, Any]) -> None:
        if ask.verb == "delete":
            assert data == {"id": ask.data["id"], "deleted": True}
            return
        row = self.model.tables[ask.table][data["id"]]
        assert {name: data[name] for name in row} == row

    @rule(noun=st.sampled_from([("v1", "book"), ("v2", "book"), ("v2", "author")]), row_id=IDS)
    def read_one(self, noun: tuple[str, str], row_id: int) -> None:
        version, name = noun
        ask = Ask(READER, version, f"get_{name}", {"id": row_id}, None, self._new_id())
        reply = self.place.run(self.place.execute(ask))
        row = self.model.tables[ask.table].get(row_id)
        assert reply.outcome == ("ok" if row else "not_found")
        assert row is None or {name: reply.data[name] for name in row} == row

    @invariant()
    def the_tables_are_as_the_model_says(self) -> None:
        assert self.place.run(self.place.rows()) == self.model.tables

    @invariant()
    def nothing_else_is_remembered(self) -> None:
        assert self.place.run(self.place.outcomes()) == len(self.model.answered)


@pytest.fixture
def here(settings: Settings) -> Any:
    place = Place(settings)
    place.run(place.prepare())
    yield place
    place.close()


def test_the_application_does_what_a_few_dictionaries_do(here: Place) -> None:
    run_state_machine_as_test(
        lambda: Machine(here),  # type: ignore[arg-type]  # it calls what it is given
        settings=profile(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            report_multiple_bugs=False,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
