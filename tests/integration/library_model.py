"""The library as a few dictionaries: what the application has to agree with, whatever is asked."""

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

TABLE_OF = {("v1", "book"): "books_v1", ("v2", "book"): "books_v2", ("v2", "author"): "authors"}
COLUMNS = {
    "books_v1": ("title", "author", "year", "isbn"),
    "books_v2": ("title", "author_id", "genre", "year", "isbn"),
    "authors": ("name", "birth_year", "country"),
}


@dataclass(frozen=True)
class Ask:
    """One write, as a user asks for it."""

    user: str
    version: str
    action: str
    data: Row = field(hash=False)
    key: str | None
    id: str

    @property
    def verb(self) -> str:
        return self.action.partition("_")[0]

    @property
    def table(self) -> str:
        return TABLE_OF[self.version, self.action.partition("_")[2]]

    @property
    def name(self) -> tuple[str, str, str]:
        """Under which it is applied at most once."""
        return (
            (self.user, "request", self.id) if not self.key else (self.user, self.table, self.key)
        )

    @property
    def wish(self) -> tuple[str, str, str]:
        return (self.version, self.action, repr(sorted(self.data.items())))


@dataclass(frozen=True)
class Answer:
    outcome: str
    data: Any = None


class LibraryModel:
    """Rows, and what was answered under which name. Rows leave out ``id`` and ``created_at``."""

    def __init__(self, librarians: tuple[str, ...]) -> None:
        self.tables: dict[str, dict[int, Row]] = {table: {} for table in COLUMNS}
        self.answered: dict[tuple[str, str, str], tuple[tuple[str, str, str], Answer]] = {}
        self._librarians = librarians

    def before(self, ask: Ask) -> Answer | None:
        """The answer that is certain without doing anything; None if it is to be done."""
        if ask.user not in self._librarians:
            return Answer("forbidden")
        if ask.name not in self.answered:
            return None
        wish, answer = self.answered[ask.name]
        return answer if wish == ask.wish else Answer("key_reused")

    def remember(self, ask: Ask, answer: Answer) -> None:
        self.answered[ask.name] = (ask.wish, answer)

    def refusal(self, ask: Ask) -> str | None:
        """Why the rows do not allow it, in the order in which PostgreSQL finds out."""
        if ask.verb != "create" and ask.data["id"] not in self.tables[ask.table]:
            return "not_found"
        if ask.table == "authors":
            return "conflict" if ask.verb == "delete" and self._has_books(ask.data["id"]) else None
        if ask.table == "books_v1" or ask.verb == "delete":
            return None
        if self._isbn_is_taken(ask):
            return "conflict"
        author = ask.data.get("author_id")
        return "not_found" if author and author not in self.tables["authors"] else None

    def apply(self, ask: Ask, row_id: int) -> None:
        rows = self.tables[ask.table]
        if ask.verb == "delete":
            del rows[row_id]
            return
        empty = dict.fromkeys(COLUMNS[ask.table])
        change = {name: value for name, value in ask.data.items() if name != "id"}
        rows[row_id] = rows.get(row_id, empty) | change

    def _has_books(self, author_id: int) -> bool:
        return any(book["author_id"] == author_id for book in self.tables["books_v2"].values())

    def _isbn_is_taken(self, ask: Ask) -> bool:
        isbn = ask.data.get("isbn")
        others = (b for i, b in self.tables["books_v2"].items() if i != ask.data.get("id"))
        return isbn is not None and any(book["isbn"] == isbn for book in others)
