"""`create_book` as the plain loop would do it, with asyncpg: the same three statements as the
Library API (claim the key, make the book, keep the reply) in one transaction a message, and
nothing else: no authentication, no validation, no duplicates answered.
"""

import json
import os
import sys

import asyncpg
import load
import uvloop
from aio_pika.abc import AbstractIncomingMessage
from plain import Client, serve

TABLES = """
CREATE TABLE IF NOT EXISTS bare_keys (
    key text PRIMARY KEY, fingerprint text, reply text, created_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS bare_books (
    id bigserial PRIMARY KEY, title text, author text, year int,
    created_at timestamptz DEFAULT now());
"""
CLAIM = """INSERT INTO bare_keys (key, fingerprint) VALUES ($1, 'f')
ON CONFLICT DO NOTHING RETURNING key"""
CREATE = """INSERT INTO bare_books (title, author, year) VALUES ($1, $2, $3)
RETURNING id, title, author, year"""
KEEP = "UPDATE bare_keys SET reply = $2 WHERE key = $1"


async def server() -> None:
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10)
    await pool.execute(TABLES)

    async def create(message: AbstractIncomingMessage) -> bytes:
        book = json.loads(message.body)["data"]
        async with pool.acquire() as database, database.transaction():
            await database.fetchrow(CLAIM, message.correlation_id)
            row = await database.fetchrow(CREATE, book["title"], book["author"], book["year"])
            reply = json.dumps(dict(row))
            await database.execute(KEEP, message.correlation_id, reply)
        return reply.encode()

    await serve("create.bare", 64, create)


async def client() -> None:
    bare = Client("create.bare")
    await bare.open()
    body = json.dumps({"version": "v1", "action": "create_book", "data": load.BOOK}).encode()
    await load.run(lambda name: bare.call(name, body))


uvloop.run(server() if sys.argv[1] == "server" else client())
