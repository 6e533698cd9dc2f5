"""A list that was asked for: which rows it is of, and in what order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.ledger.evidence import Evidence, Row
from labkit.ledger.operations import Operation

LIMIT = 50
"""Rows on a page, if the request says nothing."""
NO_YEAR = 9999
"""A book without a year comes after all others."""

Key = tuple[int, int]
"""A row's place in a list: what it is sorted by, and its id; negative in a descending order."""


@dataclass(frozen=True)
class Texts:
    """What only PostgreSQL knows of texts: their order, and which of them have some words."""

    ranks: Mapping[str, int]
    words: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, evidence: Evidence) -> "Texts":
        ranks = {title: number for number, title in enumerate(evidence.titles)}
        return cls(ranks, {words: frozenset(texts) for words, texts in evidence.words.items()})


@dataclass(frozen=True)
class Query:
    """The request of one page. ``author`` are words of the author's name: another row's."""

    table: str
    sort: str
    limit: int
    texts: Texts = field(repr=False)
    equal: Mapping[str, Any]
    year_from: int | None = None
    year_to: int | None = None
    title: frozenset[str] | None = None
    author: frozenset[str] | None = None

    @classmethod
    def of(cls, operation: Operation, texts: Texts) -> "Query | None":
        """None if it filters or sorts in a way that cannot be judged."""
        data, table = operation.data, operation.table
        sort = data.get("sort") or "id"
        words = [data[name] for name in ("title", "author") if data.get(name) is not None]
        if table is None or any(each not in texts.words for each in words):
            return None
        if sort.removeprefix("-") not in ("id", "title", "year"):
            return None
        return cls(
            table,
            sort,
            data["limit"] if isinstance(data.get("limit"), int) else LIMIT,
            texts,
            {n: data[n] for n in ("author_id", "genre") if data.get(n) is not None},
            data.get("year_from"),
            data.get("year_to"),
            texts.words.get(data.get("title") or ""),
            texts.words.get(data.get("author") or ""),
        )

    def key(self, row: Row) -> Key:
        """Raises ``KeyError`` for a title whose place PostgreSQL was not asked for."""
        column, down = self.sort.removeprefix("-"), self.sort.startswith("-")
        if column == "title":
            place = self.texts.ranks[row["title"]]
        else:
            place = 0 if column == "id" else NO_YEAR if row["year"] is None else row["year"]
        return (-place, -row["id"]) if down else (place, row["id"])

    def fits(self, row: Row) -> bool:
        """Whether it meets the filter, but for that of the author's name."""
        if any(row[name] != value for name, value in self.equal.items()):
            return False
        if self.title is not None and row["title"] not in self.title:
            return False
        if self.year_from is None and self.year_to is None:
            return True
        year = row["year"]
        return year is not None and not (
            (self.year_from is not None and year < self.year_from)
            or (self.year_to is not None and year > self.year_to)
        )
