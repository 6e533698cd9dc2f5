"""Version 2: authors, and books that belong to one and have a genre."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import ColumnElement, func
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract import (
    Authors,
    BooksV2,
    CreateAuthor,
    CreateBookV2,
    Deleted,
    FindBooks,
    Nothing,
    Page,
    StoredAuthor,
    StoredBookV2,
    UpdateAuthor,
    UpdateBookV2,
    Which,
)
from server.database import FOREIGN_KEY_VIOLATION, sqlstate
from server.errors import ApiError, Conflict, NotFound
from server.handlers.action import Action
from server.handlers.table import Table
from server.handlers.v1 import ping
from server.models import Author, BookV2

AUTHORS = Table(Author, StoredAuthor, noun="author")
BOOKS = Table(BookV2, StoredBookV2, noun="book")


async def create_author(connection: AsyncConnection, author: CreateAuthor) -> StoredAuthor:
    return await AUTHORS.add(connection, author.model_dump())


async def get_author(connection: AsyncConnection, author: Which) -> StoredAuthor:
    return await AUTHORS.get(connection, author.id)


async def get_authors(connection: AsyncConnection, page: Page) -> Authors:
    authors, following = await AUTHORS.page(connection, AUTHORS.all(), page)
    return Authors(authors=authors, next=following)


async def update_author(connection: AsyncConnection, author: UpdateAuthor) -> StoredAuthor:
    return await AUTHORS.change(connection, author.id, author.changes)


async def delete_author(connection: AsyncConnection, author: Which) -> Deleted:
    with _reference_refused(Conflict(f"Author {author.id} has books.", {"id": author.id})):
        await AUTHORS.remove(connection, author.id)
    return Deleted(id=author.id)


async def create_book(connection: AsyncConnection, book: CreateBookV2) -> StoredBookV2:
    with _reference_refused(_no_author(book.author_id)):
        return await BOOKS.add(connection, book.model_dump())


async def get_book(connection: AsyncConnection, book: Which) -> StoredBookV2:
    return await BOOKS.get(connection, book.id)


async def get_books(connection: AsyncConnection, find: FindBooks) -> BooksV2:
    chosen = BOOKS.all().where(*_conditions(find))
    books, following = await BOOKS.page(connection, chosen, find)
    return BooksV2(books=books, next=following)


async def update_book(connection: AsyncConnection, book: UpdateBookV2) -> StoredBookV2:
    with _reference_refused(_no_author(book.author_id)):
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
        words = func.plainto_tsquery("simple", find.title)
        yield func.to_tsvector("simple", BookV2.title).bool_op("@@")(words)


def _no_author(author_id: int) -> NotFound:
    return NotFound(f"There is no author {author_id}.", {"author_id": author_id})


@contextmanager
def _reference_refused(error: ApiError) -> Iterator[None]:
    """``error`` where PostgreSQL finds that a reference would lead nowhere."""
    try:
        yield
    except DBAPIError as refused:
        if sqlstate(refused) == FOREIGN_KEY_VIOLATION:
            raise error from refused
        raise


ACTIONS = [
    Action(ping, Nothing),
    Action(create_author, CreateAuthor, writes="author_v2"),
    Action(get_author, Which),
    Action(get_authors, Page),
    Action(update_author, UpdateAuthor, writes="author_v2"),
    Action(delete_author, Which, writes="author_v2"),
    Action(create_book, CreateBookV2, writes="book_v2"),
    Action(get_book, Which),
    Action(get_books, FindBooks),
    Action(update_book, UpdateBookV2, writes="book_v2"),
    Action(delete_book, Which, writes="book_v2"),
]
