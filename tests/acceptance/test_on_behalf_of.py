"""A dead letter says who sent it, and a librarian can have it worked on as that user's again."""

import json
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg
import jwt
import pytest
from sqlalchemy import text

from server.application.dispatcher import Dispatcher
from server.contract.envelope import Reply, Request
from server.persistence.database import Database
from server.security import accounts, tokens
from server.security.authentication import hashed
from server.security.on_behalf_of import describe
from server.security.principal import Principal, Role
from server.settings import Settings
from tests.support import BOOK, eventually, wire, worker_here


@dataclass
class People:
    """The configured librarian, a second one, and a reader; and a token of the second one."""

    librarian: str
    other: str
    reader: str
    token: str


@pytest.fixture
async def people(database: Database, settings: Settings) -> People:
    async with database.transaction() as connection:
        other = await accounts.add_user(connection, "Ida", Role.LIBRARIAN, None)
        await accounts.add_user(connection, "Rea", Role.READER, None)
        ida, rea = [await accounts.make_key(connection, name, "") for name in ("Ida", "Rea")]
        token = await tokens.issue(connection, Principal(other, "Ida", Role.LIBRARIAN))
    return People(settings.api_key, ida, rea, token.token)


def asked(auth: str | None, **data: str) -> Request:
    return Request.model_validate(
        {
            "id": "1",
            "version": "v1",
            "action": "create_book",
            "data": {**BOOK, **data},
            "auth": auth,
            "idempotency_key": "k",
        }
    )


def caller(auth: str) -> str:
    described = describe(json.dumps({"auth": auth}).encode(), tokens.SigningKeys())
    assert described is not None
    return described


def with_token(token: str) -> bytes:
    return json.dumps({"auth": None, "data": {"auth_token": token}}).encode()


async def send(dispatcher: Dispatcher, auth: str, on_behalf_of: str | None) -> Reply:
    return await dispatcher.execute(asked(auth), on_behalf_of=on_behalf_of)


async def test_it_is_the_first_senders_request_and_not_the_operators(
    dispatcher: Dispatcher, people: People
) -> None:
    first = await dispatcher.execute(asked(people.other))
    again = await send(dispatcher, people.librarian, caller(people.other))
    own = await dispatcher.execute(asked(people.librarian))
    assert (again.data, again.replayed) == (first.data, True)
    assert (own.data["id"], own.replayed) == (first.data["id"] + 1, False)


