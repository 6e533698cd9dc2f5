"""Writes of one kind that share a transaction are one statement, and each keeps its own outcome."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, text

from server.persistence.database import Database
from tests.support import BOOK, Caller

MANY = 20
AUTHOR = {"name": "J.K. Rowling", "birth_year": 1965, "country": "UK"}


@pytest.fixture
def inserts(database: Database) -> Iterator[list[str]]:
    """The tables into which shared transactions insert, a line for each statement."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("INSERT INTO"):
            seen.append(statement.split()[2])

    engine = database._shared.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def author(call: Caller) -> int:
    made = await call("create_author", AUTHOR, version="v2")
    return int(made.data["id"])


def book(author_id: int, title: str, **fields: Any) -> dict[str, Any]:
    return {"title": title, "author_id": author_id, **fields}


@pytest.mark.parametrize(
    ("version", "action", "table"),
    [
        ("v1", "create_book", "books_v1"),
        ("v2", "create_book", "books_v2"),
        ("v2", "create_author", "authors"),
    ],
)
async def test_creates_that_come_together_are_one_statement_and_each_gets_its_own_row(
    call: Caller, inserts: list[str], version: str, action: str, table: str
) -> None:
    author_id = await author(call)
    name = "name" if action == "create_author" else "title"
    data = {
        "books_v1": BOOK | {"isbn": None},
        "books_v2": {"author_id": author_id, "genre": "Fantasy", "year": 1997, "isbn": None},
        "authors": AUTHOR,
    }[table]
    inserts.clear()
    names = [f"{number:02}" for number in range(MANY)]
    made = await asyncio.gather(
        *(call(action, data | {name: each}, version=version) for each in names)
    )
    assert inserts == ["idempotency_keys", table]
    assert [reply.data[name] for reply in made] == names
    ids = [reply.data["id"] for reply in made]
    assert ids == sorted(set(ids))
    get = action.replace("create", "get")
    for reply in made:
        stored = await call(get, {"id": reply.data["id"]}, version=version)
        assert stored.data == reply.data == reply.data | data | {name: reply.data[name]}


async def test_kinds_share_a_transaction_with_a_statement_for_each(
    call: Caller, inserts: list[str]
) -> None:
    author_id = await author(call)
    inserts.clear()
    ends = await asyncio.gather(
        call("create_book", BOOK),
        call("create_author", AUTHOR, version="v2"),
        call("create_book", book(author_id, "Two"), version="v2"),
        call("update_author", {"id": author_id, "country": "Scotland"}, version="v2"),
        call("create_book", BOOK),
        call("create_author", AUTHOR, version="v2"),
        call("create_book", book(author_id, "Too"), version="v2"),
    )
    assert {end.outcome for end in ends} == {"ok"}
    assert inserts == ["idempotency_keys", "books_v1", "authors", "books_v2"]


SLOW_BOOKS = (
    """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$""",
    "CREATE TRIGGER slow BEFORE INSERT ON books_v1 FOR EACH ROW EXECUTE FUNCTION slow()",
)


async def test_slow_creates_are_not_one_statement_in_which_each_waits_for_all(
    call: Caller, database: Database
) -> None:
    async with database.transaction() as transaction:
        for statement in SLOW_BOOKS:
            await transaction.execute(text(statement))

    async def create(number: int) -> float:
        begin = time.monotonic()
        ends = await asyncio.gather(*(call("create_book", BOOK) for _ in range(number)))
        assert {end.outcome for end in ends} == {"ok"}
        return time.monotonic() - begin

    alone = await create(1)
    assert [await create(MANY) < MANY * alone / 2 for _ in range(4)] == [True] * 4


async def test_one_that_is_refused_costs_the_others_nothing(call: Caller) -> None:
    author_id = await author(call)
    taken = "978-0-7475-3269-9"
    await call("create_book", book(author_id, "First", isbn=taken), version="v2")
    wanted = [book(author_id, f"{number:02}") for number in range(MANY)]
    wanted[3] = book(99, "No such author")
    wanted[7] = book(author_id, "ISBN is taken", isbn=taken)
    ends = await asyncio.gather(*(call("create_book", each, version="v2") for each in wanted))
    refused = {place: end.outcome for place, end in enumerate(ends) if end.outcome != "ok"}
    assert refused == {3: "not_found", 7: "conflict"}
    there = (await call("get_books", {"limit": 100}, version="v2")).data["books"]
    made = [each["title"] for place, each in enumerate(wanted) if place not in refused]
    assert sorted(each["title"] for each in there) == sorted([*made, "First"])


async def test_of_two_with_one_isbn_in_one_transaction_the_first_has_it(call: Caller) -> None:
    author_id = await author(call)
    same = book(author_id, "Same", isbn="978-0-7475-3269-9")
    ends = await asyncio.gather(*(call("create_book", same, version="v2") for _ in range(3)))
    assert sorted(end.outcome for end in ends) == ["conflict", "conflict", "ok"]


async def test_a_reader_among_librarians_is_refused_alone(call: Caller, reader: Caller) -> None:
    ends = await asyncio.gather(
        call("create_book", BOOK), reader("create_book", BOOK), call("create_book", BOOK)
    )
    assert [end.outcome for end in ends] == ["ok", "forbidden", "ok"]


async def test_duplicates_that_waited_for_the_first_undo_no_shared_transaction(
    call: Caller, database: Database
) -> None:
    undone: list[object] = []
    note = undone.append
    engine = database._shared.engine.sync_engine
    event.listen(engine, "rollback", note)
    same = [call("create_book", BOOK, id="same", idempotency_key="same") for _ in range(10)]
    others = [call("create_book", BOOK | {"title": f"{number}"}) for number in range(10)]
    ends = await asyncio.gather(*(each for pair in zip(same, others, strict=True) for each in pair))
    event.remove(engine, "rollback", note)
    assert {end.outcome for end in ends} == {"ok"}
    assert [end.replayed for end in ends[::2]] == [False] + [True] * 9
    assert undone == []
