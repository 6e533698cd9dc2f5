"""Fields and payloads that both versions share."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from stdnum import isbn
from stdnum.exceptions import ValidationError as StdnumError

from server.contract.envelope import LARGEST_ID, STORABLE, Message


class Nothing(Message):
    """``ping`` takes no data."""


class Pong(Message):
    """The server is there, reads, authenticates and answers."""

    pong: Literal[True] = True


Title = Annotated[str, Field(min_length=1, max_length=500), STORABLE]
Name = Annotated[str, Field(min_length=1, max_length=200), STORABLE]
Genre = Annotated[str, Field(min_length=1, max_length=100), STORABLE]
Country = Annotated[str, Field(min_length=1, max_length=100), STORABLE]


def _whole(number: object) -> object:
    """JSON has one kind of number: to JSON Schema, and to many a language, 1949.0 is an integer."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


WHOLE = BeforeValidator(_whole)

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
    Field(ge=-3000, le=9998, description="Negative for years BCE; at most five years ahead."),
    AfterValidator(_not_far_ahead),
    WHOLE,
]
IsbnText = Annotated[
    str, Field(min_length=1, max_length=20, description="Any text: it is not checked."), STORABLE
]
Isbn = Annotated[
    str,
    Field(max_length=20, description="ISBN-10 or ISBN-13, checked; stored as 13 digits."),
    AfterValidator(_isbn13),
]
Id = Annotated[int, Field(ge=1, le=LARGEST_ID, description="Given by the server."), WHOLE]


class Credentials(Message):
    """The user's name and password."""

    name: Annotated[str, Field(min_length=1, max_length=200), STORABLE]
    password: Annotated[SecretStr, Field(min_length=1, max_length=1000)]


class Token(Message):
    """A JWT, to be sent as ``data.auth_token`` in place of ``auth`` until it expires."""

    token: str
    expires_at: datetime
    """UTC."""
    role: str
    """``reader`` or ``librarian``: only a librarian may write."""


def show_what_is_asked(schema: dict[str, Any]) -> None:
    """A field that is left out stays as it was, so the defaults below mean nothing to a client."""
    schema["minProperties"] = 2
    for field in schema["properties"].values():
        field.pop("default", None)


class Update(Message):
    """The one with this id, and the fields that change. ``null`` empties an optional field."""

    model_config = ConfigDict(json_schema_extra=show_what_is_asked)

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


class Stored(Message):
    model_config = ConfigDict(from_attributes=True)


class Which(Message):
    """The one with this id."""

    id: Id


class Deleted(Message):
    """Confirms the deletion."""

    id: int
    deleted: Literal[True] = True


class Page(Message):
    """One page of a list, by id: ``limit`` items after ``cursor``, which is a page's ``next``."""

    limit: Annotated[int, Field(ge=1, le=100), WHOLE] = 50
    """Items on a page."""
    cursor: Annotated[str, Field(max_length=1000)] | None = None
    """``next`` of the page before, as it is; null for the first page."""


Next = Annotated[str | None, Field(description="``cursor`` of the page after; null on the last.")]
