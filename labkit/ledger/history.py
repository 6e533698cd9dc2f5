"""Every committed change of a book or an author, noted by PostgreSQL itself.

A trigger writes a line into ``ledger.changes`` in the very transaction that makes the change: both
are committed, or none is. So the ledger sees what was applied, and how often, also when an update
was applied twice with the same value, and whatever the server's own idempotency table says.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import asyncpg

from labkit.ledger.evidence import COLUMNS, Change, deleted, inserted, updated

SETUP = """
SELECT pg_advisory_xact_lock(hashtext('ledger'));
CREATE SCHEMA IF NOT EXISTS ledger;
CREATE TABLE IF NOT EXISTS ledger.changes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction text NOT NULL DEFAULT pg_current_xact_id()::text,
    relation text NOT NULL,
    what text NOT NULL,
    row_id bigint NOT NULL,
    set_column text,
    setting jsonb
);
CREATE OR REPLACE FUNCTION ledger.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.changes (relation, what, row_id, set_column, setting)
    VALUES (TG_TABLE_NAME, TG_OP, coalesce(NEW.id, OLD.id), TG_ARGV[0], to_jsonb(NEW));
    RETURN NULL;
END $$;
"""

TRIGGER = """
CREATE OR REPLACE TRIGGER ledger_{name} AFTER {event} ON public.{table}
FOR EACH ROW EXECUTE FUNCTION ledger.note({argument});
"""

LAST = "SELECT coalesce(max(number), 0) FROM ledger.changes"
SINCE = """
SELECT transaction, relation, what, row_id, set_column, setting::text FROM ledger.changes
WHERE number > $1 ORDER BY transaction, number
"""


async def begin(connection: asyncpg.Connection) -> int:
    """Note everything from now on. Returns the number of the last change before.

    Raises ``asyncpg.UndefinedTableError`` if no server has made its tables yet.
    """
    async with connection.transaction():
        await connection.execute(SETUP + "".join(_triggers()))
        return int(await connection.fetchval(LAST))


def _triggers() -> Iterator[str]:
    """For an update one trigger a column: PostgreSQL runs those whose column the statement sets."""
    for table, columns in COLUMNS.items():
        for event in ("insert", "delete"):
            yield TRIGGER.format(name=event, event=event, table=table, argument="")
        for column in columns:
            yield TRIGGER.format(
                name=column, event=f"UPDATE OF {column}", table=table, argument=f"'{column}'"
            )


async def since(connection: asyncpg.Connection, number: int) -> list[Change]:
    """What was committed after the change of this number."""
    rows = [tuple(row) for row in await connection.fetch(SINCE, number)]
    return list(changes(rows))


def changes(rows: Iterable[tuple[Any, ...]]) -> Iterator[Change]:
    """Rows of ``ledger.changes``: the columns that one statement set are one change."""
    for (_, table, what, row_id), group in groupby(rows, key=lambda row: row[:4]):
        lines = [(column, json.loads(values or "{}")) for *_, column, values in group]
        if what == "UPDATE":
            for setting in _settings(lines):
                yield Change(updated(table, row_id, setting), row_id)
        elif what == "INSERT":
            for _, row in lines:
                yield Change(inserted(table, row), row_id)
        else:
            yield Change(deleted(table, row_id), row_id)


def _settings(lines: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """A column that comes once more belongs to another statement."""
    setting: dict[str, Any] = {}
    for column, row in lines:
        if column in setting:
            yield setting
            setting = {}
        setting[column] = row[column]
    yield setting
