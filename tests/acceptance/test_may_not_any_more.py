"""What was committed is answered with its outcome, though its sender may do nothing any more."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy import text

from server.application.dispatcher import Dispatcher
from server.contract.envelope import Reply, Request
from server.persistence.database import Database
from server.security import accounts, principal_cache, tokens
from server.security.authentication import hashed
from server.security.principal import Principal, Role
from server.settings import Settings
from tests.support import BOOK, dies_at, eventually, rest_here, wire, worker_here

NAME = "Ida"
SHORT = timedelta(seconds=3)
Bar = Callable[[Database], Awaitable[None]]


async def revoke_the_key(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE api_keys SET revoked_at = now() WHERE label = ''"))


async def demote(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE users SET role = 'reader' WHERE name = 'Ida'"))


async def expire(database: Database) -> None:
    """The token that is sent does so by itself."""


BARS: dict[str, tuple[str, Bar, str]] = {
    "its key was revoked": ("key", revoke_the_key, "unauthorized"),
    "its user was demoted": ("key", demote, "forbidden"),
    "its token has expired": ("token", expire, "unauthorized"),
}


async def credentials(database: Database, kind: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ida's: fields of a request."""
    async with database.transaction() as connection:
        ida = await accounts.add_user(connection, NAME, Role.LIBRARIAN, None)
        if kind == "key":
            return {"auth": await accounts.make_key(connection, NAME, ""), "data": BOOK}
        monkeypatch.setattr(tokens, "LIFETIME", SHORT)
        token = await tokens.issue(connection, Principal(ida, NAME, Role.LIBRARIAN))
    return {"auth": None, "data": BOOK | {"auth_token": token.token}}


async def has_expired(dispatcher: Dispatcher, fields: dict[str, Any]) -> bool:
    asked = {"id": "x", "version": "v1", "action": "ping"} | fields
    asked["data"] = {n: v for n, v in fields["data"].items() if n == "auth_token"}
    return (await dispatcher.execute(Request.model_validate(asked))).outcome == "unauthorized"


@pytest.mark.parametrize("step", ["applied", "committed", "replied"])
@pytest.mark.parametrize("name", BARS)
@pytest.mark.parametrize("key", ["k", None])
async def test_a_worker_dies_and_before_the_redelivery_its_sender_is_barred(
    settings: Settings,
    dispatcher: Dispatcher,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    step: str,
    key: str | None,
) -> None:
    kind, bar, refusal = BARS[name]
    async with wire(settings) as client:
        async with dies_at(settings, step) as dying:
            fields = await credentials(database, kind, monkeypatch)
            await client.send(client.body("create_book", **fields, id="7", idempotency_key=key))
            assert await dying.ended() == -signal.SIGKILL
        await bar(database)
        if kind == "token":
            await eventually(lambda: has_expired(dispatcher, fields))
        async with worker_here(settings, dispatcher):
            replies = [json.loads((await client.reply()).body)]
            if step == "replied":
                replies.append(json.loads((await client.reply()).body))
    books = await count(database)
    if step == "applied":
        assert (replies[0]["error"]["code"], books) == (refusal, 0)
    else:
        assert ([reply["status"] for reply in replies], books) == (["ok"] * len(replies), 1)


async def count(database: Database) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM books_v1"))).scalar_one())


async def test_so_it_is_over_http_too(
    settings: Settings,
    dispatcher: Dispatcher,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = await credentials(database, "key", monkeypatch)
    headers = {"X-API-Key": fields["auth"], "Idempotency-Key": "k"}
    async with (
        rest_here(settings, dispatcher, database) as url,
        aiohttp.ClientSession(url, headers=headers) as session,
    ):
        first = await session.post("/v1/books", json=BOOK)
        await revoke_the_key(database)
        again = await session.post("/v1/books", json=BOOK)
        assert (await again.json(), again.status) == (await first.json(), 201)
        await asyncio.sleep(principal_cache.LASTS)
        other = await session.post("/v1/books", json=BOOK, headers={"Idempotency-Key": "other"})
        assert other.status == 401
        assert (await session.get("/v1/books")).status == 401


@pytest.mark.parametrize("name", ["its key was revoked", "its user was demoted"])
async def test_an_operators_replay_of_it_is_answered_alike(
    dispatcher: Dispatcher, database: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    kind, bar, refusal = BARS[name]
    fields = await credentials(database, kind, monkeypatch)
    me = {"id": "me", "version": "v1", "action": "create_book", "data": BOOK}
    request = Request.model_validate(me | fields)
    first = await dispatcher.execute(request)
    await bar(database)

    async def replayed(request_id: str) -> Reply:
        operators = me | {"auth": "a key for the tests", "id": request_id}
        return await dispatcher.execute(
            Request.model_validate(operators),
            again=True,
            on_behalf_of=f"key:{hashed(fields['auth'])}",
        )

    assert (await replayed("me")).data == first.data
    assert (await replayed("another")).outcome == refusal
