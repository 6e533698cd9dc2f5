"""Version 1: books whose author is a piece of text."""

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract import (
    BookId,
    BooksV1,
    CreateBookV1,
    DeletedBook,
    Nothing,
    Page,
    Pong,
    StoredBookV1,
    UpdateBookV1,
)
from server.errors import NotFound
from server.handlers.action import Action
from server.handlers.cursor import after, position
from server.models import BookV1

COLUMNS = BookV1.__table__.columns


async def ping(connection: AsyncConnection, nothing: Nothing) -> Pong:
    return Pong()


async def create_book(connection: AsyncConnection, book: CreateBookV1) -> StoredBookV1:
    created = await connection.execute(insert(BookV1).values(book.model_dump()).returning(*COLUMNS))
    return StoredBookV1.model_validate(created.one())


async def get_book(connection: AsyncConnection, book: BookId) -> StoredBookV1:
    found = (await connection.execute(select(*COLUMNS).where(BookV1.id == book.id))).one_or_none()
    if found is None:
        raise _no_book(book.id)
    return StoredBookV1.model_validate(found)


async def get_books(connection: AsyncConnection, page: Page) -> BooksV1:
    statement = (
        select(*COLUMNS)
        .where(BookV1.id > position(page.cursor))
        .order_by(BookV1.id)
        .limit(page.limit + 1)  # one more than asked for tells whether there is a next page
    )
    rows = (await connection.execute(statement)).all()
    books = [StoredBookV1.model_validate(row) for row in rows[: page.limit]]
    return BooksV1(books=books, next=after(books[-1].id) if len(rows) > page.limit else None)


async def update_book(connection: AsyncConnection, book: UpdateBookV1) -> StoredBookV1:
    updated = await connection.execute(
        update(BookV1).where(BookV1.id == book.id).values(book.changes).returning(*COLUMNS)
    )
    row = updated.one_or_none()
    if row is None:
        raise _no_book(book.id)
    return StoredBookV1.model_validate(row)


async def delete_book(connection: AsyncConnection, book: BookId) -> DeletedBook:
    deleted = await connection.execute(
        delete(BookV1).where(BookV1.id == book.id).returning(BookV1.id)
    )
    if deleted.one_or_none() is None:
        raise _no_book(book.id)
    return DeletedBook(id=book.id)


def _no_book(book_id: int) -> NotFound:
    return NotFound(f"There is no book {book_id} in version 1.", {"id": book_id})


ACTIONS = [
    Action(ping, Nothing),
    Action(create_book, CreateBookV1, writes="book_v1"),
    Action(get_book, BookId),
    Action(get_books, Page),
    Action(update_book, UpdateBookV1, writes="book_v1"),
    Action(delete_book, BookId, writes="book_v1"),
]
