"""Every committed change of a book or an author, noted by PostgreSQL itself.

A trigger writes a line into ``ledger.changes`` in the very transaction that makes the change: both
are committed, or none is. So the ledger sees what was applied, and how often, also when an update
was applied twice with the same value, and whatever the server's own idempotency table says. Another
one notes which claims the server makes in the same transaction.

The triggers are deferred to the end of their transaction. So the time that they note is that of the
commit, but for the moment that the commit itself takes: no one can have seen the change before.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from labkit.ledger.evidence import COLUMNS, Change, Row, What, row_of
from labkit.ledger.operations import EffectKey

SETUP = """
SELECT pg_advisory_xact_lock(hashtext('ledger'));
CREATE SCHEMA IF NOT EXISTS ledger;
CREATE TABLE IF NOT EXISTS ledger.changes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction text NOT NULL DEFAULT pg_current_xact_id()::text,
    relation text NOT NULL,
    what text NOT NULL,
    row_id bigint NOT NULL,
    before jsonb,
    after jsonb,
    noted double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp())
);
CREATE TABLE IF NOT EXISTS ledger.claims (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction text NOT NULL DEFAULT pg_current_xact_id()::text,
    user_id text NOT NULL,
    resource_type text NOT NULL,
    key text NOT NULL
);
CREATE OR REPLACE FUNCTION ledger.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.changes (relation, what, row_id, before, after)
    VALUES (TG_TABLE_NAME, TG_OP, coalesce(NEW.id, OLD.id), to_jsonb(OLD), to_jsonb(NEW));
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION ledger.note_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.changes (relation, what, row_id) VALUES (TG_TABLE_NAME, TG_OP, 0);
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION ledger.note_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledger.claims (user_id, resource_type, key)
    VALUES (NEW.user_id::text, NEW.resource_type, NEW.key);
    RETURN NULL;
END $$;
LOCK TABLE public.idempotency_keys, public.authors, public.books_v1, public.books_v2
    IN SHARE ROW EXCLUSIVE MODE;
CREATE OR REPLACE TRIGGER ledger_claim AFTER INSERT ON public.idempotency_keys
    FOR EACH ROW EXECUTE FUNCTION ledger.note_claim();
"""
"""The lock waits until all writes are done, and lets none begin: what is there then is where the
changes begin. The first table is the one that every write of the server begins with."""

TRIGGERS = """
DO $$ BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgname = 'ledger_note' AND tgrelid = 'public.{table}'::regclass
    ) THEN
        CREATE CONSTRAINT TRIGGER ledger_note AFTER INSERT OR UPDATE OR DELETE ON public.{table}
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.note();
    END IF;
END $$;
CREATE OR REPLACE TRIGGER ledger_truncate AFTER TRUNCATE ON public.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.note_truncate();
"""

LAST = """
SELECT (SELECT coalesce(max(number), 0) FROM ledger.changes),
       (SELECT coalesce(max(number), 0) FROM ledger.claims)
"""
CHANGES = """
SELECT number, transaction, what, relation, row_id, before::text, after::text, noted
FROM ledger.changes WHERE number > $1 ORDER BY number
"""
CLAIMS = """
SELECT transaction, user_id, resource_type, key FROM ledger.claims
WHERE number > $1 ORDER BY number
"""
ROWS = "SELECT to_jsonb(r)::text FROM public.{table} r ORDER BY id"

WHAT: dict[str, What] = {
    "INSERT": "create",
    "UPDATE": "update",
    "DELETE": "delete",
    "TRUNCATE": "truncate",
}

Rows = dict[str, list[Row]]


@dataclass(frozen=True)
class Beginning:
    """The numbers of the last change and the last claim before a run, and the rows at its start."""

    change: int = 0
    claim: int = 0
    rows: Rows = field(default_factory=dict, repr=False)


async def begin(connection: asyncpg.Connection) -> Beginning:
    """Note everything from now on.

    Raises ``asyncpg.UndefinedTableError`` if no server has made its tables yet.
    """
    async with connection.transaction():
        await connection.execute(SETUP)
        for table in COLUMNS:
            await connection.execute(TRIGGERS.format(table=table))
        change, claim = await connection.fetchrow(LAST)
        return Beginning(change, claim, await rows(connection))


async def rows(connection: asyncpg.Connection) -> Rows:
    """All of them, by table."""
    found: Rows = {}
    for table in COLUMNS:
        records = await connection.fetch(ROWS.format(table=table))
        found[table] = [row_of(table, json.loads(record[0])) for record in records]
    return found


async def changes(connection: asyncpg.Connection, since: Beginning) -> list[Change]:
    """What was committed since then."""
    return list(read(map(tuple, await connection.fetch(CHANGES, since.change))))


def read(lines: Iterable[tuple[Any, ...]]) -> Iterator[Change]:
    """The lines of ``ledger.changes``."""
    for number, transaction, what, table, row_id, before, after, noted in lines:
        was, became = (None if s is None else row_of(table, json.loads(s)) for s in (before, after))
        yield Change(number, transaction, WHAT[what], table, row_id, was, became, noted)


async def claims(connection: asyncpg.Connection, since: Beginning) -> list[tuple[str, EffectKey]]:
    """Which requests were claimed since then, by transaction."""
    lines = await connection.fetch(CLAIMS, since.claim)
    return [(line["transaction"], EffectKey(*tuple(line)[1:])) for line in lines]
