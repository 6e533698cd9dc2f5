"""Version 2 of the API, without a transport."""

from typing import Any

import pytest
from sqlalchemy import text

from server.persistence.database import Database
from tests.support import BOOK, Caller

ROWLING = {"name": "J.K. Rowling", "birth_year": 1965, "country": "UK"}


async def ask(call: Caller, action: str, data: dict[str, Any] | None = None, **fields: Any) -> Any:
    reply = await call(action, data, version="v2", **fields)
    assert reply.error is None, reply.error
    return reply.data


async def refused(call: Caller, action: str, data: dict[str, Any] | None = None) -> str:
    return (await call(action, data, version="v2")).outcome


@pytest.fixture
async def library(call: Caller) -> Caller:
    """Three books by two authors, the last of them without a year."""
    rowling = (await ask(call, "create_author", ROWLING))["id"]
    orwell = (await ask(call, "create_author", {"name": "George Orwell"}))["id"]
    stone = {"title": "The Philosopher's Stone", "author_id": rowling, "genre": "Fantasy"}
    await ask(call, "create_book", stone | {"year": 1997, "isbn": "0-7475-3269-9"})
    await ask(call, "create_book", {"title": "1984", "author_id": orwell, "year": 1949})
    await ask(call, "create_book", {"title": "Stone and Sky", "author_id": rowling})
    return call


async def test_an_author_is_created_read_changed_and_deleted(call: Caller) -> None:
    author = await ask(call, "create_author", ROWLING)
    assert await ask(call, "get_author", {"id": author["id"]}) == author
    changed = await ask(call, "update_author", {"id": author["id"], "country": None})
    assert changed == author | {"country": None}
    assert await ask(call, "delete_author", {"id": author["id"]}) == {"id": 1, "deleted": True}
    assert await refused(call, "get_author", {"id": author["id"]}) == "not_found"


async def test_an_author_with_books_stays(library: Caller) -> None:
    assert await refused(library, "delete_author", {"id": 1}) == "conflict"
    assert (await ask(library, "get_author", {"id": 1}))["name"] == "J.K. Rowling"


async def test_a_book_needs_an_author_who_exists(library: Caller) -> None:
    assert await refused(library, "create_book", {"title": "T", "author_id": 99}) == "not_found"
    assert await refused(library, "update_book", {"id": 1, "author_id": 99}) == "not_found"


async def test_an_isbn_is_taken_once_however_it_is_spelt(library: Caller) -> None:
    again = {"title": "T", "author_id": 1, "isbn": "978-0-7475-3269-9"}
    assert await refused(library, "create_book", again) == "conflict"
    assert await refused(library, "update_book", {"id": 2, "isbn": "0747532699"}) == "conflict"


async def test_the_versions_do_not_mix(library: Caller) -> None:
    await library("create_book", BOOK, version="v1")
    assert len((await ask(library, "get_books"))["books"]) == 3
    assert (await library("get_authors", version="v1")).outcome == "unknown_action"
    assert await refused(library, "create_book", BOOK) == "invalid_data"


async def test_a_key_holds_for_one_kind_of_thing(library: Caller) -> None:
    author = await ask(library, "create_author", ROWLING, idempotency_key="k")
    book = await ask(library, "create_book", {"title": "T", "author_id": 1}, idempotency_key="k")
    assert (author["id"], book["id"]) == (3, 4)


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({}, [1, 2, 3]),
        ({"genre": "Fantasy"}, [1]),
        ({"genre": "Poetry"}, []),
        ({"author_id": 1}, [1, 3]),
        ({"author": "rowling"}, [1, 3]),
        ({"author": "Orwell George"}, [2]),
        ({"year_from": 1949, "year_to": 1996}, [2]),
        ({"year_from": 1950}, [1]),
        ({"title": "stone"}, [1, 3]),
        ({"title": "sky STONE"}, [3]),
        ({"title": "ston"}, []),
        ({"title": "' & | ! :* ("}, []),
        ({"author_id": 1, "title": "stone", "genre": "Fantasy"}, [1]),
        ({"sort": "title"}, [2, 3, 1]),
        ({"sort": "-title"}, [1, 3, 2]),
        ({"sort": "year"}, [2, 1, 3]),
        ({"sort": "-year"}, [3, 1, 2]),
        ({"sort": "-id"}, [3, 2, 1]),
    ],
)
async def test_books_are_filtered_and_sorted(
    library: Caller, conditions: dict[str, Any], ids: list[int]
) -> None:
    books = (await ask(library, "get_books", conditions))["books"]
    assert [book["id"] for book in books] == ids


@pytest.mark.parametrize("sort", ["id", "title", "year", "-id", "-title", "-year"])
async def test_every_order_is_paged_without_a_gap_or_a_double(library: Caller, sort: str) -> None:
    for number in range(20):  # many share a title, a year, or have none
        year = [None, 1949, 2000][number % 3]
        book = {"title": f"Book {number % 4}", "author_id": 1, "year": year}
        await ask(library, "create_book", book)
    whole = (await ask(library, "get_books", {"sort": sort, "limit": 100}))["books"]
    pages, cursor = [], None
    while True:
        page = await ask(library, "get_books", {"sort": sort, "limit": 4, "cursor": cursor})
        pages += page["books"]
        if (cursor := page["next"]) is None:
            break
    assert pages == whole
    assert len(whole) == 23


async def test_a_cursor_of_another_order_is_refused(library: Caller) -> None:
    cursor = (await ask(library, "get_books", {"sort": "title", "limit": 1}))["next"]
    assert await refused(library, "get_books", {"sort": "year", "cursor": cursor}) == "invalid_data"
    assert await refused(library, "get_authors", {"cursor": cursor}) == "invalid_data"


@pytest.mark.parametrize(
    ("sort", "index"),
    [("id", "pk_books_v2"), ("title", "ix_books_v2_title_id"), ("-year", "ix_books_v2_year_id")],
)
async def test_a_page_far_behind_reads_no_more_than_the_first(
    library: Caller, database: Database, sort: str, index: str
) -> None:
    async with database.transaction() as connection:
        fill = (
            "INSERT INTO books_v2 (title, author_id, year) "
            "SELECT 'Title ' || n, 1, 1900 + n % 100 FROM generate_series(1, 5000) n"
        )
        await connection.execute(text(fill))
        await connection.execute(text("ANALYZE books_v2"))

    async def entries_read_by(cursor: str | None) -> tuple[int, str | None]:
        before = await _entries_read(database, index)
        page = await ask(library, "get_books", {"sort": sort, "limit": 100, "cursor": cursor})
        return await _entries_read(database, index) - before, page["next"]

    read, cursor = await entries_read_by(None)
    assert 100 < read < 110
    for _ in range(40):
        read, cursor = await entries_read_by(cursor)
    assert 100 < read < 110


async def _entries_read(database: Database, index: str) -> int:
    entries = text("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = :index")
    async with database.reading() as connection:
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))
        return int((await connection.execute(entries, {"index": index})).scalar_one())


async def test_titles_of_every_alphabet_are_kept(call: Caller) -> None:
    author = (await ask(call, "create_author", {"name": "Лев Толстой"}))["id"]
    for title in ("Война и мир", "吾輩は猫である", "🐈 a\u0301"):
        book = await ask(call, "create_book", {"title": title, "author_id": author})
        assert book["title"] == title
    found = (await ask(call, "get_books", {"title": "война", "author": "толстой"}))["books"]
    assert [book["title"] for book in found] == ["Война и мир"]
