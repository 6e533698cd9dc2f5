"""The wire: what a request and a reply look like, and one payload model for each action.

    request  {"id", "version", "action", "data", "auth", "idempotency_key"}
    reply    {"correlation_id", "status": "ok" | "error", "data", "error"}

Parsing is strict: ``"1949"`` is no year and a field nobody knows is an error, since a misspelt
``idempotency_key`` that is silently ignored is how books get doubled.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json, to_json
from stdnum import isbn
from stdnum.exceptions import ValidationError as StdnumError

from server.errors import ApiError, InvalidData, Malformed

JSON = "application/json"

ATTEMPT = "x-attempt"
"""Which attempt this is, from 1. Ours, because a broker from 4.0 on ignores a client's x-death."""
FAILURES = "x-failures"
"""One table for each attempt that failed: attempt, code, error, at (UTC, ISO 8601)."""
DEADLINE = "x-deadline"
"""Milliseconds since 1970, UTC: nobody waits for the reply any more. Set by the client."""
REPLAYED = "replayed"
"""True on a reply whose outcome was reached earlier, by a request with the same key or id."""

LARGEST_ID = 2**63 - 1
MAX_PROBLEMS = 20
"""Problems told of one payload: enough to mend it, too few to make a small message a large one."""


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character U+0000")
    if text.isspace():
        raise ValueError("must not be blank")
    return text


STORABLE = AfterValidator(_storable)


class _Message(BaseModel):
    """Docstrings of fields are their descriptions in the API's documents."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


def _nothing(data: object) -> object:
    """Other languages write no data as ``null``, or as PHP does, ``[]``."""
    return {} if data is None or data == [] else data


class Request(_Message):
    """What a client publishes to ``api.requests``."""

    id: Annotated[str, Field(min_length=1, max_length=128), STORABLE]
    """The client's own, best a UUID. Without one, the AMQP property ``correlation_id`` is it."""
    version: Annotated[str, Field(max_length=64)]
    """Of the API."""
    action: Annotated[str, Field(max_length=64)]
    """What is to be done."""
    data: Annotated[dict[str, Any], BeforeValidator(_nothing)] = {}
    """What the action takes; and ``auth_token``, a token, if there is no ``auth``."""
    auth: SecretStr | None = None
    """An API key."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255), STORABLE] | None = None
    """A write that is sent again with the same key is applied once, and answered alike."""


@dataclass(frozen=True)
class Reply:
    """The outcome of a request: data, or an error ``{"code", "message", "details"}``.

    ``replayed`` says that this outcome was reached earlier, by a request with the same key. It
    travels as a header, because a replayed body is byte for byte the first one but for its
    ``correlation_id``.
    """

    data: Any = None
    error: dict[str, Any] | None = None
    replayed: bool = False

    @property
    def status(self) -> Literal["ok", "error"]:
        return "ok" if self.error is None else "error"

    @property
    def outcome(self) -> str:
        """``ok`` or the error's code: the one word for logs and counts."""
        return "ok" if self.error is None else str(self.error["code"])

    @classmethod
    def refusal(cls, error: ApiError) -> "Reply":
        return cls(error={"code": error.code, "message": str(error), "details": error.details})

    def to_stored(self) -> str:
        return to_json([self.data, self.error]).decode()

    @classmethod
    def from_stored(cls, stored: str) -> "Reply":
        data, error = from_json(stored)
        return cls(data, error, replayed=True)

    def to_bytes(self, correlation_id: str | None) -> bytes:
        return to_json(
            {
                "correlation_id": correlation_id,
                "status": self.status,
                "data": self.data,
                "error": self.error,
            }
        )


def parse(body: bytes, *, default_id: str | None = None) -> Request:
    """Bytes to a request, or ``Malformed`` with what is wrong and where.

    A body without ``id`` takes ``default_id``: AMQP's own ``correlation_id`` says the same.
    """
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"The body is not JSON in UTF-8: {error}") from None
    if not isinstance(document, dict):
        raise Malformed(f"The body has to be a JSON object, not {_json_type(document)}.")
    if default_id is not None:
        document.setdefault("id", default_id)
    try:
        return Request.model_validate(document)
    except ValidationError as error:
        problems = _problems(error)
        malformed = Malformed(f"The request cannot be read: {_sentence(problems)}", problems)
        if not any(problem["field"] == "id" for problem in problems):
            malformed.request_id = document["id"]
        raise malformed from None


class Nothing(_Message):
    """``ping`` takes no data."""


class Pong(_Message):
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


class Credentials(_Message):
    """Who logs in."""

    name: Annotated[str, Field(min_length=1, max_length=200), STORABLE]
    password: Annotated[SecretStr, Field(min_length=1, max_length=1000)]


class Token(_Message):
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


class _Update(_Message):
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


class _Stored(_Message):
    model_config = ConfigDict(from_attributes=True)


class Which(_Message):
    """Which one."""

    id: Id


class Deleted(_Message):
    """It is gone."""

    id: int
    deleted: Literal[True] = True


class Page(_Message):
    """One page of a list, by id: ``limit`` items after ``cursor``, which is a page's ``next``."""

    limit: Annotated[int, Field(ge=1, le=100)] = 50
    """Items on a page."""
    cursor: Annotated[str, Field(max_length=1000)] | None = None
    """``next`` of the page before, as it is; null for the first page."""


Next = Annotated[str | None, Field(description="``cursor`` of the page after; null on the last.")]

# Version 1: the author of a book is a piece of text, and so is its ISBN.


class CreateBookV1(_Message):
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


class BooksV1(_Message):
    """A page of books."""

    books: list[StoredBookV1]
    next: Next


# Version 2: authors are things of their own, and books have a genre.


class CreateAuthor(_Message):
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


class Authors(_Message):
    """A page of authors."""

    authors: list[StoredAuthor]
    next: Next


class CreateBookV2(_Message):
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


class BooksV2(_Message):
    """A page of books."""

    books: list[StoredBookV2]
    next: Next


Payload = TypeVar("Payload", bound=BaseModel)


def validate(model: type[Payload], data: dict[str, Any]) -> Payload:
    """The payload of an action, or ``InvalidData`` with every field that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = _problems(error)
        raise InvalidData(f"The data does not fit: {_sentence(problems)}", problems) from None


def _problems(error: ValidationError) -> list[dict[str, str]]:
    """What is wrong, field by field. Never the value: it may be a secret in the wrong place."""
    return [
        {
            "field": ".".join(map(str, problem["loc"]))[:100],
            "problem": problem["msg"].removeprefix("Value error, "),
        }
        for problem in error.errors(include_url=False, include_input=False)[:MAX_PROBLEMS]
    ]


def _sentence(problems: list[dict[str, str]]) -> str:
    return "; ".join(
        f"{p['field']}: {p['problem']}" if p["field"] else p["problem"] for p in problems
    )


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
