"""Version 1: books whose author is a piece of text."""

from sqlalchemy.ext.asyncio import AsyncConnection

from server.application.handlers.action import Action
from server.application.handlers.login import login
from server.application.repository import Repository
from server.contract.payloads.common import Credentials, Deleted, Nothing, Page, Pong, Which
from server.contract.payloads.v1 import BooksV1, CreateBookV1, StoredBookV1, UpdateBookV1
from server.persistence.models import BookV1

BOOKS = Repository(BookV1, StoredBookV1, noun="book")


async def ping(connection: None, nothing: Nothing) -> Pong:
    return Pong()


async def create_book(connection: AsyncConnection, book: CreateBookV1) -> StoredBookV1:
    return await BOOKS.add(connection, book.model_dump())


async def create_books(
    connection: AsyncConnection, books: list[CreateBookV1]
) -> list[StoredBookV1]:
    return await BOOKS.add_all(connection, [book.model_dump() for book in books])


async def get_book(connection: AsyncConnection, book: Which) -> StoredBookV1:
    return await BOOKS.get(connection, book.id)


async def get_books(connection: AsyncConnection, page: Page) -> BooksV1:
    books, following = await BOOKS.page(connection, page)
    return BooksV1(books=books, next=following)


async def update_book(connection: AsyncConnection, book: UpdateBookV1) -> StoredBookV1:
    return await BOOKS.change(connection, book.id, book.changes)


async def delete_book(connection: AsyncConnection, book: Which) -> Deleted:
    await BOOKS.remove(connection, book.id)
    return Deleted(id=book.id)


ACTIONS = [
    Action(ping, Nothing, reads=False),
    Action(login, Credentials, public=True),
    Action(create_book, CreateBookV1, writes="book_v1", many=create_books),
    Action(get_book, Which),
    Action(get_books, Page),
    Action(update_book, UpdateBookV1, writes="book_v1"),
    Action(delete_book, Which, writes="book_v1"),
]
