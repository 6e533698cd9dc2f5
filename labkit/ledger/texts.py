"""What only PostgreSQL can say of texts: their order, and which of them have certain words.

Both depend on its collation and its parser. So it is asked about each text that ever was a title or
a name in this run, and nothing is guessed.
"""

from collections.abc import Iterable, Iterator

import asyncpg

from labkit.ledger.evidence import Row
from labkit.ledger.operations import Operation

SORTED = "SELECT text FROM unnest($1::text[]) AS text ORDER BY text"
KNOWN = "CREATE TEMPORARY TABLE ledger_texts ON COMMIT DROP AS "
KNOWN += "SELECT text, to_tsvector('simple', text) AS words FROM unnest($1::text[]) AS text"
INDEX = "CREATE INDEX ON ledger_texts USING gin (words)"
MATCHES = "SELECT text FROM ledger_texts WHERE words @@ plainto_tsquery('simple', $1)"


async def in_order(
    connection: asyncpg.Connection, operations: Iterable[Operation], rows: Iterable[Row]
) -> list[str]:
    """All titles, as a list sorted by title has them; none if no list was."""
    if not any(str(o.data.get("sort")).endswith("title") for o in operations if o.is_list):
        return []
    titles = {row["title"] for row in rows if "title" in row}
    return [record["text"] for record in await connection.fetch(SORTED, list(titles))]


async def with_words(
    connection: asyncpg.Connection, operations: Iterable[Operation], rows: Iterable[Row]
) -> dict[str, list[str]]:
    """Words that a list was filtered by → the texts that have all of them. In a transaction."""
    wanted = {words for operation in operations for words in _filters(operation)}
    if not wanted:
        return {}
    known = {row[name] for row in rows for name in ("title", "name") if name in row}
    await connection.execute(KNOWN, list(known))
    await connection.execute(INDEX)
    matches = await connection.prepare(MATCHES)
    return {each: [record["text"] for record in await matches.fetch(each)] for each in wanted}


def _filters(operation: Operation) -> Iterator[str]:
    given = (operation.data.get(name) for name in ("title", "author"))
    yield from (words for words in given if operation.is_list and isinstance(words, str))
