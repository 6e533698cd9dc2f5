"""Version 1: books whose author is a piece of text."""

from server.contract.envelope import Message
from server.contract.payloads.common import (
    Created,
    IsbnText,
    Name,
    Next,
    Stored,
    Title,
    Update,
    Year,
)


class CreateBookV1(Message):
    """A new book."""

    title: Title
    author: Name
    """Any text: version 2 knows authors."""
    year: Year | None = None
    isbn: IsbnText | None = None


class UpdateBookV1(Update):
    title: Title = ""
    author: Name = ""
    year: Year | None = None
    isbn: IsbnText | None = None


class StoredBookV1(Stored):
    """A book as the API returns it."""

    id: int
    title: str
    author: str
    year: int | None
    isbn: str | None
    created_at: Created


class BooksV1(Message):
    """A page of books."""

    books: list[StoredBookV1]
    next: Next
