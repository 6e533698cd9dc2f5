"""Version 2: authors, and books that belong to one and have a genre."""

from typing import Literal

from server.contract.envelope import Message
from server.contract.payloads.common import (
    Country,
    Created,
    Genre,
    Id,
    Isbn,
    Name,
    Next,
    Page,
    Stored,
    Title,
    Update,
    Year,
)


class CreateAuthor(Message):
    """A new author."""

    name: Name
    birth_year: Year | None = None
    country: Country | None = None


class UpdateAuthor(Update):
    name: Name = ""
    birth_year: Year | None = None
    country: Country | None = None


class StoredAuthor(Stored):
    """An author as the API returns it."""

    id: int
    name: str
    birth_year: int | None
    country: str | None
    created_at: Created


class Authors(Message):
    """A page of authors."""

    authors: list[StoredAuthor]
    next: Next


class CreateBookV2(Message):
    """A new book by an author that exists."""

    title: Title
    author_id: Id
    """Of an author that exists."""
    genre: Genre | None = None
    year: Year | None = None
    isbn: Isbn | None = None
    """ISBN-10 or ISBN-13, checked; stored as 13 digits. No two books have the same."""


class UpdateBookV2(Update):
    title: Title = ""
    author_id: Id = 1
    genre: Genre | None = None
    year: Year | None = None
    isbn: Isbn | None = None


Sort = Literal["id", "title", "year", "-id", "-title", "-year"]


class FindBooks(Page):
    """A page of those books that meet every condition given."""

    genre: Genre | None = None
    """Exactly this genre."""
    author_id: Id | None = None
    author: Name | None = None
    """Words that are all in the author's name, whole, in any order and case."""
    year_from: Year | None = None
    """This year or later."""
    year_to: Year | None = None
    """This year or earlier."""
    title: Title | None = None
    """Words that are all in the title, whole, in any order and case."""
    sort: Sort = "id"
    """By what; with ``-`` the last comes first. Equal ones are sorted by id."""


class StoredBookV2(Stored):
    """A book as the API returns it."""

    id: int
    title: str
    author_id: int
    genre: str | None
    year: int | None
    isbn: str | None
    created_at: Created


class BooksV2(Message):
    """A page of books."""

    books: list[StoredBookV2]
    next: Next