async def test_a_token_names_its_user_even_when_it_has_expired(
    dispatcher: Dispatcher, people: People, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    first = await dispatcher.execute(asked(people.other))
    monkeypatch.setattr(tokens, "LIFETIME", -tokens.LIFETIME)
    async with database.reading() as connection:
        old = await tokens.issue(connection, Principal(2, "Ida", Role.LIBRARIAN))
    await dispatcher.prepare()
    for token in (people.token, old.token):
        described = dispatcher.caller_of(with_token(token))
        assert described == "user:2"
        again = await send(dispatcher, people.librarian, described)
        assert (again.data, again.replayed) == (first.data, True)


async def admin(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    name = urlsplit(settings.database_url).path[1:]
    quoted = name if "'{}'" in statement else f'"{name}"'
    await connection.execute(statement.format(quoted))
    await connection.close()


async def test_a_token_names_its_user_while_the_database_is_away(
    settings: Settings, people: People, dispatcher: Dispatcher
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        await admin(settings, "ALTER DATABASE {} ALLOW_CONNECTIONS false")
        await admin(
            settings, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
        )
        body = client.body("create_book", BOOK | {"auth_token": people.token}, auth=None)
        await client.send(body)
        letter = await client.dead_letter()
        await admin(settings, "ALTER DATABASE {} ALLOW_CONNECTIONS true")
    assert letter.headers["x-reason"] == "unavailable"
    assert letter.headers["x-caller"] == "user:2"


async def test_only_a_librarian_may_send_for_another(
    dispatcher: Dispatcher, people: People
) -> None:
    refused = await send(dispatcher, people.reader, caller(people.other))
    assert refused.outcome == "forbidden"
    assert "on behalf" in refused.error["message"]  # type: ignore[index]


async def test_a_reader_gains_no_rights_by_being_sent_for(
    dispatcher: Dispatcher, people: People
) -> None:
    refused = await send(dispatcher, people.librarian, caller(people.reader))
    assert refused.outcome == "forbidden"


FORGED = jwt.encode(
    {"sub": "1", "iss": tokens.ISSUER, "aud": tokens.AUDIENCE, "iat": 1, "exp": 2},
    "another key, as long as is needed",
    headers={"kid": "1"},
)


@pytest.mark.parametrize(
    "described",
    [
        f"key:{hashed('unknown')}",
        "user:99",
        "user:-1",
        "user:" + "9" * 30,
        "supersecretapikey",
        "",
        "key: key:",
    ],
)
async def test_a_made_up_caller_is_refused(
    dispatcher: Dispatcher, people: People, described: str
) -> None:
    assert (await send(dispatcher, people.librarian, described)).outcome == "unauthorized"


async def test_a_revoked_key_is_refused_by_its_owners_name(
    dispatcher: Dispatcher, people: People, database: Database
) -> None:
    async with database.transaction() as connection:
        await accounts.revoke_key(connection, 2)
    refused = await send(dispatcher, people.librarian, caller(people.other))
    assert refused.outcome == "unauthorized"
    assert "Ida" in refused.error["message"]  # type: ignore[index]


async def test_a_user_who_is_gone_is_refused(
    dispatcher: Dispatcher, people: People, database: Database
) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("DELETE FROM api_keys WHERE user_id = 2"))
        await connection.execute(text("DELETE FROM users WHERE name = 'Ida'"))
    for described in (caller(people.other), "user:2"):
        refused = await send(dispatcher, people.librarian, described)
        assert refused.outcome == "unauthorized"


@pytest.mark.parametrize(
    "body",
    [
        b"auth=key",
        b"[]",
        b'{"auth": 5}',
        b'{"data": []}',
        b'{"data": {"auth_token": "a key in the wrong place"}}',
        b'{"data": {"auth_token": "a.key.inthewrongplace"}}',
        b'{"data": {"auth_token": "e30.e30.\xc3\xa9"}}',
        with_token(FORGED),
    ],
)
async def test_of_what_is_no_proof_nothing_is_said(dispatcher: Dispatcher, body: bytes) -> None:
    await dispatcher.prepare()
    assert dispatcher.caller_of(body) is None


async def test_a_dead_letter_names_its_sender_whatever_they_say_of_themselves(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    claims = {name: caller(settings.api_key) for name in ("x-caller", "x-on-behalf-of")}
    async with worker_here(settings, dispatcher), wire(settings) as client:
        body = client.body("create_book", BOOK, auth="Ida", version=5)
        await client.send(body, headers=claims | {"x-replays": 2**63 - 1, "auth": "canary"})
        parked = await client.dead_letter()
        assert parked.headers["x-caller"] == caller("Ida")
        assert not {"x-on-behalf-of", "x-replays", "auth"} & parked.headers.keys()
        await client.send(body, headers=claims, user_id="lab")
        parked = await client.dead_letter()
    assert parked.headers["x-caller"] == claims["x-on-behalf-of"]
    assert "x-on-behalf-of" not in parked.headers


@pytest.mark.parametrize("user", ["lab", None])
async def test_only_a_replay_that_the_broker_vouches_for_has_no_deadline(
    settings: Settings, dispatcher: Dispatcher, user: str | None
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        body = client.body("create_book", BOOK)
        headers = {"x-deadline": 1, "x-replays": 1, "x-attempt": 2}
        reply = await client.ask(body, headers=headers, user_id=user)
        assert reply["status"] == ("ok" if user else "error")


async def test_a_replay_of_what_is_still_worked_on_waits_for_its_end(
    settings: Settings, dispatcher: Dispatcher, database: Database
) -> None:
    async with worker_here(settings, dispatcher), wire(settings) as client:
        body = client.body("create_book", BOOK, id="7")
        async with database.transaction() as first:
            await first.execute(
                text(
                    "INSERT INTO idempotency_keys (user_id, resource_type, key, fingerprint)"
                    " VALUES (1, 'request', '7', '')"
                )
            )
            await client.send(body, headers={"x-replays": 1}, user_id="lab")
            await eventually(lambda: client.depth("api.retry.50ms"))
            await first.rollback()
        assert json.loads((await client.reply()).body)["status"] == "ok"
