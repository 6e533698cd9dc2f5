"""What the database of a lab shows of a run: changes, claims, rows, and stored replies."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

import asyncpg

from labkit.database import connect
from labkit.ledger import history, texts
from labkit.ledger.evidence import Evidence, Row
from labkit.ledger.history import Beginning
from labkit.ledger.operations import EffectKey, Operation
from labkit.ledger.others import Others
from labkit.ledger.owners import Names, by_claim

STORED = "SELECT user_id::text, resource_type, key, reply FROM idempotency_keys WHERE reply <> ''"
USERS = "SELECT key_hash, user_id FROM api_keys"


async def noted(
    database_url: str, operations: list[Operation], others: Others, since: Beginning
) -> Evidence:
    """The evidence of now, as far as the database goes, of one and the same moment."""
    connection = await connect(database_url)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            return await _noted(connection, operations, others, since)
    finally:
        await connection.close()


async def _noted(
    connection: asyncpg.Connection, operations: list[Operation], others: Others, since: Beginning
) -> Evidence:
    users = {row["key_hash"]: str(row["user_id"]) for row in await connection.fetch(USERS)}
    mine = [replace(o, user=users.get(o.user, _short(o.user))) for o in operations]
    theirs = replace(others, users=[users.get(user, user) for user in others.users])
    names = Names(by_claim(mine))
    stored = ((EffectKey(*key), reply) for *key, reply in await connection.fetch(STORED))
    changes = await history.changes(connection, since)
    rows = await history.rows(connection)
    states = [c.after for c in changes if c.after is not None]
    every = [*_all(since.rows), *states]
    return Evidence(
        operations=mine,
        changes=changes,
        claimed=await history.claims(connection, since),
        begun=since.rows,
        ended=rows,
        stored=[(claim, reply) for claim, reply in stored if names.own(claim) is not None],
        others=theirs,
        titles=await texts.in_order(connection, mine, every),
        words=await texts.with_words(connection, mine, every),
    )


def _all(rows: dict[str, list[Row]]) -> Iterator[Row]:
    for each in rows.values():
        yield from each


def _short(digest: str) -> str:
    """Of a user whom the server does not know: a name that no key can be guessed from. A client
    without a key has no name here: its requests say by a token whose they are.
    """
    known = not digest or digest.isdecimal()
    return digest if known else hashlib.sha256(f"unknown {digest}".encode()).hexdigest()[:8]
