"""What each action takes and answers: one payload model for each, and its limits."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator
from stdnum import isbn
from stdnum.exceptions import ValidationError as StdnumError

from server.contract import LARGEST_ID, STORABLE, Message


class Nothing(Message):
    """``ping`` takes no data."""


class Pong(Message):
    """The server is there, reads, authenticates and answers."""

    pong: Literal[True] = True


Title = Annotated[str, Field(min_length=1, max_length=500), STORABLE]
Name = Annotated[str, Field(min_length=1, max_length=200), STORABLE]
Genre = Annotated[str, Field(min_length=1, max_length=100), STORABLE]
Country = Annotated[str, Field(min_length=1, max_length=100), STORABLE]


YEARS_AHEAD = 5
"""Books are announced before they appear."""


def _not_far_ahead(year: int) -> int:
    if year > datetime.now(UTC).year + YEARS_AHEAD:
        raise ValueError(f"must not be more than {YEARS_AHEAD} years ahead")
    return year


def _isbn13(text: str) -> str:
    """Checked, and always as 13 digits: ISBN-10 and hyphens are spellings of the same number."""
    try:
        return str(isbn.to_isbn13(isbn.validate(text)))
    except StdnumError as error:
        raise ValueError(f"not an ISBN-10 or ISBN-13: {error}") from None


Year = Annotated[
    int,
    Field(ge=-3000, le=9998, description="Negative before our era; at most five years ahead."),
    AfterValidator(_not_far_ahead),
]
IsbnText = Annotated[
    str, Field(min_length=1, max_length=20, description="Any text: it is not checked."), STORABLE
]
Isbn = Annotated[
    str,
    Field(max_length=20, description="ISBN-10 or ISBN-13, checked; stored as 13 digits."),
    AfterValidator(_isbn13),
]
Id = Annotated[int, Field(ge=1, le=LARGEST_ID, description="Given by the server.")]


class Credentials(Message):
    """Who logs in."""

    name: Annotated[str, Field(min_length=1, max_length=200), STORABLE]
    password: Annotated[SecretStr, Field(min_length=1, max_length=1000)]


class Token(Message):
    """A JWT, to be sent as ``data.auth_token`` in place of ``auth`` until it expires."""

    token: str
    expires_at: datetime
    """UTC."""
    role: str
    """``reader`` or ``librarian``: only a librarian may write."""


def _show_what_is_asked(schema: dict[str, Any]) -> None:
    """A field that is left out stays as it was, so the defaults below mean nothing to a client."""
    schema["minProperties"] = 2
    for field in schema["properties"].values():
        field.pop("default", None)


class _Update(Message):
    """Which one, and those fields that change. ``null`` empties a field that may be empty."""

    model_config = ConfigDict(json_schema_extra=_show_what_is_asked)

    id: Id

    @property
    def changes(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"id"})

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.changes:
            raise ValueError("nothing to change: give at least one field besides id")
        return self


Created = Annotated[datetime, Field(description="When it was stored, UTC.")]


class _Stored(Message):
    model_config = ConfigDict(from_attributes=True)


class Which(Message):
    """Which one."""

    id: Id


class Deleted(Message):
    """It is gone."""

    id: int
    deleted: Literal[True] = True


class Page(Message):
    """One page of a list, by id: ``limit`` items after ``cursor``, which is a page's ``next``."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    """Items on a page."""
    cursor: Annotated[str, Field(max_length=1000)] | None = None
    """``next`` of the page before, as it is; null for the first page."""


Next = Annotated[str | None, Field(description="``cursor`` of the page after; null on the last.")]

# Version 1: the author of a book is a piece of text, and so is its ISBN.


class CreateBookV1(Message):
    """A new book."""

    title: Title
    author: Name
    """Any text: version 2 knows authors."""
    year: Year | None = None
    isbn: IsbnText | None = None


class UpdateBookV1(_Update):
    title: Title = ""
    author: Name = ""
    year: Year | None = None
    isbn: IsbnText | None = None


class StoredBookV1(_Stored):
    """A book as it is answered."""

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


# Version 2: authors are things of their own, and books have a genre.


class CreateAuthor(Message):
    """A new author."""

    name: Name
    birth_year: Year | None = None
    country: Country | None = None


class UpdateAuthor(_Update):
    name: Name = ""
    birth_year: Year | None = None
    country: Country | None = None


class StoredAuthor(_Stored):
    """An author as it is answered."""

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


class UpdateBookV2(_Update):
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


class StoredBookV2(_Stored):
    """A book as it is answered."""

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
