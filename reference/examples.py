"""What is asked for the documents, in this order, of a server whose library is empty.

Every action is asked so that it succeeds, and once for each refusal of its own. So the errors that
the documents list for an action are errors that it was seen to answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from server.contract.headers import DEADLINE


class Caller(Enum):
    """By what a request shows who asks."""

    API_KEY = "a librarian's API key"
    TOKEN = "the token of the latest login, a reader's"  # noqa: S105  (no secret)
    ANONYMOUS = "nothing"


@dataclass(frozen=True)
class Example:
    """One request. ``outcome`` is what has to come of it: ``ok``, or the code of an error.

    ``title`` says what it shows. ``fields`` are put into the body, ``headers`` are sent as they
    are.
    """

    title: str
    version: str
    action: str
    data: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = "ok"
    key: str | None = None
    caller: Caller = Caller.API_KEY
    fields: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, int] = field(default_factory=dict)


NEXT = "next"
"""Stands for the cursor that the latest page named."""

READER, PASSWORD = "anna", "correct horse battery staple"

BOOK = {"title": "1984", "author": "George Orwell", "year": 1949, "isbn": "978-0451524935"}
OTHER = {"title": "Animal Farm", "author": "George Orwell"}
AUTHOR = {"name": "J.K. Rowling", "birth_year": 1965, "country": "UK"}
STONE = {
    "title": "Harry Potter and the Philosopher's Stone",
    "author_id": 1,
    "genre": "Fantasy",
    "year": 1997,
    "isbn": "0-7475-3269-9",
}
QUIDDITCH = {"title": "Quidditch Through the Ages", "author_id": 1, "genre": "Fantasy"}


def _login(version: str) -> list[Example]:
    right, wrong = {"name": READER, "password": PASSWORD}, {"name": READER, "password": "12345678"}
    return [
        Example(
            "Without credentials", version, "ping", {}, "unauthorized", caller=Caller.ANONYMOUS
        ),
        Example("With an API key", version, "ping"),
        Example(
            "A wrong password", version, "login", wrong, "unauthorized", caller=Caller.ANONYMOUS
        ),
        Example("A reader", version, "login", right, caller=Caller.ANONYMOUS),
        Example("With a token", version, "ping", caller=Caller.TOKEN),
    ]


def _writes(version: str, action: str, data: dict[str, Any], key: str) -> list[Example]:
    """A write, the same again, another one with its key, and one by a user who may only read."""
    other = data | {next(name for name in ("title", "name") if name in data): "Something else"}
    return [
        Example("With an idempotency key", version, action, data, key=key),
        Example("The same again", version, action, data, key=key),
        Example("Another with that key", version, action, other, "key_reused", key=key),
        Example("By a reader", version, action, data, "forbidden", caller=Caller.TOKEN),
    ]


def _one(version: str, action: str, **changes: Any) -> list[Example]:
    """An action on number 1, and on number 99, which does not exist."""
    return [
        Example("The first one", version, action, {"id": 1, **changes}),
        Example("One that is not there", version, action, {"id": 99, **changes}, "not_found"),
    ]


V1 = [
    *_login("v1"),
    *_writes("v1", "create_book", BOOK, "create-1984-v1"),
    Example("Wrong fields", "v1", "create_book", {"titel": "1984"}, "invalid_data"),
    Example("Without a key", "v1", "create_book", OTHER),
    *_one("v1", "get_book"),
    Example("The first page", "v1", "get_books", {"limit": 1}),
    Example("The page after it", "v1", "get_books", {"limit": 1, "cursor": NEXT}),
    *_one("v1", "update_book", year=1948),
    Example("Nothing to change", "v1", "update_book", {"id": 1}, "invalid_data"),
    *_one("v1", "delete_book"),
]

V2 = [
    *_login("v2"),
    *_writes("v2", "create_author", AUTHOR, "create-rowling-v2"),
    Example("Little is known", "v2", "create_author", {"name": "Homer"}),
    *_one("v2", "get_author"),
    Example("All of them", "v2", "get_authors"),
    *_one("v2", "update_author", country="United Kingdom"),
    *_writes("v2", "create_book", STONE, "create-stone-v2"),
    Example(
        "An author who is not there",
        "v2",
        "create_book",
        STONE | {"author_id": 99, "isbn": None},
        "not_found",
    ),
    Example("An ISBN that is there", "v2", "create_book", STONE, "conflict"),
    Example("No ISBN", "v2", "create_book", STONE | {"isbn": "978-0451524936"}, "invalid_data"),
    Example("Another", "v2", "create_book", QUIDDITCH),
    *_one("v2", "get_book"),
    Example(
        "By genre, newest first",
        "v2",
        "get_books",
        {"genre": "Fantasy", "year_from": 1990, "sort": "-year"},
    ),
    Example("By words of the title", "v2", "get_books", {"title": "quidditch ages"}),
    *_one("v2", "update_book", genre="Children's fantasy"),
    Example(
        "The ISBN of another", "v2", "update_book", {"id": 4, "isbn": STONE["isbn"]}, "conflict"
    ),
    *_one("v2", "delete_book"),
    Example("One with books", "v2", "delete_author", {"id": 1}, "conflict"),
    Example("One without", "v2", "delete_author", {"id": 2}),
    Example("One that is not there", "v2", "delete_author", {"id": 99}, "not_found"),
]

BEFORE_ANY_ACTION = [
    Example("A misspelt field", "v1", "ping", {}, "malformed", fields={"idempotencykey": "k"}),
    Example("A version to come", "v9", "ping", {}, "unsupported_version"),
    Example("An action to come", "v1", "burn_book", {}, "unknown_action"),
    Example("Too late", "v1", "ping", {}, "expired", headers={DEADLINE: 1}),
]
"""Refused whatever the action."""

EXAMPLES = {"v1": V1, "v2": V2, "any": BEFORE_ANY_ACTION}
