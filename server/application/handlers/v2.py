"""Version 2: authors, and books that belong to one and have a genre."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, func, literal_column, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.handlers.action import Action
from server.application.handlers.login import login
from server.application.handlers.v1 import ping
from server.application.repository import Order, Repository
from server.contract.errors import ApiError, Conflict, NotFound
from server.contract.payloads.common import Credentials, Deleted, Nothing, Page, Which
from server.contract.payloads.v2 import (
    Authors,
    BooksV2,
    CreateAuthor,
    CreateBookV2,
    FindBooks,
    StoredAuthor,
    StoredBookV2,
    UpdateAuthor,
    UpdateBookV2,
)
from server.persistence.database import FOREIGN_KEY_VIOLATION as FOREIGN_KEY
from server.persistence.database import UNIQUE_VIOLATION as UNIQUE
from server.persistence.database import sqlstate
from server.persistence.models import Author, BookV2
from server.persistence.models.entities import YEAR_OR_LAST

AUTHORS = Repository(Author, StoredAuthor, noun="author")
BOOKS = Repository(
    BookV2,
    StoredBookV2,
    noun="book",
    orders={"title": Order(BookV2.__table__.columns.title, str), "year": Order(YEAR_OR_LAST, int)},
)


async def create_author(connection: AsyncConnection, author: CreateAuthor) -> StoredAuthor:
    return await AUTHORS.add(connection, author.model_dump())


async def create_authors(
    connection: AsyncConnection, authors: list[CreateAuthor]
) -> list[StoredAuthor]:
    return await AUTHORS.add_all(connection, [author.model_dump() for author in authors])


async def get_author(connection: AsyncConnection, author: Which) -> StoredAuthor:
    return await AUTHORS.get(connection, author.id)


async def get_authors(connection: AsyncConnection, page: Page) -> Authors:
    authors, following = await AUTHORS.page(connection, page)
    return Authors(authors=authors, next=following)


async def update_author(connection: AsyncConnection, author: UpdateAuthor) -> StoredAuthor:
    return await AUTHORS.change(connection, author.id, author.changes)


async def delete_author(connection: AsyncConnection, author: Which) -> Deleted:
    has_books = Conflict(f"Author {author.id} has books: delete them first.", {"id": author.id})
    with _refused_as({FOREIGN_KEY: has_books}):
        await AUTHORS.remove(connection, author.id)
    return Deleted(id=author.id)


async def create_book(connection: AsyncConnection, book: CreateBookV2) -> StoredBookV2:
    with _refused_as({FOREIGN_KEY: _no_author(book.author_id), UNIQUE: _isbn_taken(book.isbn)}):
        return await BOOKS.add(connection, book.model_dump())


async def create_books(
    connection: AsyncConnection, books: list[CreateBookV2]
) -> list[StoredBookV2]:
    return await BOOKS.add_all(connection, [book.model_dump() for book in books])


async def get_book(connection: AsyncConnection, book: Which) -> StoredBookV2:
    return await BOOKS.get(connection, book.id)


async def get_books(connection: AsyncConnection, find: FindBooks) -> BooksV2:
    books, following = await BOOKS.page(connection, find, *_conditions(find), sort=find.sort)
    return BooksV2(books=books, next=following)


async def update_book(connection: AsyncConnection, book: UpdateBookV2) -> StoredBookV2:
    with _refused_as({FOREIGN_KEY: _no_author(book.author_id), UNIQUE: _isbn_taken(book.isbn)}):
        return await BOOKS.change(connection, book.id, book.changes)


async def delete_book(connection: AsyncConnection, book: Which) -> Deleted:
    await BOOKS.remove(connection, book.id)
    return Deleted(id=book.id)


def _conditions(find: FindBooks) -> Iterator[ColumnElement[bool]]:
    if find.genre is not None:
        yield BookV2.genre == find.genre
    if find.author_id is not None:
        yield BookV2.author_id == find.author_id
    if find.year_from is not None:
        yield BookV2.year >= find.year_from
    if find.year_to is not None:
        yield BookV2.year <= find.year_to
    if find.title is not None:
        yield _has_words(BookV2.title, find.title)
    if find.author is not None:
        yield BookV2.author_id.in_(select(Author.id).where(_has_words(Author.name, find.author)))


def _has_words(column: Any, words: str) -> ColumnElement[bool]:
    """All the words, in any order, whole and in any case; in no language, so none is left out."""
    language: ColumnElement[str] = literal_column("'simple'")
    matches = func.to_tsvector(language, column).bool_op("@@")
    return matches(func.plainto_tsquery(language, words))


def _no_author(author_id: int) -> NotFound:
    return NotFound(f"There is no author {author_id}.", {"author_id": author_id})


def _isbn_taken(isbn: str | None) -> Conflict:
    return Conflict(f"There is a book with the ISBN {isbn} already.", {"isbn": isbn})


@contextmanager
def _refused_as(errors: Mapping[str, ApiError]) -> Iterator[None]:
    """What PostgreSQL refuses, by its SQLSTATE, in the API's words."""
    try:
        yield
    except DBAPIError as refused:
        if sqlstate(refused) in errors:
            raise errors[sqlstate(refused)] from refused
        raise


ACTIONS = [
    Action(ping, Nothing, reads=False),
    Action(login, Credentials, public=True),
    Action(create_author, CreateAuthor, writes="author_v2", many=create_authors),
    Action(get_author, Which),
    Action(get_authors, Page),
    Action(update_author, UpdateAuthor, writes="author_v2"),
    Action(delete_author, Which, writes="author_v2"),
    Action(create_book, CreateBookV2, writes="book_v2", many=create_books),
    Action(get_book, Which),
    Action(get_books, FindBooks),
    Action(update_book, UpdateBookV2, writes="book_v2"),
    Action(delete_book, Which, writes="book_v2"),
]
